// What texts say of a machine without measuring an exchange: links and their rates, by ib_write_bw,
// nvbandwidth and nvidia-smi topo -m. They are no rows, but keys of a cluster.
#ifndef STUDY_ROWS_MACHINE_FACTS_H
#define STUDY_ROWS_MACHINE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Of all texts that were read; 0 and false: not said.
struct machine_facts {
    double nic_Bps;            // one NIC, each way, as measured
    double nvlink_Bps;         // one GPU to another, each way, as measured
    double nvlink_nominal_Bps; // the links of a GPU, each way, as of Hopper and before
    bool no_nvlink;
    uint32_t gpus_per_node, nics_per_node;
    size_t count; // texts that said any of it
};

// "--cluster 2x8:nvlink=450GB/s,nic_effective=48.6GB/s", to be pasted: `cluster`, as flags name it,
// with the facts in place of its keys, NVLinks of its GPU's generation; where nobody named one
// (NULL or ""), a line of its own, or where they do not suffice for that "NAME:" with the keys, for
// a preset. Freed by the caller.
char *machine_facts_line(const struct machine_facts *facts, const char *cluster);

// A rate in GB/s as such a line has it, "48.6GB/s"; returns buffer.
#define MACHINE_RATE_BYTES 32
char *machine_rate(double rate_Bps, char *buffer);

// The median of rates, which are sorted.
double machine_median(double *rates_Bps, size_t count);

#endif

// Slow parts: GPUs and nodes that are slower than the rest or come late, as people find them in a
// cluster. A share is of the healthy rate, 0.001 to 1.
#ifndef MODEL_SLOW_H
#define MODEL_SLOW_H

#include "base/error.h"

#include <stdint.h>

#define SLOW_PARTS 24 // more than a text field holds

// What can be said of a part.
enum slow_key {
    SLOW_NIC,     // of the NIC that a GPU uses, both ways; GPUs that share it are slowed too
    SLOW_NVLINK,  // of a GPU's NVLink, both ways
    SLOW_COMPUTE, // of all that a GPU does itself: operations, memory, launches, and the kernels
                  // that move data; wires keep their rates
    SLOW_LATE,    // how long after it would have a GPU comes into the layer
    SLOW_KEYS,
};
extern const char *const slow_key_names[];

// The ranks from first on; share 1 and late 0 where nothing is said.
struct slow_part {
    uint32_t first, count;
    bool said[SLOW_KEYS];
    double share[SLOW_LATE];
    uint64_t late_ps;
};

struct slow {
    uint32_t count; // of parts; 0: all are healthy
    struct slow_part parts[SLOW_PARTS];
};

// What there is that can be slow.
struct slow_place {
    uint32_t nodes, gpus_per_node;
    uint32_t nic_ports; // of a node; the GPUs that share one stand together
    bool nics, nvlink;  // in use
};

// Reads "gpu=5:nic=0.5:late=300us,node=1:compute=0.8", or "all:..." of every GPU; '+' may stand for
// ',', which separates keys in a cluster's one-line form. Refuses what the place does not have,
// unknown names, shares out of range, the same said twice of a GPU, and two shares of one NIC. An
// empty text: all are healthy. The message has no place in it.
bool slow_parse(struct slow *slow, const char *text, const struct slow_place *place,
                struct error *err);

// The share of a rank, or of the NIC that the ranks from first on use; 1 where nothing is said.
double slow_share(const struct slow *slow, enum slow_key key, uint32_t first, uint32_t count);

// The delay of a rank; 0 where nothing is said.
uint64_t slow_late_ps(const struct slow *slow, uint32_t rank);

// Whether any part says the key.
bool slow_says(const struct slow *slow, enum slow_key key);

#endif

// Probing: what the machine itself does, with the transport and device in force. Private to real/.
#ifndef REAL_PROBE_H
#define REAL_PROBE_H

#include "base/outfile.h"
#include "base/table.h"
#include "real/cli.h"
#include "real/world.h"

// Measures messages between two ranks, all-to-alls, device copies, launches and matrix products,
// and writes them as --output and --json ask: a table, JSON, or (to NAME.csv) the all-to-alls as
// measured CSV with the table on standard output. cluster has the shape of the job. Collective.
bool probe_run(const struct world *world, const struct real_options *options,
               const struct cluster *cluster, struct error *err);

// --- what the probe's parts share ------------------------------------------------------------

// Device memory that trials work on.
struct probe_memory {
    unsigned char *send, *receive; // exchanges
    void *from, *to;               // copies and launches
    uint32_t *index;
    void *in, *out, *middle, *gate_up, *down; // matrix products
};

// Shape of the matrix products.
struct probe_shape {
    uint32_t rows, hidden, intermediate;
};

struct probe {
    const struct world *world;
    const struct real_options *options;
    const struct cluster *cluster;
    struct probe_shape shape;
    struct probe_memory memory;
    struct message *sends, *receives; // [ranks]
    double *own_us, *slowest_us;      // [iterations]
    struct table *table;              // on rank 0
    struct outfile file;              // likewise
    bool csv;                         // what the file is
    uint32_t csv_rows;
};

enum probe_place { EVERYWHERE, INSIDE, BETWEEN, ON_DEVICE };

// One line of the table.
struct trial {
    const char *name;
    enum probe_place place;
    uint64_t bytes; // a rank's
    double moved;   // bytes behind GBps; 0: none
    double flops;   // behind GFLOPS; 0: none
    double repeats; // a time is of so many
    enum stream stream;
    bool (*once)(struct probe *probe, const struct trial *trial, struct error *err);
    bool alone;         // rank 0 alone tells the time
    uint32_t peer;      // of a ping-pong
    uint32_t messages;  // of an all-to-all, the own one included
    uint64_t copy_rows; // of a copy
    const struct ffn *ffn;
};

#define PROBE_STEP 4    // from one size to the next
#define PROBE_ALIGN 128 // of messages in a buffer

#define PROBE_COPY_ROW_BYTES 4096
#define PROBE_COPY_ROWS 16384 // 64 MiB: more than caches hold

// One trial, timed on all ranks: warm-up, iterations, and a row of the slowest rank's times on
// rank 0. Collective.
bool probe_trial(struct probe *probe, const struct trial *trial, struct error *err);

// From 1 KiB to --most a rank: rank 0 with a rank of its node and of the next; then all ranks,
// those of a node, and those of different nodes, as far as the cluster has them. Collective.
bool probe_network(struct probe *probe, struct error *err);

// What a device does by itself: row gathers, launches and an expert's matrix products, on all ranks
// at once. Collective.
bool probe_device(struct probe *probe, struct error *err);

// Buffers for the largest exchange that is asked and for the device's own trials.
bool probe_memory_open(struct probe *probe, struct error *err);
void probe_memory_close(struct probe *probe);

// On rank 0: opens the output that is asked and makes the table; a row of the slowest rank's times,
// in the measured CSV too when it has a place for the trial; writes them; and, due whatever came of
// it, removes an output that was not written.
bool probe_out_open(struct probe *probe, struct error *err);
void probe_out_add(struct probe *probe, const struct trial *trial);
bool probe_out_write(struct probe *probe, struct error *err);
void probe_out_close(struct probe *probe);

#endif

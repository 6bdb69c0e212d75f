// What the probe's parts share: the machine being probed and one line of its table. Private to
// real/.
#ifndef REAL_PROBE_STATE_H
#define REAL_PROBE_STATE_H

#include "base/outfile.h"
#include "base/table.h"
#include "model/cluster.h"
#include "real/cli.h"
#include "real/world.h"

// Device memory that trials work on: real/probe_device.h.
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

#endif

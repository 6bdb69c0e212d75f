// A transport: how bytes get from rank to rank, behind one small table. `mpi` moves host memory,
// `nccl` GPU memory.
#ifndef REAL_TRANSPORT_H
#define REAL_TRANSPORT_H

#include "base/error.h"
#include "real/device.h"

#include <stdbool.h>
#include <stdint.h>

struct message {
    uint32_t rank;
    void *data; // device memory of the transport's kind
    uint64_t bytes;
};

struct transport; // each implementation's own

struct transport_table {
    const char *name; // "mpi", "nccl"

    // Joins all ranks of the MPI world; collective. share_gpu: several ranks may have one GPU.
    bool (*open)(struct transport **transport, struct device *device, bool share_gpu,
                 struct error *err);
    void (*close)(struct transport *transport);

    // Starts one exchange of a stage (STREAM_INTER or STREAM_INTRA) after the work that the stage's
    // stream has been given: every rank calls it in the same order; message i from a to b meets the
    // i-th receive of b from a. One exchange a stage is under way at a time. Messages of 0 bytes
    // must not be given. Returns false when the transport has failed.
    bool (*post)(struct transport *transport, enum stream stage, const struct message *sends,
                 uint32_t send_count, const struct message *receives, uint32_t receive_count,
                 struct error *err);
    // What has been received may be used by later work on the stage's stream.
    bool (*wait)(struct transport *transport, enum stream stage, struct error *err);

    // Every rank arrives before any goes on; the device is idle then.
    bool (*barrier)(struct transport *transport, struct error *err);

    // The same, whatever the device still has to do.
    bool (*meet)(struct transport *transport, struct error *err);

    uint64_t (*bytes_sent)(const struct transport *transport, enum stream stage); // since open
};

extern const struct transport_table transport_mpi;
#ifdef EPSIM_CUDA
extern const struct transport_table transport_nccl;
#endif

#endif

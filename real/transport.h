// A transport: how bytes get from rank to rank, behind one small table. `mpi` moves host memory,
// `nccl` GPU memory.
#ifndef REAL_TRANSPORT_H
#define REAL_TRANSPORT_H

#include "real/device.h"

struct message {
    uint32_t rank;
    void *data; // device memory of the transport's kind
    uint64_t bytes;
};

// What one rank gives and takes at once. Message i from a to b meets the i-th receive of b from a;
// messages of 0 bytes must not be given.
struct exchange {
    const struct message *sends, *receives;
    uint32_t send_count, receive_count;
};

// What a transport is opened for.
struct transport_use {
    bool share_gpu; // several ranks may have one GPU
    bool graphs;    // its exchanges are also kept in graphs (device_capture_begin)
};

struct transport;

struct transport_ops {
    const char *name; // "mpi", "nccl"

    // Joins all ranks of the MPI world; collective.
    bool (*open)(struct transport **transport, struct device *device,
                 const struct transport_use *use, struct error *err);
    void (*close)(struct transport *transport);
    bool (*post)(struct transport *transport, enum stream stage, const struct exchange *exchange,
                 struct error *err);
    bool (*wait)(struct transport *transport, enum stream stage, struct error *err);
    bool (*barrier)(struct transport *transport, struct error *err);
    // As barrier, whatever the device still has to do.
    bool (*meet)(struct transport *transport, struct error *err);
};

// What every transport begins with; each implementation adds its own behind it.
struct transport {
    const struct transport_ops *ops;
    uint64_t bytes_sent[STREAMS]; // since open, to other ranks, by stage
    bool failed;
    struct error error; // the first that stuck
};

extern const struct transport_ops transport_mpi;
#ifdef EPSIM_CUDA
extern const struct transport_ops transport_nccl;
#endif

static inline void transport_close(struct transport *transport)
{
    transport->ops->close(transport);
}

// The failure that stuck, for the caller: false when there is one.
static inline bool transport_report(const struct transport *transport, struct error *err)
{
    if (transport->failed)
        *err = transport->error;
    return !transport->failed;
}

// Starts one exchange of a stage (STREAM_INTER or STREAM_INTRA) after the work that the stage's
// stream has been given: every rank calls it in the same order. One exchange a stage is under way
// at a time. Returns false when the transport has failed.
static inline bool transport_post(struct transport *transport, enum stream stage,
                                  const struct exchange *exchange, struct error *err)
{
    return transport->ops->post(transport, stage, exchange, err);
}

// What has been received may be used by later work on the stage's stream.
static inline bool transport_wait(struct transport *transport, enum stream stage, struct error *err)
{
    return transport->ops->wait(transport, stage, err);
}

// Every rank arrives before any goes on; the device is idle then.
static inline bool transport_barrier(struct transport *transport, struct error *err)
{
    return transport->ops->barrier(transport, err);
}

// What a device holds back starts on all ranks together, once each has given all of its own.
static inline bool transport_let_go(struct transport *transport, struct device *device,
                                    struct error *err)
{
    if (!device->ops->go)
        return true;
    const bool met = transport->ops->meet(transport, err);
    device->ops->go(device);
    return met;
}

#endif

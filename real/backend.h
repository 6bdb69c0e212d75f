// A backend: how a layer's tokens reach their experts and the results return, behind one table.
// `calls` packs rows and moves them by the transport's sends and receives, as the schedule says;
// `nccl-ep-ll` and `nccl-ep-ht` give the work to NVIDIA's NCCL EP library.
#ifndef REAL_BACKEND_H
#define REAL_BACKEND_H

#include "real/layer_state.h"

// Each step is one rank's part of a collective one; work is queued on the device's streams. Those
// of a phase begin after what the compute stream has been given, and what they make may be used by
// later work on it once the stages' streams are joined. All report like layer_run.
struct backend {
    bool takes_wide_ids; // the router's choices as int32 too: memory->wide_ids
    bool queues_notify;  // the host waits for nothing in notify, once the layer is planned
    bool has_stages;     // its movement marks where each stage ends: movement_mark
    bool counts_bytes;   // the transport counts what was sent; otherwise check_received looks

    // Refuses what the steps cannot do of the scenario's dispatcher, model and job. By each rank
    // alone; what follows is collective.
    bool (*check)(const struct layer_setup *setup, struct error *err);
    bool (*open)(struct layer *layer, struct error *err);
    void (*close)(struct layer *layer);
    // Once all choices are known and the layer has its schedule: buffers and lists.
    bool (*plan)(struct layer *layer, struct error *err);
    bool (*notify)(struct layer *layer, struct error *err);
    bool (*dispatch)(struct layer *layer, struct error *err);
    bool (*experts)(struct layer *layer, struct error *err);
    bool (*combine)(struct layer *layer, struct error *err);
    // Whether this rank received the rows that the schedule says. NULL where bytes are counted.
    bool (*check_received)(struct layer *layer, struct error *err);
    // Where the setup says check_rows; both NULL where a library packs the rows.
    // Once dispatch or combine has ended: queues the checksums of what it moved.
    void (*take_sums)(struct layer *layer, enum phase phase);
    // Between two iterations: whether every row of the last one arrived as it was sent, byte for
    // byte, at every hop. EXIT_RUNTIME when one did not. *rows is how many this rank received.
    // Collective: every rank must call it, whatever it has found.
    bool (*check_rows)(struct layer *layer, uint64_t *rows, struct error *err);
};

// The backend that a dispatcher asks for: EXIT_INPUT when nothing here runs its kernels,
// EXIT_ABSENT when this build lacks the library.
const struct backend *backend_find(const struct dispatcher *dispatcher, struct error *err);

extern const struct backend backend_calls;
#ifdef EPSIM_NCCL_EP
extern const struct backend backend_nccl_ep_ll, backend_nccl_ep_ht;
#endif

#endif

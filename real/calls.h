// What the backend of transport calls holds: rows packed into buffers by the schedule's plan.
// Private to real/calls*.c and real/movement.c.
#ifndef REAL_CALLS_H
#define REAL_CALLS_H

#include "real/experts.h"
#include "real/plan.h"

// Rows on their way through a transfer; which are there depends on the plan.
struct path {
    struct row_block sent, crossed, relayed, served;
    uint64_t *relayed_first; // copies of the plan's lists, on the device
    uint32_t *relayed_of, *relay_from;
};

struct wire;

struct calls {
    struct plan dispatch_plan, combine_plan;
    struct path dispatch, combine;
    struct experts experts;
    float *brought;       // device [served_rows * topk]: weights as they came
    uint32_t *sent_token; // device: token of each row of sent; UINT32_MAX: unused
    uint64_t *home_first; // device CSR: rows of sent that make up each token
    uint32_t *home_of;
    float *home_weight;    // device, reduce home: weight of each entry
    uint32_t *home_choice; // device, reduce home: token * topk + k of each entry
    bool planned;
    struct wire *wire; // checksums of all rows; NULL: not asked
};

static inline struct calls *calls_of(const struct layer *layer)
{
    return layer->backend_state;
}

// Buffers and lists, once the plans are made.
void calls_plan_buffers(struct layer *layer);

// Bytes of a wire row's payload, where metadata follow.
size_t calls_payload(const struct layer *layer, const struct transfer *transfer);

// Dispatch scatters rows from sent to served, combine gathers them back. Begins after what the
// compute stream has been given; what has come may be used by later work on the stages' streams.
// Every rank calls it with the same transfer.
bool movement_run(struct layer *layer, const struct transfer *transfer, struct error *err);

// A stage of a transfer takes rows from one buffer to another.
struct leg_end {
    const struct row_block *rows;
    uint64_t count;
};
struct leg {
    enum stage stage;
    struct leg_end from, to;
};
struct leg movement_leg(const struct layer *layer, const struct transfer *transfer,
                        enum stage stage);

// Messages of a round out of a leg's `from`, or into its `to`: a gather sends what a scatter would
// receive.
struct pieces {
    const struct piece *piece;
    uint32_t count;
};
struct pieces movement_pieces(const struct round *round, bool gather, bool out);

// --- rows as they arrived: real/calls_wire.c -----------------------------------------------------

// Once the buffers are there. Running out of memory sticks in the device.
struct wire *calls_wire_new(struct layer *layer);
void calls_wire_free(struct wire *wire);

// As the backend's take_sums and check_rows.
void calls_wire_take(struct layer *layer, enum phase phase);
bool calls_wire_check(struct layer *layer, uint64_t *rows, struct error *err);

#endif

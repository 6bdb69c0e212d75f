// A rank's experts: its served rows grouped by expert slot, their FFN, and the sums of a row's
// results where they are made at the experts' rank. Private to the layer's own files.
#ifndef REAL_EXPERTS_H
#define REAL_EXPERTS_H

#include "real/layer_state.h"

// Which of this rank's slots serve each row that came: the choices of row r are first[r] ..
// first[r + 1] - 1. Host memory.
struct served_choices {
    uint64_t rows, count;
    uint64_t *first;  // [rows + 1]
    uint32_t *slot;   // [count] among this rank's
    uint32_t *weight; // [count] row * topk + k: where the choice's weight came
};

// Room for rows of at most topk choices each, none of them filled in.
void served_choices_init(struct served_choices *choices, uint64_t rows, uint32_t topk);
void served_choices_release(struct served_choices *choices);

struct experts {
    uint64_t rows;   // that the experts work on, grouped by slot
    uint64_t *first; // host [slots + 1]: of each slot
    uint32_t *from;  // device [rows]: served row
    void *in, *out, *middle;
    uint64_t *served_first; // device CSR: rows of `out` that make up each served row
    uint32_t *served_of;
    uint32_t *weight_at; // device [rows]: place of each one's weight
    float *weight;       // device [rows]
};

// One of them: of token `token` of rank `home`; for one slot alone, or UINT32_MAX.
struct served_row {
    uint64_t row;
    uint32_t home, token, slot;
};

// Adds the choices of the row's token that this rank's slots serve. Rows in order; first[row + 1]
// is set.
void served_choices_add(struct served_choices *choices, const struct layer *layer,
                        const struct served_row *row);

// Groups the choices; the arrays are the layer's memory.
void experts_plan(struct layer *layer, struct experts *experts,
                  const struct served_choices *choices);
void experts_release(struct experts *experts);

// Copies the served rows beside each other by slot, in the activation's format, and runs the FFN.
void experts_run(struct layer *layer, const struct experts *experts,
                 const struct row_block *served);

// The weight of each expert row, out of the topk that came with each served row.
void experts_take_weights(struct layer *layer, const struct experts *experts, float *brought);

// out row r = sum of the results for served row r, `weighted` or not.
void experts_sum(struct layer *layer, const struct experts *experts, const struct row_block *out,
                 uint64_t rows, bool weighted);

#endif

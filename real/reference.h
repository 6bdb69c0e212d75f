// The reference: what the layer should have given, in double and in one process, for a sample of
// tokens. It takes the run's own expert choices and hidden states, so that what it judges is the
// movement of data and the arithmetic, not a near tie in the router.
#ifndef REAL_REFERENCE_H
#define REAL_REFERENCE_H

#include "model/moe.h"
#include "real/device.h"

struct reference {
    const struct moe *moe;
    uint64_t seed;
    uint32_t layer;
    enum row_format activation; // ROW_BF16: weights and inputs are rounded as the device's were
};

// Some tokens of the run, dense.
struct reference_tokens {
    uint32_t count;
    const float *hidden;  // [count * moe.hidden] A: what the shared expert takes
    const float *wire;    // likewise, A after the wire (reference_round): what experts take
    const uint16_t *ids;  // [count * topk], ROUTING_DROPPED: none
    const float *weights; // [count * topk]
};

// C of each token in out [count * moe.hidden]: sum over its choices of weight * down(silu(gate x)
// * up x), plus the shared expert. Uses OpenMP threads; the result does not depend on their number.
// Of `parts` parts, the one that the experts part, part + parts, part + 2 parts, ... give (the
// shared one counts as the expert after the last): several processes make the weights once among
// them, and add up. Part 0 of 1 is the whole.
void reference_layer(const struct reference *reference, const struct reference_tokens *tokens,
                     uint32_t part, uint32_t parts, double *out);

// Hidden states A of one token, from the input tensor of its rank: RMS norm in double, rounded to
// the activation's format.
void reference_hidden(const struct reference *reference, uint32_t rank, uint32_t token, float *out);

// What a row is after it has been stored in a format and read back.
void reference_round(float *row, uint32_t width, enum row_format format);

// Sums behind an RMS error; those of several ranks may be added up.
struct reference_error {
    double error2, expected2;
};
void reference_compare(struct reference_error *sums, const double *expected, const float *got,
                       uint64_t count);

// RMS error / RMS reference: 0 when nothing was compared or both are 0 throughout, NaN when an
// output was.
double reference_relative(const struct reference_error *sums);

// Of `rows` rows of `width` values the one that is furthest off, by its own RMS error / its own RMS
// reference: infinite where an output was NaN, or was not 0 as its reference is. 0 of no rows.
struct reference_worst {
    double relative;
    uint32_t row;
};
struct reference_worst reference_worst_row(const double *expected, const float *got, uint32_t rows,
                                           uint32_t width);

#endif

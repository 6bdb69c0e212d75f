// Which tensor is which: numbers and scales of the layer's inputs and weights, each a function of
// (seed, tensor, index) through value_at. Whoever fills one and whoever checks it agree here.
//
// A number is kind << 56 | layer << 32 | index: distinct over layers, and over ranks of an input or
// experts of a weight; index 0 where a layer has one.
#ifndef REAL_TENSORS_H
#define REAL_TENSORS_H

#include <math.h>
#include <stdint.h>

enum tensor_kind {
    TENSOR_INPUT,          // [tokens, hidden] of a rank: the residual stream
    TENSOR_ROUTER,         // [experts, hidden]
    TENSOR_BIAS,           // [experts] of selection
    TENSOR_GATE_UP,        // [2 * intermediate, hidden] of an expert, gate rows first
    TENSOR_DOWN,           // [hidden, intermediate] of an expert
    TENSOR_SHARED_GATE_UP, // the same of the shared expert
    TENSOR_SHARED_DOWN,
};

static inline uint64_t tensor_number(enum tensor_kind kind, uint32_t layer, uint32_t index)
{
    return (uint64_t)kind << 56 | (uint64_t)(layer & 0xffffffu) << 32 | index;
}

// Uniform in [-1, 1) has variance 1/3: sqrt(3) makes it 1, and 1 / sqrt(fan_in) keeps the variance
// of a product's outputs that of its inputs. The residual stream has fan_in 1.
static inline float tensor_scale(uint32_t fan_in)
{
    return (float)sqrt(3.0 / fan_in);
}

#endif

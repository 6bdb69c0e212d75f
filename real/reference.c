#include "real/reference.h"

#include "base/mem.h"
#include "model/routing.h"
#include "real/tensors.h"

#include <stdlib.h>

// One SwiGLU: its two weight tensors and their inner width.
struct network {
    uint64_t gate_up, down;
    uint32_t intermediate;
};

// The tokens that one network serves.
struct batch {
    uint32_t count;
    uint32_t *token;
    double *weight; // of the result in the token's sum
    double *in;     // [count, hidden]
    double *middle; // [count, intermediate]
};

static float stored(const struct reference *reference, float value)
{
    return reference->activation == ROW_BF16 ? bf16_to_float(bf16_from_float(value)) : value;
}

// One row of a weight matrix, as the device holds it.
static void weight_row(const struct reference *reference, uint64_t tensor, uint64_t row,
                       uint32_t width, double *out)
{
    const float scale = tensor_scale(width);
    for (uint32_t i = 0; i < width; i++)
        out[i] = stored(reference, scale * value_at(reference->seed, tensor, row * width + i));
}

// Four sums side by side: one would wait for itself at every step.
static double dot(const double *a, const double *b, uint32_t count)
{
    double sum[4] = {0};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (uint32_t lane = 0; lane < 4; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    for (; i < count; i++)
        sum[0] += a[i] * b[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

// Rows of weights are made once each and met with every token, for making them costs as much as
// several products.
static void inner_layer(const struct reference *reference, const struct network *network,
                        const struct batch *batch)
{
    const uint32_t hidden = reference->moe->hidden, inner = network->intermediate;
#pragma omp parallel default(none) shared(reference, network, batch, hidden, inner)
    {
        double *gate = mem_alloc(hidden, sizeof *gate), *up = mem_alloc(hidden, sizeof *up);
#pragma omp for
        for (uint32_t i = 0; i < inner; i++) {
            weight_row(reference, network->gate_up, i, hidden, gate);
            weight_row(reference, network->gate_up, (uint64_t)inner + i, hidden, up);
            for (uint32_t t = 0; t < batch->count; t++) {
                const double *x = batch->in + (size_t)t * hidden, g = dot(gate, x, hidden);
                batch->middle[(size_t)t * inner + i] = g / (1 + exp(-g)) * dot(up, x, hidden);
            }
        }
        free(gate);
        free(up);
    }
}

static void outer_layer(const struct reference *reference, const struct network *network,
                        const struct batch *batch, double *out)
{
    const uint32_t hidden = reference->moe->hidden, inner = network->intermediate;
#pragma omp parallel default(none) shared(reference, network, batch, out, hidden, inner)
    {
        double *down = mem_alloc(inner, sizeof *down);
#pragma omp for
        for (uint32_t h = 0; h < hidden; h++) {
            weight_row(reference, network->down, h, inner, down);
            for (uint32_t t = 0; t < batch->count; t++)
                out[(size_t)batch->token[t] * hidden + h] +=
                    batch->weight[t] * dot(down, batch->middle + (size_t)t * inner, inner);
        }
        free(down);
    }
}

static void batch_add(struct batch *batch, const float *row, uint32_t hidden, uint32_t token,
                      double weight)
{
    double *to = batch->in + (size_t)batch->count * hidden;
    for (uint32_t i = 0; i < hidden; i++)
        to[i] = row[i];
    batch->token[batch->count] = token;
    batch->weight[batch->count] = weight;
    batch->count++;
}

static void run_network(const struct reference *reference, const struct network *network,
                        struct batch *batch, double *out)
{
    if (batch->count == 0)
        return;
    batch->middle = mem_alloc((size_t)batch->count * network->intermediate, sizeof(double));
    inner_layer(reference, network, batch);
    outer_layer(reference, network, batch, out);
    free(batch->middle);
}

static void add_expert(const struct reference *reference, const struct reference_tokens *tokens,
                       uint32_t expert, struct batch *batch, double *out)
{
    const uint32_t hidden = reference->moe->hidden, topk = reference->moe->topk;
    const struct network network = {.gate_up =
                                        tensor_number(TENSOR_GATE_UP, reference->layer, expert),
                                    .down = tensor_number(TENSOR_DOWN, reference->layer, expert),
                                    .intermediate = reference->moe->intermediate};
    batch->count = 0;
    for (uint32_t t = 0; t < tokens->count; t++) {
        double weight = 0;
        bool chosen = false;
        for (size_t k = (size_t)t * topk; k < (size_t)(t + 1) * topk; k++)
            if (tokens->ids[k] != ROUTING_DROPPED && tokens->ids[k] == expert) {
                weight += tokens->weights[k];
                chosen = true;
            }
        if (chosen)
            batch_add(batch, tokens->wire + (size_t)t * hidden, hidden, t, weight);
    }
    run_network(reference, &network, batch, out);
}

static void add_shared(const struct reference *reference, const struct reference_tokens *tokens,
                       struct batch *batch, double *out)
{
    const uint32_t hidden = reference->moe->hidden;
    const struct network network = {.gate_up =
                                        tensor_number(TENSOR_SHARED_GATE_UP, reference->layer, 0),
                                    .down = tensor_number(TENSOR_SHARED_DOWN, reference->layer, 0),
                                    .intermediate = reference->moe->shared_intermediate};
    if (network.intermediate == 0)
        return;
    batch->count = 0;
    for (uint32_t t = 0; t < tokens->count; t++)
        batch_add(batch, tokens->hidden + (size_t)t * hidden, hidden, t, 1);
    run_network(reference, &network, batch, out);
}

void reference_layer(const struct reference *reference, const struct reference_tokens *tokens,
                     uint32_t part, uint32_t parts, double *out)
{
    const uint32_t experts = reference->moe->experts;
    const size_t values = (size_t)tokens->count * reference->moe->hidden;
    struct batch batch = {.token = mem_alloc(tokens->count, sizeof *batch.token),
                          .weight = mem_alloc(tokens->count, sizeof *batch.weight),
                          .in = mem_alloc(values, sizeof *batch.in)};
    for (size_t i = 0; i < values; i++)
        out[i] = 0;
    for (uint32_t e = part; e < experts; e += parts)
        add_expert(reference, tokens, e, &batch, out);
    if (experts % parts == part)
        add_shared(reference, tokens, &batch, out);
    free(batch.token);
    free(batch.weight);
    free(batch.in);
}

void reference_hidden(const struct reference *reference, uint32_t rank, uint32_t token, float *out)
{
    const uint32_t hidden = reference->moe->hidden;
    const uint64_t tensor = tensor_number(TENSOR_INPUT, reference->layer, rank),
                   first = (uint64_t)token * hidden;
    double squares = 0;
    for (uint32_t i = 0; i < hidden; i++) {
        const float scaled = tensor_scale(1) * value_at(reference->seed, tensor, first + i);
        out[i] = stored(reference, scaled);
        squares += (double)out[i] * out[i];
    }
    const double norm = sqrt(squares / hidden + 1e-6);
    for (uint32_t i = 0; i < hidden; i++)
        out[i] = stored(reference, (float)(out[i] / norm));
}

void reference_round(float *row, uint32_t width, enum row_format format)
{
    for (uint32_t i = 0; format == ROW_BF16 && i < width; i++)
        row[i] = bf16_to_float(bf16_from_float(row[i]));
    for (uint32_t first = 0; format == ROW_FP8 && first < width; first += FP8_BLOCK) {
        const uint32_t last = width - first < FP8_BLOCK ? width : first + FP8_BLOCK;
        float max = 0;
        for (uint32_t i = first; i < last; i++)
            max = fmaxf(max, fabsf(row[i]));
        const float scale = fp8_scale(max);
        for (uint32_t i = first; i < last; i++)
            row[i] = fp8_to_float(fp8_from_float(row[i] / scale)) * scale;
    }
}

void reference_compare(struct reference_error *sums, const double *expected, const float *got,
                       uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const double error = got[i] - expected[i];
        sums->error2 += error * error;
        sums->expected2 += expected[i] * expected[i];
    }
}

double reference_relative(const struct reference_error *sums)
{
    return sums->error2 == 0 ? 0 : sqrt(sums->error2 / sums->expected2);
}

struct reference_worst reference_worst_row(const double *expected, const float *got, uint32_t rows,
                                           uint32_t width)
{
    struct reference_worst worst = {0};
    for (uint32_t row = 0; row < rows; row++) {
        struct reference_error sums = {0};
        reference_compare(&sums, expected + (size_t)row * width, got + (size_t)row * width, width);
        const double relative = reference_relative(&sums);
        if (!(relative <= worst.relative)) // NaN is worse
            worst = (struct reference_worst){isnan(relative) ? INFINITY : relative, row};
    }
    return worst;
}

#include "real/check_cuda_select.h"

#include "base/mem.h"
#include "real/check_cuda_device.h"
#include "real/values.h"

#include <stdio.h>
#include <stdlib.h>

#define SELECT_GAP 2e-6f // scores nearer than this may change places

static void plain_scores(float *scores, const float *logits, const struct select_shape *shape)
{
    float max = logits[0], sum = 0;
    for (uint32_t e = 1; e < shape->experts; e++)
        max = fmaxf(max, logits[e]);
    for (uint32_t e = 0; e < shape->experts; e++)
        sum += expf(logits[e] - max);
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = shape->score == SCORE_SOFTMAX ? expf(logits[e] - max) / sum
                                                  : 1 / (1 + expf(-logits[e]));
}

static uint32_t plain_take_largest(float *values, uint32_t count)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[largest])
            largest = i;
    values[largest] = -INFINITY;
    return largest;
}

static void plain_limit_groups(float *values, const struct select_shape *shape)
{
    float worth[MOE_MAX_EXPERTS];
    bool kept[MOE_MAX_EXPERTS] = {false};
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (uint32_t i = g * size; i < (g + 1) * size; i++) {
            second = fmaxf(second, fminf(first, values[i]));
            first = fmaxf(first, values[i]);
        }
        worth[g] = size > 1 ? first + second : first;
    }
    for (uint32_t round = 0; round < shape->topk_groups; round++)
        kept[plain_take_largest(worth, shape->groups)] = true;
    for (uint32_t e = 0; e < shape->experts; e++)
        if (!kept[e / size])
            values[e] = -INFINITY;
}

// Choices of one token that are not those of the plain loop, nor worth the same.
static uint64_t wrong_choices(const float *logits, const float *bias, const uint16_t *ids,
                              const float *weights, const struct select_shape *shape)
{
    float scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS], left[MOE_MAX_EXPERTS], sum = 0;
    uint64_t wrong = 0;
    plain_scores(scores, logits, shape);
    for (uint32_t e = 0; e < shape->experts; e++)
        values[e] = scores[e] + bias[e];
    if (shape->topk_groups < shape->groups)
        plain_limit_groups(values, shape);
    memcpy(left, values, sizeof left);
    for (uint32_t k = 0; k < shape->topk; k++)
        sum += scores[ids[k] % shape->experts];
    for (uint32_t k = 0; k < shape->topk; k++) {
        const uint32_t best = plain_take_largest(left, shape->experts),
                       id = ids[k] % shape->experts;
        const float weight = scores[id] * shape->scaling / (shape->normalise ? sum : 1);
        wrong += ids[k] >= shape->experts || !(fabsf(values[id] - values[best]) <= SELECT_GAP) ||
                 !(fabsf(weights[k] - weight) <= 1e-5f * shape->scaling);
        for (uint32_t other = 0; other < k; other++)
            wrong += ids[other] == ids[k];
    }
    return wrong;
}

static void check_select(const struct select_shape *shape)
{
    char what[64];
    uint64_t wrong = 0;
    const size_t count = (size_t)CHECK_ROWS * shape->experts,
                 chosen = (size_t)CHECK_ROWS * shape->topk;
    float *logits = mem_alloc(count, sizeof *logits), *bias = mem_alloc(shape->experts, 4);
    for (size_t i = 0; i < count; i++)
        logits[i] = 3 * value_at(9, 1, i);
    for (uint32_t e = 0; e < shape->experts; e++)
        bias[e] = 0.1f * value_at(9, 2, e);
    float *device_logits = check_to_device(logits, count * sizeof *logits);
    float *device_bias = check_to_device(bias, shape->experts * sizeof *bias);
    uint16_t *ids = check_poisoned(chosen * sizeof *ids);
    float *weights = check_poisoned(chosen * sizeof *weights);
    device_select(check_device, &(struct selection){.ids = ids,
                                                    .weights = weights,
                                                    .logits = device_logits,
                                                    .bias = device_bias,
                                                    .count = CHECK_ROWS,
                                                    .shape = *shape});
    uint16_t *got = check_from_device(ids, chosen * sizeof *got);
    float *got_weights = check_from_device(weights, chosen * sizeof *got_weights);
    for (size_t t = 0; t < CHECK_ROWS; t++)
        wrong += wrong_choices(logits + t * shape->experts, bias, got + t * shape->topk,
                               got_weights + t * shape->topk, shape);
    snprintf(what, sizeof what, "select %u of %u, %u of %u groups", shape->topk, shape->experts,
             shape->topk_groups, shape->groups);
    check_exact(what, wrong, chosen);
    device_release(check_device, device_logits);
    device_release(check_device, device_bias);
    device_release(check_device, ids);
    device_release(check_device, weights);
    free(logits);
    free(bias);
    free(got);
    free(got_weights);
}

static const struct select_shape select_shapes[] = {
    {256, 8, 8, 4, SCORE_SIGMOID, true, 2.5f},  {128, 8, 1, 1, SCORE_SOFTMAX, true, 1},
    {160, 6, 8, 3, SCORE_SOFTMAX, false, 16},   {4096, 64, 64, 8, SCORE_SIGMOID, true, 1},
    {4096, 8, 4096, 9, SCORE_SIGMOID, true, 1}, {7, 2, 1, 1, SCORE_SIGMOID, false, 1},
};

void check_selection(void)
{
    for (size_t i = 0; i < sizeof select_shapes / sizeof *select_shapes; i++)
        check_select(&select_shapes[i]);
}

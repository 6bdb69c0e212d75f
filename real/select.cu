// Selection of experts: a warp per token, its scores in shared memory.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

// The first of the largest, the same in every lane; it is taken out of further rounds.
__device__ uint32_t take_largest(float *values, uint32_t count, uint32_t lane)
{
    float largest = -INFINITY;
    uint32_t best = count - 1; // stands when all are NaN
    for (uint32_t i = lane; i < count; i += WARP)
        if (values[i] > largest || (values[i] == largest && i < best)) {
            largest = values[i];
            best = i;
        }
    for (int step = WARP / 2; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(EVERY_LANE, largest, step);
        const uint32_t other_best = __shfl_xor_sync(EVERY_LANE, best, step);
        if (other > largest || (other == largest && other_best < best)) {
            largest = other;
            best = other_best;
        }
    }
    __syncwarp();
    if (lane == 0)
        values[best] = -INFINITY;
    __syncwarp();
    return best;
}

__device__ void score_experts(float *scores, const float *logits, const select_shape &shape,
                              uint32_t lane)
{
    float largest = -INFINITY, sum = 0;
    if (shape.score == SCORE_SIGMOID) {
        for (uint32_t e = lane; e < shape.experts; e += WARP)
            scores[e] = 1.0f / (1.0f + expf(-logits[e]));
        return;
    }
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        largest = fmaxf(largest, logits[e]);
    largest = warp_max(largest);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        sum += scores[e] = expf(logits[e] - largest);
    sum = warp_sum(sum);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        scores[e] /= sum;
}

// The sum of the two largest values, or the only one.
__device__ float warp_group_worth(const float *values, uint32_t size, uint32_t lane)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = lane; i < size; i += WARP) {
        second = fmaxf(second, fminf(first, values[i]));
        first = fmaxf(first, values[i]);
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        const float other_first = __shfl_xor_sync(EVERY_LANE, first, step);
        const float other_second = __shfl_xor_sync(EVERY_LANE, second, step);
        second = fmaxf(fmaxf(second, other_second), fminf(first, other_first));
        first = fmaxf(first, other_first);
    }
    return size > 1 ? first + second : first;
}

// Takes the experts of all but the topk_groups most worthy groups out of the choice.
__device__ void limit_groups(float *values, float *worth, const select_shape &shape, uint32_t lane)
{
    const uint32_t size = shape.experts / shape.groups;
    for (uint32_t g = 0; g < shape.groups; g++) {
        const float worth_here = warp_group_worth(values + (size_t)g * size, size, lane);
        if (lane == 0)
            worth[g] = worth_here;
    }
    __syncwarp();
    // take_largest leaves -inf on what it took, which no group that can be chosen is worth.
    for (uint32_t round = 0; round < shape.topk_groups; round++)
        take_largest(worth, shape.groups, lane);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        if (worth[e / size] != -INFINITY)
            values[e] = -INFINITY;
    __syncwarp();
}

__device__ void warp_weigh(float *weights, const select_shape &shape, uint32_t lane)
{
    float sum = 0;
    for (uint32_t k = 0; k < shape.topk; k++)
        sum += weights[k];
    const float factor = shape.normalise ? shape.scaling / sum : shape.scaling;
    __syncwarp(); // every lane has read what the loop below overwrites
    for (uint32_t k = lane; k < shape.topk; k += WARP)
        weights[k] *= factor;
}

__host__ __device__ uint32_t select_floats(const select_shape &shape)
{
    return 2 * shape.experts + shape.groups;
}

__global__ void select_tokens(uint16_t *ids, int32_t *wide_ids, float *weights, const float *logits, const float *bias,
                              uint32_t count, select_shape shape)
{
    extern __shared__ float shared[];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t token = blockIdx.x * (blockDim.x / WARP) + warp;
    if (token >= count)
        return;
    float *scores = shared + warp * select_floats(shape), *values = scores + shape.experts;
    score_experts(scores, logits + (uint64_t)token * shape.experts, shape, lane);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        values[e] = bias ? scores[e] + bias[e] : scores[e];
    __syncwarp();
    if (shape.groups > 1 && shape.topk_groups < shape.groups)
        limit_groups(values, values + shape.experts, shape, lane);
    uint16_t *token_ids = ids + (uint64_t)token * shape.topk;
    float *token_weights = weights + (uint64_t)token * shape.topk;
    for (uint32_t k = 0; k < shape.topk; k++) {
        const uint32_t id = take_largest(values, shape.experts, lane);
        if (lane == 0) {
            token_ids[k] = (uint16_t)id;
            if (wide_ids)
                wide_ids[(uint64_t)token * shape.topk + k] = (int32_t)id;
            token_weights[k] = scores[id];
        }
    }
    __syncwarp();
    warp_weigh(token_weights, shape, lane);
}

} // namespace

cudaError_t kernel_select(cudaStream_t stream, const struct selection *of)
{
    // 48 KiB of shared memory hold the largest shape (MOE_MAX_EXPERTS experts and groups).
    const uint32_t bytes = 4 * select_floats(of->shape), fit = 48 * 1024 / bytes;
    const uint32_t warps = fit < 1 ? 1 : fit > 4 ? 4 : fit;
    if (of->count == 0)
        return cudaSuccess;
    select_tokens<<<(of->count + warps - 1) / warps, warps * WARP, warps * bytes, stream>>>(
        of->ids, of->wide_ids, of->weights, of->logits, of->bias, of->count, of->shape);
    return cudaGetLastError();
}

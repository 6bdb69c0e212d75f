// Holds the CUDA device's matrix products (real/cuda_ffn.c) to plain loops on the CPU, and its
// speed to this GPU's own copy and matrix product. One line a check; exits 1 when any is wrong or
// slow, 3 when there is no GPU. It is a program of its own: check_cuda's kernels are taken as
// right.
#include "base/mem.h"
#include "real/check_cuda_device.h"
#include "real/cuda.h"
#include "real/values.h"

#include <cublas_v2.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 4096u
#define HIDDEN 7168u
#define INNER 2048u
#define GROUPS 8u
#define SETS 4u         // buffers taken in turn, together far larger than the L2 cache
#define REPEATS 7u      // of a timing; the median counts
#define COPY_SHARE 0.85 // of the copy's bandwidth that row kernels must reach
#define GEMM_SHARE 0.80 // of one product's rate that the experts must reach

// ---- device arrays ------------------------------------------------------------------------------

static void fill_tensor(void *values, uint64_t tensor, uint64_t count, float scale)
{
    device_fill(check_device,
                &(struct tensor_fill){
                    .values = values, .count = count, .seed = 3, .tensor = tensor, .scale = scale});
}

// A device tensor of `count` values in [-scale, scale), bf16.
static uint16_t *make_tensor(uint64_t tensor, uint64_t count, float scale)
{
    uint16_t *values = device_alloc(check_device, count * sizeof *values);
    fill_tensor(values, tensor, count, scale);
    return values;
}

// ---- matrix products ----------------------------------------------------------------------------

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed.
struct plain_product {
    double *out;
    const double *in;
    const uint16_t *weight;
    uint64_t rows, columns, inner;
};

static void plain_multiply(const struct plain_product *p)
{
#pragma omp parallel for
    for (uint64_t r = 0; r < p->rows; r++)
        for (uint64_t c = 0; c < p->columns; c++) {
            double sum = 0;
            for (uint64_t i = 0; i < p->inner; i++)
                sum += p->in[r * p->inner + i] * (double)bf16_to_float(p->weight[c * p->inner + i]);
            p->out[r * p->columns + c] = sum;
        }
}

static double *widened(const uint16_t *from, uint64_t count)
{
    double *to = mem_alloc(count + 1, sizeof *to);
    for (uint64_t i = 0; i < count; i++)
        to[i] = (double)bf16_to_float(from[i]);
    return to;
}

static void check_router(uint32_t hidden, uint32_t experts)
{
    char what[64];
    const uint64_t count = (uint64_t)CHECK_ROWS * experts;
    uint16_t *device_in = make_tensor(2, (uint64_t)CHECK_ROWS * hidden, 1);
    uint16_t *device_weight = make_tensor(3, (uint64_t)experts * hidden, 1);
    uint16_t *in = check_from_device(device_in, 2 * (size_t)CHECK_ROWS * hidden);
    uint16_t *weight = check_from_device(device_weight, 2 * (size_t)experts * hidden);
    double *wide = widened(in, (uint64_t)CHECK_ROWS * hidden), *got = mem_alloc(count, sizeof *got);
    double *expected = mem_alloc(count, sizeof *expected);
    plain_multiply(&(struct plain_product){expected, wide, weight, CHECK_ROWS, experts, hidden});
    float *logits = check_poisoned(count * sizeof *logits);
    device_router(check_device, &(struct router_product){.logits = logits,
                                                         .in = device_in,
                                                         .weight = device_weight,
                                                         .count = CHECK_ROWS,
                                                         .hidden = hidden,
                                                         .experts = experts});
    float *result = check_from_device(logits, count * sizeof *result);
    for (uint64_t i = 0; i < count; i++)
        got[i] = (double)result[i];
    snprintf(what, sizeof what, "router, hidden %u, %u experts", hidden, experts);
    check_error(what, check_relative_error(expected, got, count), 3e-5);
    device_release(check_device, device_in);
    device_release(check_device, device_weight);
    device_release(check_device, logits);
    free(in);
    free(weight);
    free(wide);
    free(got);
    free(expected);
    free(result);
}

// ---- experts ------------------------------------------------------------------------------------

// Weights of all groups in one array each, and pointers to each group's.
struct experts {
    struct ffn ffn;
    uint64_t first[GROUPS + 1];
    const void *gate_up[GROUPS], *down[GROUPS];
    void *up_weights, *down_weights;
    void *in;
};

// About `rows` rows in uneven groups; the third has none.
static void make_bench_experts(struct experts *e, uint64_t rows, uint32_t hidden, uint32_t inner)
{
    const uint32_t shares[GROUPS] = {140, 110, 0, 150, 150, 170, 130, 150};
    uint64_t before = 0;
    for (uint32_t g = 0; g < GROUPS; g++)
        e->first[g + 1] = rows * (before += shares[g]) / 1000;
    const uint64_t up = 2 * (uint64_t)inner * hidden, down = (uint64_t)hidden * inner;
    e->up_weights = make_tensor(20, GROUPS * up, 2 / sqrtf((float)hidden));
    e->down_weights = make_tensor(21, GROUPS * down, 2 / sqrtf((float)inner));
    e->in = make_tensor(22, rows * hidden, 1.7f);
    for (uint32_t g = 0; g < GROUPS; g++) {
        e->gate_up[g] = (char *)e->up_weights + g * up * 2;
        e->down[g] = (char *)e->down_weights + g * down * 2;
    }
    e->ffn = (struct ffn){.groups = GROUPS,
                          .hidden = hidden,
                          .intermediate = inner,
                          .first = e->first,
                          .gate_up = e->gate_up,
                          .down = e->down,
                          .in = e->in,
                          .out = check_poisoned(rows * hidden * 2),
                          .middle = check_poisoned(rows * 3 * inner * 2)};
}

static void release_bench_experts(struct experts *e)
{
    device_release(check_device, e->up_weights);
    device_release(check_device, e->down_weights);
    device_release(check_device, e->in);
    device_release(check_device, e->ffn.out);
    device_release(check_device, e->ffn.middle);
}

static void expect_ffn(double *out, const struct experts *e, const uint16_t *in,
                       const uint16_t *up_weights, const uint16_t *down_weights)
{
    const uint64_t hidden = e->ffn.hidden, inner = e->ffn.intermediate;
    for (uint32_t g = 0; g < GROUPS; g++) {
        const uint64_t row = e->first[g], rows = e->first[g + 1] - row;
        double *wide = widened(in + row * hidden, rows * hidden);
        double *both = mem_alloc(rows * 2 * inner + 1, sizeof *both);
        double *product = mem_alloc(rows * inner + 1, sizeof *product);
        plain_multiply(&(struct plain_product){both, wide, up_weights + g * 2 * inner * hidden,
                                               rows, 2 * inner, hidden});
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t i = 0; i < inner; i++) {
                const double gate = both[r * 2 * inner + i];
                product[r * inner + i] = gate / (1 + exp(-gate)) * both[r * 2 * inner + inner + i];
            }
        plain_multiply(&(struct plain_product){
            out + row * hidden, product, down_weights + g * hidden * inner, rows, hidden, inner});
        free(wide);
        free(both);
        free(product);
    }
}

static void check_ffn(uint64_t rows, uint32_t hidden, uint32_t inner)
{
    struct experts e = {0};
    char what[64];
    double *expected = mem_alloc(rows * hidden, sizeof *expected);
    make_bench_experts(&e, rows, hidden, inner);
    uint16_t *in = check_from_device(e.in, rows * hidden * 2);
    uint16_t *up = check_from_device(e.up_weights, (size_t)GROUPS * 2 * inner * hidden * 2);
    uint16_t *down = check_from_device(e.down_weights, (size_t)GROUPS * inner * hidden * 2);
    expect_ffn(expected, &e, in, up, down);
    device_ffn(check_device, &e.ffn);
    uint16_t *result = check_from_device(e.ffn.out, rows * hidden * 2);
    double *got = widened(result, rows * hidden);
    snprintf(what, sizeof what, "ffn, hidden %u, intermediate %u", hidden, inner);
    check_error(what, check_relative_error(expected, got, rows * hidden), 6e-3);
    release_bench_experts(&e);
    free(result);
    free(got);
    free(expected);
    free(in);
    free(up);
    free(down);
}

// ---- timing -------------------------------------------------------------------------------------

// What the timed calls work on: `terms` rows of `in` a row of `out`, in a scattered order.
struct bench {
    struct row_block in, out;
    uint32_t terms;
    uint32_t *def;
    uint64_t *first;
    float *weight;
    const struct experts *experts;
    cublasHandle_t blas;
    uint64_t gemm_rows;
};

typedef void (*work_fn)(const struct bench *bench, uint32_t turn);

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median microseconds of one of `turns` calls, given without a gap.
static double time_us(const struct bench *bench, work_fn work, uint32_t turns)
{
    double us[REPEATS];
    struct error err;
    for (uint32_t turn = 0; turn < SETS; turn++)
        work(bench, turn);
    for (uint32_t r = 0; r < REPEATS; r++) {
        device_mark(check_device, STREAM_COMPUTE, 0);
        for (uint32_t turn = 0; turn < turns; turn++)
            work(bench, turn);
        device_mark(check_device, STREAM_COMPUTE, 1);
        if (!device_sync(check_device, &err))
            return NAN;
        us[r] = device_elapsed_us(check_device, 0, 1) / turns;
    }
    qsort(us, REPEATS, sizeof *us, by_size);
    return us[REPEATS / 2];
}

// The turn's share of a block that has rows for all sets of `rows` rows; it wraps around.
static struct row_block turn_rows(struct row_block block, uint32_t turn, uint32_t rows)
{
    const uint32_t sets = SETS * 2 * ROWS / rows;
    block.base = (char *)block.base + (size_t)(turn % sets) * rows * block.stride;
    return block;
}

static void do_copy(const struct bench *b, uint32_t turn)
{
    cudaMemcpyAsync(turn_rows(b->out, turn, ROWS).base, turn_rows(b->in, turn, ROWS).base,
                    ROWS * b->in.stride, cudaMemcpyDeviceToDevice,
                    cuda_stream(check_device, STREAM_COMPUTE));
}

static void do_gather(const struct bench *b, uint32_t turn)
{
    device_gather(check_device, STREAM_COMPUTE,
                  &(struct row_gather){turn_rows(b->out, turn, ROWS), turn_rows(b->in, turn, ROWS),
                                       b->def, ROWS, HIDDEN});
}

static void do_reduce(const struct bench *b, uint32_t turn)
{
    device_reduce(check_device, STREAM_COMPUTE,
                  &(struct row_sums){.out = turn_rows(b->out, turn, ROWS),
                                     .in = turn_rows(b->in, turn, ROWS * b->terms),
                                     .first = b->first,
                                     .source = b->def,
                                     .weight = b->weight,
                                     .count = ROWS,
                                     .width = HIDDEN});
}

static void do_ffn(const struct bench *b, uint32_t turn)
{
    (void)turn;
    device_ffn(check_device, &b->experts->ffn);
}

// One product of as many operations as the grouped FFN: rows x 3 inner x hidden.
static void do_gemm(const struct bench *b, uint32_t turn)
{
    const float one = 1, zero = 0;
    (void)turn;
    cublasGemmEx(b->blas, CUBLAS_OP_T, CUBLAS_OP_N, 3 * (int)INNER, (int)b->gemm_rows, (int)HIDDEN,
                 &one, b->experts->up_weights, CUDA_R_16BF, (int)HIDDEN, b->experts->in,
                 CUDA_R_16BF, (int)HIDDEN, &zero, b->experts->ffn.middle, CUDA_R_16BF,
                 3 * (int)INNER, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

// A block of 2 * SETS * ROWS rows, bf16 or fp8; formats are only read as what was written there
// before.
static struct row_block bench_rows(enum row_format format)
{
    struct row_block block = {.format = format};
    block.stride = format == ROW_FP8 ? HIDDEN + 4 * (HIDDEN / FP8_BLOCK) : 2 * HIDDEN;
    block.base = device_alloc(check_device, 2 * (size_t)SETS * ROWS * block.stride);
    return block;
}

static double bandwidth_GBps(double bytes, double us)
{
    return bytes / us / 1e3;
}

static void time_gather(struct bench *b, const char *what, struct row_block out,
                        struct row_block in, double copy_GBps)
{
    b->out = out;
    b->in = in;
    const double us = time_us(b, do_gather, 40);
    const double rate = bandwidth_GBps((double)ROWS * (double)(in.stride + out.stride), us);
    check_rate(what, &(struct check_rate){us, rate, copy_GBps, COPY_SHARE});
}

static void time_reduce(struct bench *b, struct row_block out, struct row_block in,
                        double copy_GBps)
{
    for (b->terms = 2; b->terms <= 8; b->terms *= 2) {
        char what[64];
        uint64_t first[ROWS + 1];
        for (uint32_t r = 0; r <= ROWS; r++)
            first[r] = (uint64_t)r * b->terms;
        b->out = out;
        b->in = in;
        device_upload(check_device, b->first, first, sizeof first);
        const double us = time_us(b, do_reduce, 20);
        snprintf(what, sizeof what, "reduce %u rows bf16 to %s", b->terms,
                 check_format_names[out.format]);
        const double rate =
            bandwidth_GBps((double)ROWS * (double)(in.stride * b->terms + out.stride), us);
        check_rate(what, &(struct check_rate){us, rate, copy_GBps, COPY_SHARE});
    }
}

// Rows are taken in a scattered order, each once: every block of ROWS numbers is a permutation.
static void make_def(struct bench *b)
{
    uint32_t *def = mem_alloc((size_t)8 * ROWS, sizeof *def);
    float *weight = mem_alloc((size_t)8 * ROWS, sizeof *weight);
    for (uint32_t i = 0; i < 8 * ROWS; i++) {
        def[i] = (i & ~(ROWS - 1)) | (i * 1597u % ROWS);
        weight[i] = value_at(5, 3, i);
    }
    b->def = check_to_device(def, (size_t)8 * ROWS * sizeof *def);
    b->weight = check_to_device(weight, (size_t)8 * ROWS * sizeof *weight);
    b->first = device_alloc(check_device, (ROWS + 1) * sizeof *b->first);
    free(def);
    free(weight);
}

static void time_rows(void)
{
    struct bench b = {0};
    struct row_block half = bench_rows(ROW_BF16), other = bench_rows(ROW_BF16);
    struct row_block byte = bench_rows(ROW_FP8);
    make_def(&b);
    fill_tensor(half.base, 30, 2 * (uint64_t)SETS * ROWS * HIDDEN, 1);
    fill_tensor(other.base, 31, 2 * (uint64_t)SETS * ROWS * HIDDEN, 1);
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "4096 rows of 7168", "us", "GB/s", "of copy");
    b.in = half;
    b.out = other;
    const double us = time_us(&b, do_copy, 40);
    const double copy_GBps = bandwidth_GBps(2.0 * ROWS * (double)half.stride, us);
    check_rate("cudaMemcpy, device to device", &(struct check_rate){us, copy_GBps, copy_GBps, 0});
    time_gather(&b, "gather bf16 to bf16", other, half, copy_GBps);
    time_gather(&b, "gather bf16 to fp8", byte, half, copy_GBps);
    time_gather(&b, "gather fp8 to bf16", other, byte, copy_GBps);
    time_gather(&b, "gather fp8 to fp8", (struct row_block){other.base, byte.stride, ROW_FP8}, byte,
                copy_GBps);
    time_reduce(&b, other, half, copy_GBps);
    time_reduce(&b, byte, half, copy_GBps);
    device_release(check_device, half.base);
    device_release(check_device, other.base);
    device_release(check_device, byte.base);
    device_release(check_device, b.def);
    device_release(check_device, b.weight);
    device_release(check_device, b.first);
}

static void time_experts(cublasHandle_t blas, uint64_t rows, bool must)
{
    struct experts e = {0};
    make_bench_experts(&e, rows, HIDDEN, INNER);
    const struct bench b = {.experts = &e, .blas = blas, .gemm_rows = rows};
    const double flops = 6.0 * (double)rows * HIDDEN * INNER;
    const uint32_t turns = rows >= 8 * ROWS ? 5 : 20;
    char what[64];
    double us = time_us(&b, do_gemm, turns);
    const double whole = flops / us / 1e6;
    snprintf(what, sizeof what, "one product, %" PRIu64 " rows", rows);
    check_rate(what, &(struct check_rate){us, whole, whole, 0});
    us = time_us(&b, do_ffn, turns);
    snprintf(what, sizeof what, "ffn, %" PRIu64 " rows", rows);
    check_rate(what, &(struct check_rate){us, flops / us / 1e6, whole, must ? GEMM_SHARE : 0});
    release_bench_experts(&e);
}

// ---- the program --------------------------------------------------------------------------------

static bool time_work(struct error *err)
{
    cublasHandle_t blas;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(blas, cuda_stream(check_device, STREAM_COMPUTE)) != CUBLAS_STATUS_SUCCESS)
        return error_set(err, EXIT_RUNTIME, "cublasCreate failed");
    time_rows();
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "experts, hidden 7168, intermediate 2048", "us",
           "TFLOP/s", "of one");
    time_experts(blas, 8 * ROWS, true); // 4096 tokens a GPU, 8 choices each
    time_experts(blas, ROWS, false);
    time_experts(blas, ROWS / 8, false);
    cublasDestroy(blas);
    return device_sync(check_device, err);
}

static bool check_products(struct error *err)
{
    check_router(7168, 256);
    check_router(40, 7);
    check_ffn(333, 512, 256);
    check_ffn(100, 40, 24);
    return time_work(err);
}

int main(void)
{
    return check_program("check_cuda_speed", "failed or slow", check_products);
}

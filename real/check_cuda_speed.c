// Holds the CUDA device's matrix products (real/cuda_ffn.c) to plain loops on the CPU, and its
// speed to this GPU's own copy and matrix product. One line a check; exits 1 when any is wrong or
// slow, 3 when there is no GPU. It is a program of its own: check_cuda's kernels are taken as
// right.
#include "base/mem.h"
#include "real/cuda.h"
#include "real/values.h"

#include <cublas_v2.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW 61u // rows of a check of the router
#define ROWS 4096u
#define HIDDEN 7168u
#define INNER 2048u
#define GROUPS 8u
#define SETS 4u         // buffers taken in turn, together far larger than the L2 cache
#define REPEATS 7u      // of a timing; the median counts
#define COPY_SHARE 0.85 // of the copy's bandwidth that row kernels must reach
#define GEMM_SHARE 0.80 // of one product's rate that the experts must reach

static const char *const format_names[] = {"fp32", "bf16", "fp8"};

static const struct device_table *const cuda = &device_cuda;
static struct device *device;
static uint32_t failures;

// ---- the table ----------------------------------------------------------------------------------

static void head(void)
{
    printf("%-6s %-44s %12s %12s %8s\n", "", "check", "error", "", "");
}

static void tell_error(const char *what, double error, double limit)
{
    const bool good = error <= limit; // NaN is not
    failures += !good;
    printf("%-6s %-44s %12.3g limit %.3g\n", good ? "PASS" : "FAIL", what, error, limit);
}

// least 0: only told.
static void tell_rate(const char *what, double us, double rate, double of, double least)
{
    const bool good = rate / of >= least;
    failures += !good;
    printf("%-6s %-44s %12.2f %12.1f %8.3f\n",
           least == 0 ? "-"
           : good     ? "PASS"
                      : "SLOW",
           what, us, rate, rate / of);
}

// ---- device arrays ------------------------------------------------------------------------------

static void *to_device(const void *from, size_t bytes)
{
    void *to = cuda->alloc(device, bytes);
    cuda->upload(device, to, from, bytes);
    return to;
}

// A device array that no result has been written to yet.
static void *poisoned(size_t bytes)
{
    void *poison = mem_alloc(bytes + 1, 1);
    memset(poison, 0xa5, bytes);
    void *to = to_device(poison, bytes);
    free(poison);
    return to;
}

static void *from_device(void *from, size_t bytes)
{
    void *to = mem_alloc(bytes + 1, 1);
    cuda->sync(device, &(struct error){0});
    cuda->download(device, to, from, bytes);
    return to;
}

// A device tensor of `count` values in [-scale, scale), bf16.
static uint16_t *make_tensor(uint64_t tensor, uint64_t count, float scale)
{
    uint16_t *values = cuda->alloc(device, count * sizeof *values);
    cuda->fill(device, values, count, 3, tensor, scale);
    return values;
}

// Square root of the squared errors' sum over the reference's.
static double relative_error(const double *expected, const double *got, uint64_t count)
{
    double error = 0, whole = 0;
    for (uint64_t i = 0; i < count; i++) {
        error += (got[i] - expected[i]) * (got[i] - expected[i]);
        whole += expected[i] * expected[i];
    }
    return sqrt(error / whole);
}

// ---- matrix products ----------------------------------------------------------------------------

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed.
static void multiply(double *out, const double *in, const uint16_t *weight, uint64_t rows,
                     uint64_t columns, uint64_t inner)
{
#pragma omp parallel for
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < columns; c++) {
            double sum = 0;
            for (uint64_t i = 0; i < inner; i++)
                sum += in[r * inner + i] * (double)bf16_to_float(weight[c * inner + i]);
            out[r * columns + c] = sum;
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
    const uint64_t count = (uint64_t)FEW * experts;
    uint16_t *device_in = make_tensor(2, (uint64_t)FEW * hidden, 1);
    uint16_t *device_weight = make_tensor(3, (uint64_t)experts * hidden, 1);
    uint16_t *in = from_device(device_in, 2 * (size_t)FEW * hidden);
    uint16_t *weight = from_device(device_weight, 2 * (size_t)experts * hidden);
    double *wide = widened(in, (uint64_t)FEW * hidden), *got = mem_alloc(count, sizeof *got);
    double *expected = mem_alloc(count, sizeof *expected);
    multiply(expected, wide, weight, FEW, experts, hidden);
    float *logits = poisoned(count * sizeof *logits);
    cuda->router(device, logits, device_in, device_weight, FEW, hidden, experts);
    float *result = from_device(logits, count * sizeof *result);
    for (uint64_t i = 0; i < count; i++)
        got[i] = (double)result[i];
    snprintf(what, sizeof what, "router, hidden %u, %u experts", hidden, experts);
    tell_error(what, relative_error(expected, got, count), 3e-5);
    cuda->release(device, device_in);
    cuda->release(device, device_weight);
    cuda->release(device, logits);
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
static void make_experts(struct experts *e, uint64_t rows, uint32_t hidden, uint32_t inner)
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
                          .out = poisoned(rows * hidden * 2),
                          .middle = poisoned(rows * 3 * inner * 2)};
}

static void release_experts(struct experts *e)
{
    cuda->release(device, e->up_weights);
    cuda->release(device, e->down_weights);
    cuda->release(device, e->in);
    cuda->release(device, e->ffn.out);
    cuda->release(device, e->ffn.middle);
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
        multiply(both, wide, up_weights + g * 2 * inner * hidden, rows, 2 * inner, hidden);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t i = 0; i < inner; i++) {
                const double gate = both[r * 2 * inner + i];
                product[r * inner + i] = gate / (1 + exp(-gate)) * both[r * 2 * inner + inner + i];
            }
        multiply(out + row * hidden, product, down_weights + g * hidden * inner, rows, hidden,
                 inner);
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
    make_experts(&e, rows, hidden, inner);
    uint16_t *in = from_device(e.in, rows * hidden * 2);
    uint16_t *up = from_device(e.up_weights, (size_t)GROUPS * 2 * inner * hidden * 2);
    uint16_t *down = from_device(e.down_weights, (size_t)GROUPS * inner * hidden * 2);
    expect_ffn(expected, &e, in, up, down);
    cuda->ffn(device, &e.ffn);
    uint16_t *result = from_device(e.ffn.out, rows * hidden * 2);
    double *got = widened(result, rows * hidden);
    snprintf(what, sizeof what, "ffn, hidden %u, intermediate %u", hidden, inner);
    tell_error(what, relative_error(expected, got, rows * hidden), 6e-3);
    release_experts(&e);
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
    uint32_t *order;
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
        cuda->mark(device, STREAM_COMPUTE, 0);
        for (uint32_t turn = 0; turn < turns; turn++)
            work(bench, turn);
        cuda->mark(device, STREAM_COMPUTE, 1);
        if (!cuda->sync(device, &err))
            return NAN;
        us[r] = cuda->elapsed_us(device, 0, 1) / turns;
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
                    cuda_stream(device, STREAM_COMPUTE));
}

static void do_gather(const struct bench *b, uint32_t turn)
{
    cuda->gather(device, STREAM_COMPUTE, turn_rows(b->out, turn, ROWS),
                 turn_rows(b->in, turn, ROWS), b->order, ROWS, HIDDEN);
}

static void do_reduce(const struct bench *b, uint32_t turn)
{
    cuda->reduce(device, STREAM_COMPUTE, turn_rows(b->out, turn, ROWS),
                 turn_rows(b->in, turn, ROWS * b->terms), b->first, b->order, b->weight, ROWS,
                 HIDDEN, false);
}

static void do_ffn(const struct bench *b, uint32_t turn)
{
    (void)turn;
    cuda->ffn(device, &b->experts->ffn);
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
    block.base = cuda->alloc(device, 2 * (size_t)SETS * ROWS * block.stride);
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
    tell_rate(what, us, bandwidth_GBps((double)ROWS * (double)(in.stride + out.stride), us),
              copy_GBps, COPY_SHARE);
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
        cuda->upload(device, b->first, first, sizeof first);
        const double us = time_us(b, do_reduce, 20);
        snprintf(what, sizeof what, "reduce %u rows bf16 to %s", b->terms,
                 format_names[out.format]);
        tell_rate(what, us,
                  bandwidth_GBps((double)ROWS * (double)(in.stride * b->terms + out.stride), us),
                  copy_GBps, COPY_SHARE);
    }
}

// Rows are taken in a scattered order, each once: every block of ROWS numbers is a permutation.
static void make_order(struct bench *b)
{
    uint32_t *order = mem_alloc((size_t)8 * ROWS, sizeof *order);
    float *weight = mem_alloc((size_t)8 * ROWS, sizeof *weight);
    for (uint32_t i = 0; i < 8 * ROWS; i++) {
        order[i] = (i & ~(ROWS - 1)) | (i * 1597u % ROWS);
        weight[i] = value_at(5, 3, i);
    }
    b->order = to_device(order, (size_t)8 * ROWS * sizeof *order);
    b->weight = to_device(weight, (size_t)8 * ROWS * sizeof *weight);
    b->first = cuda->alloc(device, (ROWS + 1) * sizeof *b->first);
    free(order);
    free(weight);
}

static void time_rows(void)
{
    struct bench b = {0};
    struct row_block half = bench_rows(ROW_BF16), other = bench_rows(ROW_BF16);
    struct row_block byte = bench_rows(ROW_FP8);
    make_order(&b);
    cuda->fill(device, half.base, 2 * (uint64_t)SETS * ROWS * HIDDEN, 3, 30, 1);
    cuda->fill(device, other.base, 2 * (uint64_t)SETS * ROWS * HIDDEN, 3, 31, 1);
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "4096 rows of 7168", "us", "GB/s", "of copy");
    b.in = half;
    b.out = other;
    const double us = time_us(&b, do_copy, 40);
    const double copy_GBps = bandwidth_GBps(2.0 * ROWS * (double)half.stride, us);
    tell_rate("cudaMemcpy, device to device", us, copy_GBps, copy_GBps, 0);
    time_gather(&b, "gather bf16 to bf16", other, half, copy_GBps);
    time_gather(&b, "gather bf16 to fp8", byte, half, copy_GBps);
    time_gather(&b, "gather fp8 to bf16", other, byte, copy_GBps);
    time_gather(&b, "gather fp8 to fp8", (struct row_block){other.base, byte.stride, ROW_FP8}, byte,
                copy_GBps);
    time_reduce(&b, other, half, copy_GBps);
    time_reduce(&b, byte, half, copy_GBps);
    cuda->release(device, half.base);
    cuda->release(device, other.base);
    cuda->release(device, byte.base);
    cuda->release(device, b.order);
    cuda->release(device, b.weight);
    cuda->release(device, b.first);
}

static void time_experts(cublasHandle_t blas, uint64_t rows, bool must)
{
    struct experts e = {0};
    make_experts(&e, rows, HIDDEN, INNER);
    const struct bench b = {.experts = &e, .blas = blas, .gemm_rows = rows};
    const double flops = 6.0 * (double)rows * HIDDEN * INNER;
    const uint32_t turns = rows >= 8 * ROWS ? 5 : 20;
    char what[64];
    double us = time_us(&b, do_gemm, turns);
    const double whole = flops / us / 1e6;
    snprintf(what, sizeof what, "one product, %" PRIu64 " rows", rows);
    tell_rate(what, us, whole, whole, 0);
    us = time_us(&b, do_ffn, turns);
    snprintf(what, sizeof what, "ffn, %" PRIu64 " rows", rows);
    tell_rate(what, us, flops / us / 1e6, whole, must ? GEMM_SHARE : 0);
    release_experts(&e);
}

// ---- the program --------------------------------------------------------------------------------

static bool time_all(struct error *err)
{
    cublasHandle_t blas;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(blas, cuda_stream(device, STREAM_COMPUTE)) != CUBLAS_STATUS_SUCCESS)
        return error_set(err, EXIT_RUNTIME, "cublasCreate failed");
    time_rows();
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "experts, hidden 7168, intermediate 2048", "us",
           "TFLOP/s", "of one");
    time_experts(blas, 8 * ROWS, true); // 4096 tokens a GPU, 8 choices each
    time_experts(blas, ROWS, false);
    time_experts(blas, ROWS / 8, false);
    cublasDestroy(blas);
    return cuda->sync(device, err);
}

int main(void)
{
    struct error err = {0};
    if (!cuda->open(&device, 0, &err)) {
        fprintf(stderr, "check_cuda_speed: %s\n", err.text);
        return (int)err.code;
    }
    head();
    check_router(7168, 256);
    check_router(40, 7);
    check_ffn(333, 512, 256);
    check_ffn(100, 40, 24);
    const bool ran = time_all(&err);
    cuda->close(device);
    if (!ran) {
        fprintf(stderr, "check_cuda_speed: %s\n", err.text);
        return (int)err.code;
    }
    printf("\n%u failed or slow\n", failures);
    return failures ? EXIT_TOLERANCE : EXIT_DONE;
}

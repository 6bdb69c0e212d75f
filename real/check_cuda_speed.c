// Holds the CUDA device's matrix products (real/cuda_ffn.c) to the host device's, and its speed to
// this GPU's own copy and matrix product. One line a check; exits 1 when any is wrong or slow, 3
// when there is no GPU. It is a program of its own: check_cuda's kernels are taken as right.
#include "real/check_cuda_device.h"
#include "real/cuda.h"

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

// ---- matrix products ----------------------------------------------------------------------------

static void check_router(uint32_t hidden, uint32_t experts)
{
    const uint64_t values = (uint64_t)CHECK_ROWS * hidden, weights = (uint64_t)experts * hidden;
    const uint64_t count = (uint64_t)CHECK_ROWS * experts;
    const uint16_t *in = check_filled(2, values, 1), *weight = check_filled(3, weights, 1);
    const struct check_both logits = check_both(NULL, count * sizeof(float));
    device_router(
        check_devices[CHECK_CUDA],
        &(struct router_product){logits.at[CHECK_CUDA], in, weight, CHECK_ROWS, hidden, experts});
    device_router(check_devices[CHECK_HOST],
                  &(struct router_product){logits.at[CHECK_HOST], check_widened(in, values),
                                           check_widened(weight, weights), CHECK_ROWS, hidden,
                                           experts});
    check_error(check_name("router, hidden %u, %u experts", hidden, experts),
                &(struct check_floats){logits.at[CHECK_HOST],
                                       check_download(logits.at[CHECK_CUDA], logits.bytes), count},
                3e-5);
}

// Weights of all groups in one array each, and pointers to each group's.
struct experts {
    struct ffn ffn;
    uint64_t first[GROUPS + 1];
    const void *gate_up[GROUPS], *down[GROUPS];
};

static void point_to_groups(struct experts *e, const void *up, const void *down, size_t value_bytes)
{
    const size_t bytes = (size_t)e->ffn.hidden * e->ffn.intermediate * value_bytes;
    for (uint32_t g = 0; g < GROUPS; g++) {
        e->gate_up[g] = (const char *)up + g * 2 * bytes;
        e->down[g] = (const char *)down + g * bytes;
    }
    e->ffn.gate_up = e->gate_up;
    e->ffn.down = e->down;
}

// About `rows` rows in uneven groups; the third has none.
static void make_bench_experts(struct experts *e, uint64_t rows, uint32_t hidden, uint32_t inner)
{
    const uint32_t shares[GROUPS] = {140, 110, 0, 150, 150, 170, 130, 150};
    const uint64_t down = (uint64_t)hidden * inner;
    uint64_t before = 0;
    for (uint32_t g = 0; g < GROUPS; g++)
        e->first[g + 1] = rows * (before += shares[g]) / 1000;
    e->ffn = (struct ffn){.groups = GROUPS,
                          .hidden = hidden,
                          .intermediate = inner,
                          .first = e->first,
                          .in = check_filled(22, rows * hidden, 1.7f),
                          .out = check_both(NULL, rows * hidden * 2).at[CHECK_CUDA],
                          .middle = check_both(NULL, rows * 3 * inner * 2).at[CHECK_CUDA]};
    point_to_groups(e, check_filled(20, GROUPS * 2 * down, 2 / sqrtf((float)hidden)),
                    check_filled(21, GROUPS * down, 2 / sqrtf((float)inner)), sizeof(uint16_t));
}

static void check_ffn(uint64_t rows, uint32_t hidden, uint32_t inner)
{
    struct experts cuda = {0}, host = {0};
    const uint64_t down = (uint64_t)GROUPS * hidden * inner;
    make_bench_experts(&cuda, rows, hidden, inner);
    host.ffn = cuda.ffn;
    host.ffn.in = check_widened(cuda.ffn.in, rows * hidden);
    host.ffn.out = check_alloc(CHECK_HOST, rows * hidden * sizeof(float));
    host.ffn.middle = check_alloc(CHECK_HOST, rows * 3 * inner * sizeof(float));
    point_to_groups(&host, check_widened(cuda.gate_up[0], 2 * down),
                    check_widened(cuda.down[0], down), sizeof(float));
    device_ffn(check_devices[CHECK_HOST], &host.ffn);
    device_ffn(check_devices[CHECK_CUDA], &cuda.ffn);
    check_error(check_name("ffn, hidden %u, intermediate %u", hidden, inner),
                &(struct check_floats){host.ffn.out, check_widened(cuda.ffn.out, rows * hidden),
                                       rows * hidden},
                6e-3);
}

// ---- timing -------------------------------------------------------------------------------------

// What the timed calls work on: `terms` rows of `in` a row of `out`, in a scattered order.
struct bench {
    struct row_block in, out;
    uint32_t terms;
    uint32_t *order;
    uint64_t *first;
    float *weight;
    double copy_GBps; // 0: not known yet
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
    struct device *device = check_devices[CHECK_CUDA];
    double us[REPEATS];
    struct error err;
    for (uint32_t turn = 0; turn < SETS; turn++)
        work(bench, turn);
    for (uint32_t r = 0; r < REPEATS; r++) {
        device_mark(device, STREAM_COMPUTE, 0);
        for (uint32_t turn = 0; turn < turns; turn++)
            work(bench, turn);
        device_mark(device, STREAM_COMPUTE, 1);
        if (!device_sync(device, &err))
            return NAN;
        us[r] = device_elapsed_us(device, 0, 1) / turns;
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
                    cuda_stream(check_devices[CHECK_CUDA], STREAM_COMPUTE));
}

static void do_gather(const struct bench *b, uint32_t turn)
{
    device_gather(check_devices[CHECK_CUDA], STREAM_COMPUTE,
                  &(struct row_gather){turn_rows(b->out, turn, ROWS), turn_rows(b->in, turn, ROWS),
                                       b->order, ROWS, HIDDEN});
}

static void do_reduce(const struct bench *b, uint32_t turn)
{
    device_reduce(check_devices[CHECK_CUDA], STREAM_COMPUTE,
                  &(struct row_sums){.out = turn_rows(b->out, turn, ROWS),
                                     .in = turn_rows(b->in, turn, ROWS * b->terms),
                                     .first = b->first,
                                     .source = b->order,
                                     .weight = b->weight,
                                     .count = ROWS,
                                     .width = HIDDEN});
}

static void do_ffn(const struct bench *b, uint32_t turn)
{
    (void)turn;
    device_ffn(check_devices[CHECK_CUDA], &b->experts->ffn);
}

// One product of as many operations as the grouped FFN: rows x 3 inner x hidden.
static void do_gemm(const struct bench *b, uint32_t turn)
{
    const float one = 1, zero = 0;
    const struct ffn *ffn = &b->experts->ffn;
    (void)turn;
    cublasGemmEx(b->blas, CUBLAS_OP_T, CUBLAS_OP_N, 3 * (int)INNER, (int)b->gemm_rows, (int)HIDDEN,
                 &one, ffn->gate_up[0], CUDA_R_16BF, (int)HIDDEN, ffn->in, CUDA_R_16BF, (int)HIDDEN,
                 &zero, ffn->middle, CUDA_R_16BF, 3 * (int)INNER, CUBLAS_COMPUTE_32F,
                 CUBLAS_GEMM_DEFAULT);
}

// ---- rows ---------------------------------------------------------------------------------------

// A block of 2 * SETS * ROWS rows, bf16 or fp8; formats are only read as what was written there
// before.
static struct row_block bench_rows(enum row_format format, uint64_t tensor)
{
    const uint64_t rows = 2 * SETS * ROWS;
    const size_t stride = row_bytes(format, HIDDEN);
    void *base = format == ROW_FP8 ? check_alloc(CHECK_CUDA, rows * stride)
                                   : (void *)check_filled(tensor, rows * HIDDEN, 1);
    return (struct row_block){base, stride, format};
}

// Rows are taken in a scattered order, each once: every block of ROWS numbers is a permutation.
static void make_order(struct bench *b)
{
    static uint32_t order[8 * ROWS];
    static float weight[8 * ROWS];
    for (uint32_t i = 0; i < 8 * ROWS; i++) {
        order[i] = (i & ~(ROWS - 1)) | (i * 1597u % ROWS);
        weight[i] = value_at(5, 3, i);
    }
    b->order = check_both(order, sizeof order).at[CHECK_CUDA];
    b->weight = check_both(weight, sizeof weight).at[CHECK_CUDA];
    b->first = check_alloc(CHECK_CUDA, (ROWS + 1) * sizeof *b->first);
}

// GB/s of work from `in` to `out`, held to the copy's once that is known.
static double time_moved(const struct bench *b, const char *what, work_fn work, uint32_t turns)
{
    const double us = time_us(b, work, turns);
    const double rate = (double)ROWS * (double)(b->in.stride * b->terms + b->out.stride) / us / 1e3;
    if (b->copy_GBps > 0)
        check_rate(what, &(struct check_rate){us, rate, b->copy_GBps, COPY_SHARE});
    else
        check_rate(what, &(struct check_rate){us, rate, rate, 0});
    return rate;
}

static void time_reduce(struct bench *b)
{
    for (b->terms = 2; b->terms <= 8; b->terms *= 2) {
        uint64_t first[ROWS + 1];
        for (uint32_t r = 0; r <= ROWS; r++)
            first[r] = (uint64_t)r * b->terms;
        device_upload(check_devices[CHECK_CUDA], b->first, first, sizeof first);
        time_moved(
            b, check_name("reduce %u rows bf16 to %s", b->terms, check_format_names[b->out.format]),
            do_reduce, 20);
    }
}

static void time_rows(void)
{
    const struct row_block half = bench_rows(ROW_BF16, 30), other = bench_rows(ROW_BF16, 31);
    const struct row_block byte = bench_rows(ROW_FP8, 0);
    const struct row_block other_bytes = {other.base, byte.stride, ROW_FP8};
    const struct row_block gathers[][2] = {
        {half, other}, {half, byte}, {byte, other}, {byte, other_bytes}};
    struct bench b = {.in = half, .out = other, .terms = 1};
    make_order(&b);
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "4096 rows of 7168", "us", "GB/s", "of copy");
    b.copy_GBps = time_moved(&b, "cudaMemcpy, device to device", do_copy, 40);
    for (size_t i = 0; i < sizeof gathers / sizeof *gathers; i++) {
        b.in = gathers[i][0];
        b.out = gathers[i][1];
        time_moved(&b,
                   check_name("gather %s to %s", check_format_names[b.in.format],
                              check_format_names[b.out.format]),
                   do_gather, 40);
    }
    b.in = half;
    b.out = other;
    time_reduce(&b);
    b.out = byte;
    time_reduce(&b);
    check_release();
}

// ---- experts ------------------------------------------------------------------------------------

static void time_experts(cublasHandle_t blas, uint64_t rows, bool must)
{
    struct experts e = {0};
    make_bench_experts(&e, rows, HIDDEN, INNER);
    const struct bench b = {.experts = &e, .blas = blas, .gemm_rows = rows};
    const double flops = 6.0 * (double)rows * HIDDEN * INNER;
    const uint32_t turns = rows >= 8 * ROWS ? 5 : 20;
    double us = time_us(&b, do_gemm, turns);
    const double whole = flops / us / 1e6;
    check_rate(check_name("one product, %" PRIu64 " rows", rows),
               &(struct check_rate){us, whole, whole, 0});
    us = time_us(&b, do_ffn, turns);
    check_rate(check_name("ffn, %" PRIu64 " rows", rows),
               &(struct check_rate){us, flops / us / 1e6, whole, must ? GEMM_SHARE : 0});
    check_release();
}

// ---- the program --------------------------------------------------------------------------------

static bool check_products(struct error *err)
{
    cublasHandle_t blas;
    check_router(7168, 256);
    check_router(40, 7);
    check_ffn(333, 512, 256);
    check_ffn(100, 40, 24);
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(blas, cuda_stream(check_devices[CHECK_CUDA], STREAM_COMPUTE)) !=
            CUBLAS_STATUS_SUCCESS)
        return error_set(err, EXIT_RUNTIME, "cublasCreate failed");
    time_rows();
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "experts, hidden 7168, intermediate 2048", "us",
           "TFLOP/s", "of one");
    time_experts(blas, 8 * ROWS, true); // 4096 tokens a GPU, 8 choices each
    time_experts(blas, ROWS, false);
    time_experts(blas, ROWS / 8, false);
    cublasDestroy(blas);
    return device_sync(check_devices[CHECK_CUDA], err);
}

int main(void)
{
    return check_program("check_cuda_speed", "failed or slow", check_products);
}

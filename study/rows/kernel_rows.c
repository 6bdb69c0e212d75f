// Kernel times of AIConfigurator's tables as one CSV: a compute kernel a row, its shape in columns
// that are blank where they mean nothing. Which preset of kernels a row is of is said by the
// library that ran (kernel_source). `tokens` of the experts' rows are those of all ranks.
// Counts are whole and within the ranges of cells_fields. A row in a format, or on GPUs, that its
// kernel's model is not of is kept, and not predicted.
#include "base/csv.h"
#include "base/units.h"
#include "study/rows/collection.h"
#include "study/rows/power_law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 100000000 // of all ranks
#define MOST_ALPHA 100        // steeper, a double does not hold the weights

struct kernel_cells {
    char id[FIELD_TEXT_BYTES], kernel[FIELD_TEXT_BYTES], gpu[FIELD_TEXT_BYTES];
    char engine[FIELD_TEXT_BYTES], kernel_source[FIELD_TEXT_BYTES];
    char dtype[FIELD_TEXT_BYTES], kv_dtype[FIELD_TEXT_BYTES], distribution[FIELD_TEXT_BYTES];
    uint32_t batch, seq, heads, kv_heads, head_dim;
    uint32_t tokens, hidden, intermediate, topk, experts, ep, tp;
    uint32_t m, n, k, gpus;
    double bytes, latency_us;
};

// clang-format off
#define CELL_TEXT(member)                                                                          \
    {.key = #member, .kind = FIELD_TEXT, .offset = offsetof(struct kernel_cells, member)}
#define CELL_NUMBER(member)                                                                        \
    {.key = #member, .kind = FIELD_NUMBER, .offset = offsetof(struct kernel_cells, member),        \
     .min = 1e-6, .max = 1e15}
#define CELL_COUNT(member, most)                                                                   \
    {.key = #member, .kind = FIELD_U32, .offset = offsetof(struct kernel_cells, member),           \
     .min = 1, .max = most}

static const struct field cells_fields[] = {
    CELL_TEXT(id), CELL_TEXT(kernel), CELL_TEXT(gpu), CELL_TEXT(engine), CELL_TEXT(kernel_source),
    CELL_TEXT(dtype), CELL_TEXT(kv_dtype), CELL_TEXT(distribution),
    CELL_COUNT(batch, UINT32_MAX), CELL_COUNT(seq, UINT32_MAX), CELL_COUNT(heads, UINT32_MAX),
    CELL_COUNT(kv_heads, UINT32_MAX), CELL_COUNT(head_dim, UINT32_MAX),
    CELL_COUNT(tokens, MOST_TOKENS), CELL_COUNT(hidden, UINT32_MAX),
    CELL_COUNT(intermediate, UINT32_MAX), CELL_COUNT(topk, MOE_MAX_TOPK),
    CELL_COUNT(experts, MOE_MAX_EXPERTS), CELL_COUNT(ep, MOE_MAX_EXPERTS),
    CELL_COUNT(tp, UINT32_MAX), CELL_COUNT(m, UINT32_MAX), CELL_COUNT(n, UINT32_MAX),
    CELL_COUNT(k, UINT32_MAX), CELL_COUNT(gpus, UINT32_MAX), CELL_NUMBER(bytes),
    CELL_NUMBER(latency_us),
};

// Presets of kernels by the library that ran.
static const struct {
    const char *source, *kernels;
} libraries[] = {
    {"fa3", "sglang"}, {"trtllm_mla", "sglang"}, {"deepepmoe", "sglang"},
    {"sglang_fused_moe_triton", "sglang"}, {"sglang_torch_linear", "sglang"},
    {"sglang_deepgemm_gemm_nt_f8f8bf16", "sglang"}, {"sglang_sgl_kernel_fp8_scaled_mm", "sglang"},
    {"vLLM_custom_graph", "sglang"}, {"vLLM_custom_eager", "sglang"},
    {"flashinfer", "flashinfer"}, {"triton", "triton"},
    {"default", "trtllm"}, {"NCCL", "trtllm"},
    {"FLASHMLA", "flashmla"}, {"FLASH_ATTN_MLA", "flash-attn-mla"}, {"FLASH_ATTN", "flash-attn"},
    {"sglang_flashinfer_cutlass_moe", "cutlass-moe"},
    {"sglang_marlin_moe", "marlin-moe"}, {"sglang_marlin_moe_situ_as_silu", "marlin-moe"},
};
// clang-format on
#define CELLS (sizeof cells_fields / sizeof cells_fields[0])

// Bytes of a weight, scales included; 0: not known.
static double weight_bytes_of(const char *dtype)
{
    static const struct {
        const char *dtype;
        double bytes;
    } known[] = {{"bfloat16", 2},  {"half", 2},      {"fp8", 1},
                 {"fp8_block", 1}, {"int4_wo", 0.5}, {"w4a16_mxfp4", 0.53125}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(dtype, known[i].dtype))
            return known[i].bytes;
    return 0;
}

static bool cell_is_fp8(const char *dtype)
{
    return !strncmp(dtype, "fp8", strlen("fp8"));
}

// The format of the row that its kernel's model does not know; "": it knows all of them.
static const char *unknown_dtype(const struct kernel_cells *cells, enum kernel_kind kind)
{
    const bool attention = kind < KERNEL_EXPERTS_DECODE;
    const double bytes = weight_bytes_of(cells->dtype);
    const char *kv = cells->kv_dtype;
    if (attention && *kv && !cell_is_fp8(kv) && weight_bytes_of(kv) != 2)
        return kv;
    if (kind >= KERNEL_ALL_REDUCE_2)
        return bytes == 2 || !strcmp(cells->dtype, "int8") ? "" : cells->dtype;
    if (kind >= KERNEL_EXPERTS_DECODE && kind <= KERNEL_EXPERTS_FUSED)
        return bytes > 0 ? "" : cells->dtype;
    return bytes >= 1 ? "" : cells->dtype;
}

// ---- shapes
// --------------------------------------------------------------------------------------

static bool need_cells(const double *cells, size_t count, const char *names, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!(cells[i] >= 1))
            return error_set(err, EXIT_INPUT, "expected %s", names);
    return true;
}

static struct attention_shape attention_of(const struct kernel_cells *cells,
                                           enum attention_kind kind, bool prefill)
{
    return (struct attention_shape){.kind = kind,
                                    .batch = cells->batch,
                                    .tokens = prefill ? cells->seq : 1,
                                    .context = cells->seq,
                                    .heads = cells->heads,
                                    .kv_heads = cells->kv_heads,
                                    .head_dim = cells->head_dim,
                                    .mla = MLA_WIDTHS_V3,
                                    .fp8_weights = cell_is_fp8(cells->dtype),
                                    .fp8_math = cell_is_fp8(cells->dtype),
                                    .fp8_kv = cell_is_fp8(cells->kv_dtype)};
}

static bool mla_shape(const struct kernel_cells *cells, bool prefill, struct kernel_shape *shape,
                      struct error *err)
{
    const double needed[] = {cells->batch, cells->seq, cells->heads};
    shape->kind = prefill ? KERNEL_MLA_PREFILL : KERNEL_MLA_DECODE;
    shape->attention =
        attention_of(cells, prefill ? ATTENTION_MLA_PREFILL : ATTENTION_MLA_DECODE, prefill);
    return need_cells(needed, 3, "batch, seq and heads", err);
}

static bool gqa_shape(const struct kernel_cells *cells, bool prefill, struct kernel_shape *shape,
                      struct error *err)
{
    const double needed[] = {cells->batch, cells->seq, cells->heads, cells->kv_heads,
                             cells->head_dim};
    shape->attention =
        attention_of(cells, prefill ? ATTENTION_GQA_PREFILL : ATTENTION_GQA_DECODE, prefill);
    if (prefill)
        shape->kind = shape->attention.fp8_math ? KERNEL_GQA_PREFILL_FP8 : KERNEL_GQA_PREFILL;
    else
        shape->kind = shape->attention.fp8_kv ? KERNEL_GQA_DECODE_FP8 : KERNEL_GQA_DECODE;
    return need_cells(needed, 5, "batch, seq, heads, kv_heads and head_dim", err);
}

static bool read_alpha(const char *distribution, double *alpha)
{
    static const char law[] = "power_law_";
    struct error err;
    return !strncmp(distribution, law, strlen(law)) &&
           units_parse(UNIT_NUMBER, distribution + strlen(law), alpha, &err) && *alpha > 0 &&
           *alpha <= MOST_ALPHA;
}

static bool expert_load_of(const struct kernel_cells *cells, enum grouped_kind kind,
                           struct expert_load *load, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    struct power_law law = {cells->tokens,     cells->experts, cells->topk, cells->ep, 0,
                            grouped_tile(kind)};
    if (law.topk > law.experts)
        return error_set(err, EXIT_INPUT, "topk: %u: expected at most the row's %u experts",
                         law.topk, law.experts);
    if (law.experts % law.ranks)
        return error_set(err, EXIT_INPUT, "ep: %u: expected a divisor of the row's %u experts",
                         law.ranks, law.experts);
    if (!strcmp(cells->distribution, "uniform") || !strcmp(cells->distribution, "balanced"))
        return *load = balanced_load(&law), true;
    if (!read_alpha(cells->distribution, &law.alpha))
        return error_set(err, EXIT_INPUT,
                         "distribution: '%s': expected uniform, balanced or power_law_ALPHA, "
                         "ALPHA above 0 and at most %d",
                         error_quote(cells->distribution, quoted), MOST_ALPHA);
    return *load = power_law_load(&law), true;
}

// Contiguous rows of the uniform case fill whole tiles: its table gives every token the same
// experts until they have one.
static void fill_tiles(struct expert_load *load)
{
    load->touched = fmin(load->touched, fmax(1, load->rows / grouped_tile(GROUPED_CONTIGUOUS)));
    load->padded = fmax(load->rows, load->touched * grouped_tile(GROUPED_CONTIGUOUS));
}

static bool experts_shape(const struct kernel_cells *cells, enum grouped_kind kind,
                          struct kernel_shape *shape, struct error *err)
{
    const double needed[] = {cells->tokens, cells->hidden,  cells->intermediate,
                             cells->topk,   cells->experts, cells->ep};
    const double tp = cells->tp > 0 ? cells->tp : 1;
    struct expert_load load = {0};
    if (!need_cells(needed, 6, "tokens, hidden, intermediate, topk, experts and ep", err) ||
        !expert_load_of(cells, kind, &load, err))
        return false;
    if (kind == GROUPED_CONTIGUOUS && !strcmp(cells->distribution, "uniform"))
        fill_tiles(&load);
    shape->kind = (enum kernel_kind)(KERNEL_EXPERTS_DECODE + kind);
    shape->grouped = (struct grouped_shape){.kind = kind,
                                            .rows = load.rows,
                                            .padded = load.padded,
                                            .touched = load.touched,
                                            .tokens = cells->tokens,
                                            .hidden = cells->hidden,
                                            .intermediate = cells->intermediate / tp,
                                            .weight_bytes = weight_bytes_of(cells->dtype),
                                            .fp8 = cell_is_fp8(cells->dtype)};
    return true;
}

static bool gemm_shape_of(const struct kernel_cells *cells, struct kernel_shape *shape,
                          struct error *err)
{
    const double needed[] = {cells->m, cells->n, cells->k};
    const enum gemm_kind kind = !strcmp(cells->dtype, "fp8_block") ? GEMM_FP8_BLOCK
                                : cell_is_fp8(cells->dtype)        ? GEMM_FP8
                                                                   : GEMM_BF16;
    shape->kind = (enum kernel_kind)(KERNEL_GEMM_BF16 + kind);
    shape->gemm = (struct gemm_shape){kind, cells->m, cells->n, cells->k, 1};
    return need_cells(needed, 3, "m, n and k", err);
}

// NCCL's rows of halves count values: twins of bytes stand at twice their figure.
static bool all_reduce_shape_of(const struct kernel_cells *cells, struct kernel_shape *shape,
                                struct error *err)
{
    const double needed[] = {cells->gpus, cells->bytes};
    const double value = !strcmp(cells->dtype, "half") ? 2 : 1;
    shape->kind = cells->gpus <= 2   ? KERNEL_ALL_REDUCE_2
                  : cells->gpus <= 4 ? KERNEL_ALL_REDUCE_4
                                     : KERNEL_ALL_REDUCE_8;
    shape->all_reduce = (struct all_reduce_shape){cells->bytes * value, cells->gpus,
                                                  strstr(cells->kernel_source, "eager") != NULL};
    return need_cells(needed, 2, "gpus and bytes", err);
}

static bool shape_of_cells(const struct kernel_cells *cells, struct kernel_shape *shape,
                           struct error *err)
{
    const char *kernel = cells->kernel;
    char quoted[ERROR_QUOTE_BYTES];
    if (!strcmp(kernel, "mla-decode-module") || !strcmp(kernel, "mla-prefill-module"))
        return mla_shape(cells, kernel[strlen("mla-")] == 'p', shape, err);
    if (!strcmp(kernel, "gqa-decode") || !strcmp(kernel, "gqa-prefill"))
        return gqa_shape(cells, kernel[strlen("gqa-")] == 'p', shape, err);
    if (!strcmp(kernel, "moe-decode"))
        return experts_shape(cells, GROUPED_MASKED, shape, err);
    if (!strcmp(kernel, "moe-prefill"))
        return experts_shape(cells, GROUPED_CONTIGUOUS, shape, err);
    if (!strcmp(kernel, "moe-fused"))
        return experts_shape(cells, GROUPED_FUSED, shape, err);
    if (!strcmp(kernel, "gemm"))
        return gemm_shape_of(cells, shape, err);
    if (!strcmp(kernel, "all-reduce"))
        return all_reduce_shape_of(cells, shape, err);
    return error_set(err, EXIT_INPUT,
                     "kernel: '%s': expected mla-decode-module, mla-prefill-module, gqa-decode, "
                     "gqa-prefill, moe-decode, moe-prefill, moe-fused, gemm or all-reduce",
                     error_quote(kernel, quoted));
}

// ---- rows
// ----------------------------------------------------------------------------------------

static bool read_cells(const struct csvfile *csv, size_t at, struct kernel_cells *cells,
                       struct error *err)
{
    *cells = (struct kernel_cells){0};
    for (size_t i = 0; i < CELLS; i++) {
        const int column = csvfile_find(csv, cells_fields[i].key);
        const char *text = column < 0 ? "" : csvfile_cell(csv, at, (size_t)column);
        if (*text && !field_parse(&cells_fields[i], text, cells, err))
            return error_prefix(err, "%s", cells_fields[i].key);
    }
    return (cells->id[0] && cells->gpu[0] && cells->dtype[0] && cells->latency_us > 0) ||
           error_set(err, EXIT_INPUT, "expected id, gpu, dtype and latency_us");
}

// What a row says of itself; an unknown library's or format's is kept, and not predicted.
static void describe(const struct kernel_cells *cells, struct measured_row *row)
{
    row->phase = PHASE_KERNEL;
    row->nodes = row->gpus_per_node = 1;
    row->latency_us = cells->latency_us;
    row->dtype = weight_bytes_of(cells->dtype) == 1 ? DTYPE_FP8 : DTYPE_BF16;
    strcpy(row->other_dtype, unknown_dtype(cells, row->kernel.kind));
    strcpy(row->id, cells->id);
    strcpy(row->family, cells->kernel);
    strcpy(row->gpu, cells->gpu);
    strcpy(row->source, cells->engine);
    snprintf(row->kernels, sizeof row->kernels, "%.200s", cells->kernel_source);
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        if (!strcmp(cells->kernel_source, libraries[i].source))
            strcpy(row->kernels, libraries[i].kernels);
}

// The datasheet of a GPU is a cluster's; rows of one GPU stand together.
static void name_cluster(struct measured_row *row, char gpu[FIELD_TEXT_BYTES],
                         char cluster[FIELD_TEXT_BYTES])
{
    if (strcmp(gpu, row->gpu)) {
        strcpy(gpu, row->gpu);
        if (!cluster_of_gpu(gpu, cluster))
            cluster[0] = '\0';
    }
    strcpy(row->cluster, cluster);
}

static bool read_kernels(struct measured *measured, const struct row_text *text, struct error *err)
{
    char gpu[FIELD_TEXT_BYTES] = "", cluster[FIELD_TEXT_BYTES] = "";
    struct kernel_cells cells;
    struct csvfile *csv = csvfile_parse(text->path, text->text, text->length, err);
    bool ok = csv != NULL;
    for (size_t i = 0; ok && i < csv->rows; i++) {
        struct measured_row *row = measured_add(measured, csvfile_line(csv, i));
        ok = read_cells(csv, i, &cells, err) && shape_of_cells(&cells, &row->kernel, err);
        if (!ok) {
            error_prefix(err, "%s:%zu", csv->name, csvfile_line(csv, i));
            break;
        }
        describe(&cells, row);
        name_cluster(row, gpu, cluster);
    }
    if (csv)
        csvfile_free(csv);
    return ok;
}

// By its header: the first line that is no comment.
static bool recognise_kernels(const char *text)
{
    while (*text == '#') {
        text = strchr(text, '\n');
        if (!text)
            return false;
        text++;
    }
    const size_t length = strcspn(text, "\n");
    char *header = strndup(text, length);
    const bool found = strstr(header, "kernel,") && strstr(header, ",kernel_source,");
    free(header);
    return found;
}

const struct row_reader row_reader_kernels = {"a CSV of kernel times", recognise_kernels,
                                              read_kernels};

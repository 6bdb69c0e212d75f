// Presets of kernels over one table of fields, and the cost model that each kernel is of.
#include "model/costs/kernels.h"

#include "base/preset.h"

#include <assert.h>
#include <string.h>

const char *const kernel_names[] = {"none",
                                    "mla-decode",
                                    "mla-prefill",
                                    "gqa-decode",
                                    "gqa-decode-fp8",
                                    "gqa-prefill",
                                    "gqa-prefill-fp8",
                                    "experts-decode",
                                    "experts-prefill",
                                    "experts-fused",
                                    "gemm-bf16",
                                    "gemm-fp8",
                                    "gemm-fp8-block",
                                    "all-reduce-2",
                                    "all-reduce-4",
                                    "all-reduce-8",
                                    NULL};

// clang-format off
#define OF(kind) (1u << KERNEL_##kind)
#define TEXT(member, text)                                                                         \
    {.key = #member, .kind = FIELD_TEXT, .offset = offsetof(struct kernels, member), .help = text}

const struct field kernels_fields[] = {
    TEXT(name, "name of the kernels"),
    TEXT(base, "preset of kernels that says what this one does not"),
    TEXT(rows_of, "GPU whose measured rows its own constants are of"),
    TEXT(like, "of NAME@GPU: GPU of the same chip, whose rows are this one's too"),
    MLA_DECODE_ROWS(attention.mla_decode, OF(MLA_DECODE)),
    MLA_PREFILL_ROWS(attention.mla_prefill, OF(MLA_PREFILL)),
    GQA_DECODE_ROWS("gqa_decode", attention.gqa_decode[0], OF(GQA_DECODE), "GQA decode"),
    GQA_DECODE_ROWS("gqa_decode_fp8", attention.gqa_decode[1], OF(GQA_DECODE_FP8),
                    "GQA decode, FP8 cache"),
    ROOFLINE_ROWS("gqa_prefill", attention.gqa_prefill[0], OF(GQA_PREFILL), "GQA prefill"),
    ROOFLINE_ROWS("gqa_prefill_fp8", attention.gqa_prefill[1], OF(GQA_PREFILL_FP8),
                  "GQA prefill, FP8"),
    GROUPED_ROWS("experts_decode", grouped[GROUPED_MASKED], OF(EXPERTS_DECODE),
                 "experts of masked rows"),
    GROUPED_ROWS("experts_prefill", grouped[GROUPED_CONTIGUOUS], OF(EXPERTS_PREFILL),
                 "experts of contiguous rows"),
    GROUPED_ROWS("experts_fused", grouped[GROUPED_FUSED], OF(EXPERTS_FUSED), "fused experts"),
    GEMM_ROWS("gemm_bf16", gemm[GEMM_BF16], OF(GEMM_BF16), "BF16 product"),
    GEMM_ROWS("gemm_fp8", gemm[GEMM_FP8], OF(GEMM_FP8), "FP8 product"),
    GEMM_ROWS("gemm_block", gemm[GEMM_FP8_BLOCK], OF(GEMM_FP8_BLOCK),
              "FP8 product scaled by blocks"),
    ALL_REDUCE_ROWS(all_reduce, OF(ALL_REDUCE_2), OF(ALL_REDUCE_4), OF(ALL_REDUCE_8)),
};
// clang-format on
#define FIELDS (sizeof kernels_fields / sizeof kernels_fields[0])
_Static_assert(FIELDS <= KERNELS_MAX_FIELDS, "a variant's mark for every key");
const size_t kernels_field_count = FIELDS;

struct kernels kernels_default(void)
{
    struct kernels kernels = {.name = "roofline"};
    for (int kind = 0; kind < GROUPED_KINDS; kind++)
        kernels.grouped[kind].launch_norm = 1;
    return kernels;
}

static const struct object_reader kernels_reader = {
    .kind = "kernels",
    .whose = "kernels'",
    .fields = kernels_fields,
    .count = FIELDS,
};

// Notes who said the keys that were seen, and forgets which they are.
static void note_seen(struct object_reading *reading, bool variant, bool base)
{
    struct kernels *kernels = reading->object;
    for (size_t i = 0; i < FIELDS; i++)
        if (reading->seen[i]) {
            kernels->variant[i] = variant;
            kernels->from_base[i] = base;
        }
    memset(reading->seen, 0, FIELDS * sizeof *reading->seen);
}

// One preset and its GPU's variant, over what is there.
static bool read_kernels_of(struct object_reading *reading, const char *what, const char *gpu,
                            bool base)
{
    if (!object_load(reading, what))
        return false;
    note_seen(reading, false, base);
    if (gpu[0] && !object_load_variant(reading, what, gpu))
        return false;
    note_seen(reading, true, base);
    return true;
}

bool kernels_load(const char *what, const struct cluster *cluster, struct kernels *kernels,
                  struct provenance *provenance, struct error *err)
{
    bool seen[FIELDS] = {false};
    char base[FIELD_TEXT_BYTES], quoted[ERROR_QUOTE_BYTES];
    struct object_reading reading = {.reader = &kernels_reader,
                                     .object = kernels,
                                     .provenance = provenance,
                                     .seen = seen,
                                     .err = err};
    *kernels = kernels_default();
    if (!strchr(what, '/') && strchr(what, '@'))
        return error_set(err, EXIT_INPUT,
                         "'%s': expected no '@': the cluster's GPU says which variant",
                         error_quote(what, quoted));
    if (!read_kernels_of(&reading, what, cluster->gpu, false))
        return false;
    if (!kernels->base[0])
        return true;
    memcpy(base, kernels->base, sizeof base);
    *kernels = kernels_default();
    if (!read_kernels_of(&reading, base, cluster->gpu, true))
        return error_prefix(err, "base");
    if (kernels->base[0])
        return error_set(err, EXIT_INPUT, "%s: base: %s has a base itself", what, base);
    return read_kernels_of(&reading, what, cluster->gpu, false);
}

bool kernels_known(const struct kernels *kernels, const struct kernel_shape *shape)
{
    switch (shape->kind) {
    case KERNEL_EXPERTS_DECODE:
    case KERNEL_EXPERTS_PREFILL:
    case KERNEL_EXPERTS_FUSED:
        return grouped_known(&kernels->grouped[shape->grouped.kind]);
    case KERNEL_GEMM_BF16:
    case KERNEL_GEMM_FP8:
    case KERNEL_GEMM_FP8_BLOCK:
        return gemm_known(&kernels->gemm[shape->gemm.kind]);
    case KERNEL_ALL_REDUCE_2:
    case KERNEL_ALL_REDUCE_4:
    case KERNEL_ALL_REDUCE_8:
        return all_reduce_known(&kernels->all_reduce);
    default:
        return attention_known(&kernels->attention, &shape->attention);
    }
}

const char *kernels_borrowed(const struct kernels *kernels, const char *gpu, enum kernel_kind kind)
{
    size_t row = 0;
    while (row < FIELDS && !(kernels_fields[row].tag & 1u << kind))
        row++;
    if (row == FIELDS || kernels->variant[row] || !kernels->rows_of[0] ||
        !strcmp(kernels->rows_of, gpu) || !strcmp(kernels->rows_of, kernels->like))
        return NULL;
    return kernels->rows_of;
}

double kernels_ps(const struct kernels *kernels, const struct cluster *cluster,
                  const struct kernel_shape *shape)
{
    switch (shape->kind) {
    case KERNEL_EXPERTS_DECODE:
    case KERNEL_EXPERTS_PREFILL:
    case KERNEL_EXPERTS_FUSED:
        return grouped_gemm_ps(kernels->grouped, cluster, &shape->grouped);
    case KERNEL_GEMM_BF16:
    case KERNEL_GEMM_FP8:
    case KERNEL_GEMM_FP8_BLOCK:
        return gemm_ps(kernels->gemm, cluster, &shape->gemm);
    case KERNEL_ALL_REDUCE_2:
    case KERNEL_ALL_REDUCE_4:
    case KERNEL_ALL_REDUCE_8:
        return all_reduce_ps(&kernels->all_reduce, cluster, &shape->all_reduce);
    default:
        assert(shape->kind != KERNEL_NONE);
        return attention_ps(&kernels->attention, cluster, &shape->attention);
    }
}

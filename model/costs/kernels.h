// Compute kernels: what a library's attention, matrix products and all-reduce take of a GPU, as
// constants of a preset of kind "kernels" over the cost models of model/costs/. Kernels of which a
// preset says nothing follow the cluster's own roofline (model/engine/compute.h).
#ifndef MODEL_COSTS_KERNELS_H
#define MODEL_COSTS_KERNELS_H

#include "base/field.h"
#include "base/object.h"
#include "model/cluster.h"
#include "model/costs/all_reduce.h"
#include "model/costs/attention.h"
#include "model/costs/gemm.h"
#include "model/costs/grouped_gemm.h"

// Kernels by how they are measured; the bit 1 << kind is the tag of the rows that they read.
enum kernel_kind {
    KERNEL_NONE,
    KERNEL_MLA_DECODE,
    KERNEL_MLA_PREFILL,
    KERNEL_GQA_DECODE, // cache of BF16
    KERNEL_GQA_DECODE_FP8,
    KERNEL_GQA_PREFILL,
    KERNEL_GQA_PREFILL_FP8,
    KERNEL_EXPERTS_DECODE,
    KERNEL_EXPERTS_PREFILL,
    KERNEL_EXPERTS_FUSED,
    KERNEL_GEMM_BF16,
    KERNEL_GEMM_FP8,
    KERNEL_GEMM_FP8_BLOCK,
    KERNEL_ALL_REDUCE_2,
    KERNEL_ALL_REDUCE_4,
    KERNEL_ALL_REDUCE_8,
    KERNEL_KINDS,
};

extern const char *const kernel_names[]; // by kind: "mla-decode"; NULL ends them

#define KERNELS_MAX_FIELDS 120
#define KERNELS_DEFAULT "sglang"        // what engines deploy
#define KERNELS_EPSIM_REAL "epsim-real" // what epsim-real runs

struct kernels {
    char name[FIELD_TEXT_BYTES];
    char base[FIELD_TEXT_BYTES];    // preset that says what this one does not; "": none
    char rows_of[FIELD_TEXT_BYTES]; // GPU whose rows its own constants are of; "": of none
    char like[FIELD_TEXT_BYTES];    // of a variant: GPU of the same chip, whose rows are this one's
    struct attention_constants attention;
    struct grouped_constants grouped[GROUPED_KINDS];
    struct gemm_constants gemm[GEMM_KINDS];
    struct all_reduce_costs all_reduce;
    // By row of kernels_fields, who says it: the GPU's variant; the base, or its variant.
    bool variant[KERNELS_MAX_FIELDS], from_base[KERNELS_MAX_FIELDS];
};

extern const struct field kernels_fields[];
extern const size_t kernels_field_count;

// No constants: every kernel follows the cluster's roofline.
struct kernels kernels_default(void);

// Reads a preset's name or a YAML file. Of a preset NAME, what NAME@GPU says for the cluster's GPU
// comes instead. What neither says is the base's, read in the same way. provenance:
// KERNELS_MAX_FIELDS, by row; NULL: not wanted.
bool kernels_load(const char *what, const struct cluster *cluster, struct kernels *kernels,
                  struct provenance *provenance, struct error *err);

// One kernel to be run on one rank's GPU.
struct kernel_shape {
    enum kernel_kind kind; // none: nothing is asked
    union {
        struct attention_shape attention;
        struct grouped_shape grouped;
        struct gemm_shape gemm;
        struct all_reduce_shape all_reduce;
    };
};

// Whether the kernels have constants for it.
bool kernels_known(const struct kernels *kernels, const struct kernel_shape *shape);

// The GPU whose rows the constants of a kernel are of, where that is another than `gpu` and its
// shares of the datasheet are all that is known; NULL: gpu's own, or nothing is known.
const char *kernels_borrowed(const struct kernels *kernels, const char *gpu, enum kernel_kind kind);

// Picoseconds that it takes, start included, where kernels_known.
double kernels_ps(const struct kernels *kernels, const struct cluster *cluster,
                  const struct kernel_shape *shape);

#endif

// Number formats: what moves on the wire, and what experts' weights are kept in.
#ifndef MODEL_FORMATS_DTYPE_H
#define MODEL_FORMATS_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

// fp8: E4M3 with one fp32 scale per 128 values; mxfp8, nvfp4: one-byte scales per 32 and 16 values;
// nvfp4-in-kernel: bf16 that a combine kernel sends as nvfp4. Of weights alone: mxfp4, a one-byte
// scale per 32 values; int4 and int8, in groups of 128 with a scale of two bytes (AWQ, GPTQ).
enum dtype {
    DTYPE_FP8,
    DTYPE_BF16,
    DTYPE_FP32,
    DTYPE_MXFP8,
    DTYPE_NVFP4,
    DTYPE_NVFP4_IN_KERNEL,
    DTYPE_PAYLOADS, // so many go on the wire
    DTYPE_MXFP4 = DTYPE_PAYLOADS,
    DTYPE_INT4,
    DTYPE_INT8,
};
extern const char *const dtype_names[];   // "fp8", "bf16", ..., NULL
extern const char *const payload_names[]; // of payloads alone

// Bytes of a weight, its share of the scale of a group included: 0.5625 of nvfp4. group 0: of as
// many as the format has. Scales of fp8, of blocks of 128 x 128 or longer rows, are left out.
double dtype_weight_bytes(enum dtype weights, uint32_t group);

// What experts with such weights compute in, and so what engines dispatch to them: fp8, mxfp8 and
// nvfp4 as they are; weights that are quantised alone (mxfp4, int4, int8) are widened in the
// kernel, and their activations stay bf16.
enum dtype dtype_of_activations(enum dtype weights);

// Whether the words ("fp8 bf16") have the format's name; no words: any.
bool dtype_in(const char *words, enum dtype dtype);
// The first word that names no payload, into word (32 bytes), or NULL.
const char *dtype_unknown_word(const char *words, char *word);

#endif

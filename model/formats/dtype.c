#include "model/formats/dtype.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PAYLOAD_NAMES "fp8", "bf16", "fp32", "mxfp8", "nvfp4", "nvfp4-in-kernel"
const char *const payload_names[] = {PAYLOAD_NAMES, NULL};
const char *const dtype_names[] = {PAYLOAD_NAMES, "mxfp4", "int4", "int8", NULL};

// Bytes of a weight alone and of the scale that a group of them shares, and how many share it; 0:
// too many to count.
static const struct weight_format {
    double bytes, scale_bytes;
    uint32_t group;
} weight_formats[] = {
    [DTYPE_FP8] = {1, 0, 0},      [DTYPE_BF16] = {2, 0, 0},     [DTYPE_FP32] = {4, 0, 0},
    [DTYPE_MXFP8] = {1, 1, 32},   [DTYPE_NVFP4] = {0.5, 1, 16}, [DTYPE_NVFP4_IN_KERNEL] = {2, 0, 0},
    [DTYPE_MXFP4] = {0.5, 1, 32}, [DTYPE_INT4] = {0.5, 2, 128}, [DTYPE_INT8] = {1, 2, 128},
};

double dtype_weight_bytes(enum dtype weights, uint32_t group)
{
    const struct weight_format *format = &weight_formats[weights];
    const uint32_t shared = group ? group : format->group;
    return format->bytes + (shared ? format->scale_bytes / shared : 0);
}

enum dtype dtype_of_activations(enum dtype weights)
{
    return weights == DTYPE_FP8 || weights == DTYPE_MXFP8 || weights == DTYPE_NVFP4 ? weights
                                                                                    : DTYPE_BF16;
}

// ---- words -------------------------------------------------------------------------------------

// The next word of the text, cut to 31 bytes; returns what comes after it, or NULL at the end.
static const char *dtype_word(const char *text, char *word)
{
    text += strspn(text, " ");
    const size_t length = strcspn(text, " ");
    snprintf(word, 32, "%.*s", (int)length, text);
    return length ? text + length : NULL;
}

bool dtype_in(const char *words, enum dtype dtype)
{
    char word[32];
    if (!*words)
        return true;
    while ((words = dtype_word(words, word)))
        if (!strcmp(word, dtype_names[dtype]))
            return true;
    return false;
}

const char *dtype_unknown_word(const char *words, char *word)
{
    while ((words = dtype_word(words, word))) {
        size_t i = 0;
        while (payload_names[i] && strcmp(payload_names[i], word))
            i++;
        if (!payload_names[i])
            return word;
    }
    return NULL;
}

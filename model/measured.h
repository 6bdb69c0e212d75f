// Measurements: one CSV for published rows and our own, one figure a row.
#ifndef MODEL_MEASURED_H
#define MODEL_MEASURED_H

#include "base/error.h"
#include "base/field.h"
#include "model/moe.h"
#include "model/schedule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct measured_row {
    char id[FIELD_TEXT_BYTES], family[FIELD_TEXT_BYTES];
    char cluster[FIELD_TEXT_BYTES], dispatcher[FIELD_TEXT_BYTES]; // presets' names
    uint32_t nodes, gpus_per_node;
    uint32_t experts, topk;  // 0 for a byte exchange
    uint32_t topk_groups;    // 0: no group limit
    uint32_t tokens_per_gpu; // 0 for a byte exchange
    uint64_t bytes_per_rank; // "bytes:N": all that a rank sends, 1/n to each rank, itself included
    uint32_t hidden;
    enum dtype dtype;
    char other_dtype[FIELD_TEXT_BYTES]; // a format that epsim does not model; "": dtype holds it
    enum phase phase;                   // of a layer, or alltoall
    uint32_t sms;                       // 0: the library's default
    double latency_us;
    char source[FIELD_TEXT_BYTES];
    // Optional columns; blank: the whole phase, the mean over ranks, uniform routing, contiguous.
    char stage[FIELD_TEXT_BYTES], stat[FIELD_TEXT_BYTES];
    char routing[FIELD_TEXT_BYTES], layout[FIELD_TEXT_BYTES];
    uint64_t step; // of routing trace, as --step and --layer count them; blank: 0
    uint32_t layer;
    size_t line;
};

struct measured {
    char *path;
    struct measured_row *rows;
    size_t count;
};

// Reads the CSV with the columns of struct measured_row (a byte exchange writes "bytes:N" for
// tokens); optional trailing columns may be absent, unknown ones are ignored. Refuses a missing
// required column, a bad cell ("file:line: column: ..."), two rows of one id, and a file without
// rows.
bool measured_load(struct measured *measured, const char *path, struct error *err);
void measured_release(struct measured *measured);

// The routing that the row was measured under: its own column, else balanced for trtllm-*
// dispatchers, deepep with a group limit, uniform without.
enum routing_rule measured_rule(const struct measured_row *row);

// Whether the row is what engines predict by themselves: a phase's or a stage's mean or slowest
// rank under a routing that can be drawn. If not, err says why.
bool measured_predictable(const struct measured_row *row, struct error *err);

#endif

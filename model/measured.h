// Measurements, one figure a row: of one CSV for published rows and our own, of nccl-tests' text,
// or of what epsim-real probe wrote.
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
    // Whom the bytes of an exchange go to: a pattern of model/traffic.h; "matrix": a matrix that
    // the row does not hold (bytes_per_rank: the most that a rank sends or receives); blank:
    // uniform.
    char traffic[FIELD_TEXT_BYTES];
    uint32_t intermediate;      // of the one expert that a compute phase ran; 0: the model's
    char gpu[FIELD_TEXT_BYTES]; // that it ran on, as clusters call it; blank: not known
    const char *file;           // borrowed from struct measured
    size_t line;
};

struct measured {
    char *path;   // for messages: the file, or all of them with commas
    char **files; // [file_count]
    size_t file_count;
    struct measured_row *rows;
    size_t count, capacity;
};

// Reads one file, whose text says what it is:
// - the CSV with the columns of struct measured_row (a byte exchange writes "bytes:N" for tokens);
//   optional trailing columns may be absent, unknown ones are ignored;
// - what nccl-tests print (model/nccl_tests.h), or the TSV of epsim-real probe
// (model/probe_rows.h).
//   Their rows name no cluster: whoever asks does (study/row.h).
// Refuses a missing required column, a bad cell ("file:line: column: ..."), two rows of one id, and
// a file without rows.
bool measured_load(struct measured *measured, const char *path, struct error *err);

// Reads several, one after the other; an id stands once in all of them.
bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         struct error *err);
void measured_release(struct measured *measured);

// A new row of the file that is being read, zero but for that: for readers. Valid until the next.
struct measured_row *measured_add(struct measured *measured, size_t line);

// What such a row says of GPUs: the first that any row names, or "".
const char *measured_gpu(const struct measured *measured);

// The routing that the row was measured under: its own column, else balanced for trtllm-*
// dispatchers, deepep with a group limit, uniform without.
enum routing_rule measured_rule(const struct measured_row *row);

// Whether the row is what engines predict by themselves: a phase's or a stage's mean or slowest
// rank under a routing that can be drawn. If not, err says why.
bool measured_predictable(const struct measured_row *row, struct error *err);

#endif

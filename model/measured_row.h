// One measured figure: what was measured of what, where. What epsim-real writes as a line of CSV,
// and what studies hold predictions to; they are read by study/rows/.
#ifndef MODEL_MEASURED_ROW_H
#define MODEL_MEASURED_ROW_H

#include "base/error.h"
#include "base/field.h"
#include "model/costs/kernels.h"
#include "model/moe.h"
#include "model/routing.h"
#include "model/schedule.h"
#include "model/timing.h"

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
    enum phase phase;                   // of a layer, or all of it; or alltoall
    uint32_t sms;                       // 0: the library's default
    double latency_us;
    char source[FIELD_TEXT_BYTES];
    // Optional columns; blank: the whole phase, the mean over ranks, uniform routing, contiguous.
    char stage[FIELD_TEXT_BYTES], stat[FIELD_TEXT_BYTES];
    char routing[FIELD_TEXT_BYTES], layout[FIELD_TEXT_BYTES];
    uint64_t step; // of routing trace, as --step and --layer count them; blank: 0
    uint32_t layer;
    // Whom the bytes of an exchange go to: a pattern of traffic; "matrix": a matrix that
    // the row does not hold (bytes_per_rank: the most that a rank sends or receives); blank:
    // uniform.
    char traffic[FIELD_TEXT_BYTES];
    uint32_t intermediate;        // of the one expert that a compute phase ran; 0: the model's
    char gpu[FIELD_TEXT_BYTES];   // that it ran on, as clusters call it; blank: not known
    char model[FIELD_TEXT_BYTES]; // preset whose widths, groups and shared experts it ran with
    char weight_dtype[FIELD_TEXT_BYTES]; // of its experts as they ran; blank: the model's
    enum overlap overlap;                // of a layer: where its shared expert ran; blank: none
    unsigned without; // of a layer: phases that it ran without, a bit for each; "router+notify"
    char disturbed[FIELD_TEXT_BYTES]; // ranks whose GPU another job shared; blank: none
    struct kernel_shape kernel;       // of phase kernel: what ran, on a GPU by itself
    char kernels[FIELD_TEXT_BYTES];   // preset of kernels that it ran with; blank: epsim-real's
    const double *rank_us;            // [ranks] what each measured, NAN: not said; borrowed; NULL
    uint32_t ranks;                   // of rank_us
    const char *file;                 // that it was read from; borrowed
    size_t line;
};

// A column of the CSV whose cells a field reads as they stand.
struct measured_row_column {
    struct field field; // into struct measured_row
    bool required;      // the file must have the column
    bool may_be_blank;  // an empty cell: zero, or no text
};
extern const struct measured_row_column measured_row_columns[];
extern const size_t measured_row_column_count;

// The other columns, all required: tokens_per_gpu (a count, or "bytes:N" of a byte exchange),
// dtype, phase and derived (0 or 1). NULL ends them.
extern const char *const measured_row_word_columns[];

// One more that a file may have: the names of a layer's row's left-out phases, joined by '+'.
#define MEASURED_ROW_WITHOUT "without"

// The routing that the row was measured under: its own column, else balanced for trtllm-*
// dispatchers, deepep with a group limit, uniform without.
enum routing_rule measured_rule(const struct measured_row *row);

// Whether the row is what engines predict by themselves: a phase's or a stage's mean or slowest
// rank under a routing that can be drawn or was recorded, a kernel in a format and on GPUs that its
// model is of. If not, err says why.
bool measured_predictable(const struct measured_row *row, struct error *err);

#endif

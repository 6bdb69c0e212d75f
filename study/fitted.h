// What calibrations found, how surely and from what: presets of kind "fits", written by
// calibration_write beside the presets that they set, read to say how far a prediction is to be
// believed (study/interval.h) and whether it leaves what was measured (study/extrapolate.h).
//
//     data: "DeepEP's kernels, published by 2026-11"   # then only or except, and seed, of a part
//     parameters:
//       - {key: nic, clusters: [h800-cx7, hopper-cx7], value: 46.242GB/s}
//       - {key: dispatch_fixed, also: combine_fixed, dispatchers: [deepep-normal], value: 23.1us}
//     covariance:     # of the values' logarithms: the lower triangle, a row a line
//       - "4.36e-05"
//       - "1.2e-06 0.00013"
//     groups:
//       - dispatcher: deepep-normal
//         phase: dispatch
//         spreads:
//           - nodes: 1               # from as many on
//             rows: 441
//             freedom: 436.4         # rows less the parameters that they took up
//             estimate_spread: 0.026 # standard deviation of ln(predicted / measured), apart from
//             simulate_spread: 0.025 # the tenth of the rows that is furthest off
//           - {nodes: 2, rows: 139, ...}
//         clusters: [h100-nvl8, h800-cx7]
//         versions:              # of a library whose dispatcher has any; of each, where
//           - {version: nccl-2.29, clusters: [h100-nvl8]}
//         dtypes: [fp8]
//         gpus_per_node: [8, 8]   # least, most
//         ...
//         places: [[1, 1, 131072], [2, 1, 4096]]  # nodes, least and most tokens a rank there
#ifndef STUDY_FITTED_H
#define STUDY_FITTED_H

#include "study/calibrate.h"
#include "study/row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// Quantities that a group's rows span, and a scenario may leave.
enum span_key {
    SPAN_GPUS, // of a node
    SPAN_EXPERTS,
    SPAN_TOPK,
    SPAN_HIDDEN,
    SPAN_SMS, // that move data
    SPAN_KEYS,
};
extern const char *const span_keys[]; // as in the file

struct span {
    uint64_t min, max; // most 0: the rows have none of it
};

struct fitted_place {
    uint32_t nodes;
    struct span sizes; // tokens a rank; bytes a rank in a byte exchange
};

// How far off rows are. Between nodes a cost model has more to go wrong with, so its rows, when
// there are enough of either kind, have a spread of their own.
struct fitted_spread {
    uint32_t nodes; // of a case, from as many on
    size_t rows;
    double freedom;     // at least 1
    double of[ENGINES]; // by engine_index; 0: not known of that engine
};
#define FITTED_SPREADS 2
#define FITTED_ENOUGH                                                                              \
    10 // rows of one node, and of more, that make a spread each; fewer in all say
       // less than the scatter of the whole fit, which then is the least

// Rows of one release of the dispatcher's library (model/version.h).
struct fitted_version {
    char version[FIELD_TEXT_BYTES];
    struct names clusters;
};

// Rows of one dispatcher and phase.
struct fitted_group {
    char dispatcher[FIELD_TEXT_BYTES];
    enum phase phase;
    struct fitted_spread spreads[FITTED_SPREADS]; // by nodes, ascending
    size_t spread_count;
    struct names clusters;
    struct fitted_version *versions; // none: nobody says
    size_t version_count;
    uint32_t dtypes; // bit set of enum dtype
    struct span spans[SPAN_KEYS];
    struct fitted_place *places; // by nodes, ascending
    size_t place_count;
};

struct fitted {
    struct parameter *parameters; // start: the value found
    size_t parameter_count;
    double *covariance; // [parameters * parameters]
    struct fitted_group *groups;
    size_t group_count;
};

struct fits {
    struct fitted *all; // those of one's own folder first
    size_t own, count;
};

// Reads every preset of kind "fits". A file with a key that is none, a matrix of another size, one
// that could be no covariance, or nodes that do not ascend is refused: file:line: key.
bool fits_load(struct fits *fits, struct error *err);
void fits_release(struct fits *fits);

// The rows behind a dispatcher's phase; NULL: none. Of several fits, one of one's own; of those,
// one that moved the dispatcher's own keys: another saw its rows before they were as they are.
const struct fitted_group *fits_group(const struct fits *fits, const char *dispatcher,
                                      enum phase phase);

// The group's spread for a case of that many nodes; of fewer than any row has, the first.
const struct fitted_spread *fitted_spread_at(const struct fitted_group *group, uint32_t nodes);

// The group's rows of that release; NULL: none.
const struct fitted_version *fitted_version_of(const struct fitted_group *group,
                                               const char *version);

// The names of a bit set of enum dtype: "bf16, fp8". Freed by the caller.
char *fitted_dtypes(uint32_t dtypes);

// What the calibration's rows say of themselves. Released by fitted_release.
void fitted_of(struct fitted *fitted, const struct calibration *calibration);
void fitted_release(struct fitted *fitted);

// Prints a preset of kind "rows": of which dispatchers, clusters and shapes the calibration's rows
// are (scenario/backing.h).
void fitted_print_rows(FILE *out, const struct calibration *calibration);

// Prints one of kind "fits", of the parameters that presets are given.
void fitted_print(FILE *out, const struct calibration *calibration,
                  const struct provenance *origin);

#endif

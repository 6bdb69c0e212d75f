// Calibration: constants of clusters, dispatchers and kernels from measured rows, by least squares
// on the closed form's relative errors (study/fit.h).
//
// What may move is said by a fit file:
//
//     parameters:
//       - {key: nic, clusters: [h800-cx7]}
//       - {key: hbm, clusters: [h100-cx7, hopper-cx7], min: 2TB/s, max: 3.35TB/s}
//       - {key: dispatch_sm_rate, dispatchers: [deepep-normal], start: 16GB/s}
//       - {key: dispatch_fixed, also: combine_fixed, dispatchers: [deepep-normal@hopper-cx7]}
//       - {key: gemm_bf16_flops, kernels: [sglang@h200]}
//     prior: 0.5
//     data: "DeepEP's kernels, published by 2026-11"
//
// `data` is what fitted constants call the measured rows (their `fit`); without it they are called
// by their file. `asked` stands for the cluster that the rows ran on (--cluster), and NAME@asked
// for what dispatcher NAME says there: fitted, it is that cluster's variant, and other clusters'
// figures stay. So one file serves every machine:
//
//       - {key: nic, clusters: [asked], start: 40GB/s}
//       - {key: dispatch_fixed, dispatchers: [nccl-alltoall@asked]}
//
// A parameter is one key of a cluster, dispatcher or kernels, one value for all presets that it
// names and so for all rows of theirs. Without start it begins at its first preset's value, without
// min and max it may move by a factor of 100 either way; a NIC's latency that begins between 1 and
// 10 us stays there. With a prior, the file's or the parameter's own, it is held near its start for
// want of rows: ln(value / start) has that standard deviation (study/fit.h). A file without says
// nothing beforehand.
#ifndef STUDY_CALIBRATE_H
#define STUDY_CALIBRATE_H

#include "study/calibrate_row.h"
#include "study/fit.h"
#include "study/rows/measured.h"

#include <stddef.h>
#include <stdint.h>

#define CALIBRATE_ASKED "asked"

// What `asked` stands for in a fit file.
struct calibrate_target {
    const char *cluster; // NULL: nothing
    const char *gpu;     // of it, where it says none itself; "": not known
};

// A parameter that the rows do not tell: it stays as its presets have it, and others are fitted to
// that.
struct left_alone {
    bool is;
    enum fit_verdict verdict; // when it was last fitted
    double standard_error;
};

struct calibration {
    char name[FIELD_TEXT_BYTES]; // of the fit file, without folder and extension
    char data[FIELD_TEXT_BYTES]; // what the fit file calls the measured data; "": it does not say
    struct calibrate_target asked;
    struct parameter *parameters;
    struct left_alone *left_alone; // [parameters]
    size_t parameter_count;
    struct calibrate_row *rows; // of the file, in its order
    size_t row_count, skipped;
    struct names contradictions; // of rows with each other, a sentence each (study/contradiction.h)
    bool between;                // biases are known
    struct fit fit;              // verdicts on those that were left alone too
    double median_abs_pct, p90_abs_pct;               // of the fitted rows
    double before_median_abs_pct, before_p90_abs_pct; // by the presets as they were
};

// Reads a fit file, one that is shipped or a path (study/shipped_fit.h); `asked` is borrowed.
// Refuses an unknown key, a key that is a count or a choice, a preset that does not load, a start
// outside the bounds or not above zero, and a (preset, key) that stands twice: file:line: key.
bool calibration_load(struct calibration *calibration, const char *what,
                      const struct calibrate_target *asked, struct error *err);

// Whether the parameter has a value to be used: FIT_FOUND, or FIT_HELD where the rows say anything.
bool calibration_found(const struct calibration *calibration, size_t p);

// Whether the rows told everything that they were asked: nothing contradicts, and every parameter
// that a row depends on is found.
bool calibration_complete(const struct calibration *calibration);

// Writes every preset that a parameter names, with what was found (calibration_found) in place of
// the old values, as folder/clusters/NAME.yaml and folder/dispatchers/NAME.yaml; the folders are
// made when absent. Everything else is left as it was. A cluster that was asked in one line is
// written whole, under the name that it has. Beside them folder/fits/NAME.yaml says how surely they
// are known (study/fitted.h). `origin` says which data, or which part of them, they were fitted to:
// its fit, only or except, and seed. All files are new, or none is (outfiles_commit).
bool calibration_write(const struct calibration *calibration, const char *folder,
                       const struct provenance *origin, struct error *err);

// Resolves the rows (those that cannot be predicted are skipped, and say why), leaves out those
// that contradict each other, and fits. Refuses fewer usable rows than parameters. `measured` must
// outlive the calibration.
//
// A value that the rows do not tell would bend the others: what is loose or at a bound is left as
// its presets have it, the loosest first, and the rest is fitted again, until all that moves is
// found. Parameters with a prior are held by it instead.
//
// The closed form is what is solved for. Both engines use the constants that are found, and differ
// by what queues; with `between`, the fit goes on, once, from there with each row's prediction
// halfway (geometrically) between them, as far apart as they were.
bool calibration_run(struct calibration *calibration, const struct measured *measured,
                     const struct row_overrides *overrides, bool between, struct error *err);

// Honest error of groups that the fit did not see: for each (family, cluster, dispatcher, nodes,
// phase), fits without its rows and predicts them.
struct left_out {
    const struct measured_row *first; // names the group
    size_t count;
    double median_abs_pct, p90_abs_pct;
};
struct left_out *calibration_leave_out(const struct calibration *calibration, size_t *count);

void calibration_release(struct calibration *calibration);

#endif

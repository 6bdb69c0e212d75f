// Fitted constants: values of presets that were found from measured rows, as their provenance says
// (base/object.h; what `epsim calibrate --write` puts there), and how much of what is predicted for
// measured rows they leave open: as many constants as rows meet any rows.
#ifndef STUDY_CONSTANTS_H
#define STUDY_CONSTANTS_H

#include "base/object.h"
#include "study/row.h"
#include "study/rows/measured.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One constant, whatever keys and presets carry it: keys that differ only in their direction
// (dispatch_fixed, combine_fixed), of the same value and provenance, are one.
struct constant {
    const char *key; // the first that carried it
    char *value;
    struct provenance provenance;
    bool held_out; // fitted to none of the judged rows
};

// The constants that one row's predictions read (study/reads.h).
struct constant_row {
    uint32_t *constants; // indices into constants.all
    size_t count;
};

struct constants {
    struct constant *all;
    size_t count;
    struct constant_row *rows; // [measured->count]
    size_t row_count;
};

// Looks up every row's presets. A row whose cluster or dispatcher does not load has no constants.
// Those fitted to the part of the data that overrides->held_out names, by the same seed, are held
// out.
void constants_init(struct constants *constants, const struct measured *measured,
                    const struct row_overrides *overrides);
// Of an engine that reads no fitted constant: every row has none.
void constants_none(struct constants *constants, const struct measured *measured);
void constants_release(struct constants *constants);

// What the predictions of some rows rest on.
struct support {
    size_t rows;
    size_t parameters;  // constants that one of them reads
    size_t fitted_rows; // the fewest rows that one of those was fitted to; 0: there are none
    // How many of them these rows may themselves have fixed: a constant fitted to N rows counts
    // M / N where M of them read it, 1 at most, and nothing where they were held out.
    double effective_parameters;
};

// The support of those rows whose taken[] is true.
struct support constants_support(const struct constants *constants, const bool *taken);

// Fewer than three rows an effective parameter: predictions that meet such rows prove nothing.
#define SUPPORT_MIN_ROWS 3
bool support_overfitted(const struct support *support);

#endif

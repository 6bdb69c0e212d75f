// Fitted figures: values of presets that were found from measured rows, as their source says
// ("fitted to 24 rows: ...", what `epsim calibrate --write` puts there), and how much of what is
// predicted for measured rows they leave open: as many figures as rows meet any rows.
#ifndef STUDY_FIGURES_H
#define STUDY_FIGURES_H

#include "study/row.h"
#include "study/rows/measured.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One figure, whatever keys and presets carry it: keys that differ only in their direction
// (dispatch_fixed, combine_fixed), of the same value and source, are one.
struct figure {
    const char *key; // the first that carried it
    char *value, *source;
    size_t rows;   // that it was fitted to
    bool held_out; // to none of the judged ones
};

// The figures that one row's predictions read (study/reads.h).
struct figure_row {
    uint32_t *figures; // indices into figures.all
    size_t count;
};

struct figures {
    struct figure *all;
    size_t count;
    struct figure_row *rows; // [measured->count]
    size_t row_count;
};

// Looks up every row's presets. A row whose cluster or dispatcher does not load has no figures.
// Figures whose source has the flag overrides->held_out ("--only 1/3") and the same seed are held out.
void figures_init(struct figures *figures, const struct measured *measured,
                  const struct row_overrides *overrides);
// Of an engine that reads no fitted figure: every row has none.
void figures_none(struct figures *figures, const struct measured *measured);
void figures_release(struct figures *figures);

// What the predictions of some rows rest on.
struct support {
    size_t rows;
    size_t parameters;  // figures that one of them reads
    size_t fitted_rows; // the fewest rows that one of those was fitted to; 0: there are none
    // How many of them these rows may themselves have fixed: a figure fitted to N rows counts M / N
    // where M of them read it, 1 at most, and nothing where they were held out.
    double own_parameters;
};

// The support of those rows whose taken[] is true.
struct support figures_support(const struct figures *figures, const bool *taken);

// Fewer than three rows a figure of their own: predictions that meet such rows prove nothing.
#define SUPPORT_LEAST_ROWS 3
bool support_proves_nothing(const struct support *support);

// "fitted to 24 rows: ..." -> 24; 0 for any other source, NULL too.
size_t figures_source_rows(const char *source);

#endif

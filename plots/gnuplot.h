// gnuplot, run on a script of plots/ in a private folder that is gone afterwards.
#ifndef PLOTS_GNUPLOT_H
#define PLOTS_GNUPLOT_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

struct drawing {
    const char *script; // plots/SCRIPT.gp, compiled in
    const char *title;
    const char *data; // the TSV that it reads
    size_t length;
    const char *suffix; // ".svg", ".png" or ".pdf"
};

// Writes the figure, whole, to `out`. EXIT_ABSENT where gnuplot is not installed; EXIT_RUNTIME,
// with gnuplot's own message, when it fails or draws a part only: nothing is written then.
bool gnuplot_draw(const struct drawing *drawing, FILE *out, struct error *err);

#endif

// Figures from the TSV files that epsim writes, drawn by gnuplot with the scripts of plots/.
#ifndef PLOTS_PLOT_H
#define PLOTS_PLOT_H

#include "base/error.h"

// Draws the figure that the first line of the file names ("# epsim.KIND/1", KIND one of
// accuracy-rows, compare, ranks, traffic) into out_path, an .svg, .png or .pdf. A comment "# title:
// ..." gives the title.
//
// EXIT_INPUT for a file that does not fit the figure ("file:line: ..."), an unknown KIND or suffix;
// EXIT_ABSENT where gnuplot is not installed; EXIT_RUNTIME, with gnuplot's own message, when it
// fails. out_path is replaced when the figure is complete, and untouched otherwise.
bool plot_render(const char *tsv_path, const char *out_path, struct error *err);

#endif

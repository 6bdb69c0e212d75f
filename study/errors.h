// How far off: the two figures that every table of errors gives.
#ifndef STUDY_ERRORS_H
#define STUDY_ERRORS_H

#include <stddef.h>

// Sorts the n absolute errors in place; their median (mean of the middle two when even) and 90th
// percentile, element floor(0.9 (n - 1)). NaN for none.
void errors_summarise(double *errors, size_t n, double *median, double *p90);

#endif

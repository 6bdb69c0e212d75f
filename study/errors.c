#include "study/errors.h"

#include <gsl/gsl_sort.h>
#include <math.h>

void errors_summarise(double *errors, size_t n, double *median, double *p90)
{
    *median = *p90 = NAN;
    if (n == 0)
        return;
    gsl_sort(errors, 1, n);
    *median = (errors[(n - 1) / 2] + errors[n / 2]) / 2;
    *p90 = errors[(size_t)floor(0.9 * (double)(n - 1))];
}

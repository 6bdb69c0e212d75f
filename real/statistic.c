#include "real/statistic.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>

struct statistic statistic_take(double *values_us, size_t count)
{
    gsl_sort(values_us, 1, count);
    return (struct statistic){.median_us = gsl_stats_median_from_sorted_data(values_us, 1, count),
                              .min_us = values_us[0],
                              .p99_us =
                                  gsl_stats_quantile_from_sorted_data(values_us, 1, count, 0.99)};
}

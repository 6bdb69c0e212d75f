// What is told of repeated times. Private to real/.
#ifndef REAL_STATISTIC_H
#define REAL_STATISTIC_H

#include <stddef.h>

// Median, smallest and 99th percentile, microseconds.
struct statistic {
    double median_us, min_us, p99_us;
};

// Sorts the values. count must be positive.
struct statistic statistic_take(double *values_us, size_t count);

#endif

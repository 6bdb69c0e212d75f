// Quantiles of many whole numbers in memory that does not grow with them. Exact up to
// QUANTILE_EXACT values; beyond that every value is known by a bin at most 1/1,024 of it wide, and
// a quantile is the middle of its bin: within 0.05 %. Count, least, most and sum stay exact. What
// comes out does not depend on the order in which values came.
#ifndef BASE_QUANTILE_H
#define BASE_QUANTILE_H

#include <stdint.h>

#define QUANTILE_EXACT 2048
#define QUANTILE_BINS 1024  // from one power of two to the next
#define QUANTILE_OCTAVES 55 // the first is of all values below QUANTILE_BINS, each a bin of its own

// Zeroed, it is empty.
struct quantiles {
    uint64_t count, min, max;
    uint64_t sum_high, sum_low;       // 128 bits
    uint64_t *values;                 // while exact, in no order
    uint64_t *bins[QUANTILE_OCTAVES]; // when no more so; an octave without values: NULL
};

void quantiles_add(struct quantiles *quantiles, uint64_t value);
void quantiles_release(struct quantiles *quantiles);

// The smallest value that a share (0 to 1) of all values do not exceed (nearest rank: element
// ceil(share x count) of the ascending values, counted from 1). There is one value at least.
double quantiles_at(const struct quantiles *quantiles, double share);

double quantiles_mean(const struct quantiles *quantiles);

#endif

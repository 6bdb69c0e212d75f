#include "base/quantile.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define BIN_BITS 10
_Static_assert(QUANTILE_BINS == 1 << BIN_BITS, "bins are cut by shifts");
_Static_assert(QUANTILE_OCTAVES == 64 - BIN_BITS + 1, "every 64-bit value has an octave");

// How far a value is shifted right for its leading BIN_BITS + 1 bits, which tell its bin.
static unsigned shift_of(uint64_t value)
{
    unsigned shift = 0;
    while (value >> shift >= 2 * QUANTILE_BINS)
        shift++;
    return shift;
}

static void add_bin(struct quantiles *quantiles, uint64_t value)
{
    const unsigned shift = shift_of(value);
    const unsigned octave = value < QUANTILE_BINS ? 0 : shift + 1;
    if (!quantiles->bins[octave])
        quantiles->bins[octave] = mem_alloc(QUANTILE_BINS, sizeof(uint64_t));
    quantiles->bins[octave][value >> shift & (QUANTILE_BINS - 1)]++;
}

// The middle of a bin; of one that holds a single whole number, that.
static double bin_middle(unsigned octave, unsigned bin)
{
    if (octave == 0)
        return bin;
    const unsigned shift = octave - 1;
    const double low = ldexp(QUANTILE_BINS + bin, (int)shift);
    return low + (ldexp(1, (int)shift) - 1) / 2;
}

static void spill(struct quantiles *quantiles)
{
    for (uint64_t i = 0; i < quantiles->count; i++)
        add_bin(quantiles, quantiles->values[i]);
    free(quantiles->values);
    quantiles->values = NULL;
}

void quantiles_add(struct quantiles *quantiles, uint64_t value)
{
    if (quantiles->count == QUANTILE_EXACT)
        spill(quantiles);
    if (quantiles->count >= QUANTILE_EXACT) {
        add_bin(quantiles, value);
    } else {
        quantiles->values =
            mem_room(quantiles->values, quantiles->count, sizeof *quantiles->values);
        quantiles->values[quantiles->count] = value;
    }
    quantiles->min = quantiles->count && quantiles->min < value ? quantiles->min : value;
    quantiles->max = quantiles->max > value ? quantiles->max : value;
    quantiles->count++;
    quantiles->sum_low += value;
    quantiles->sum_high += quantiles->sum_low < value;
}

void quantiles_release(struct quantiles *quantiles)
{
    free(quantiles->values);
    for (unsigned octave = 0; octave < QUANTILE_OCTAVES; octave++)
        free(quantiles->bins[octave]);
    *quantiles = (struct quantiles){0};
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double exact_at(const struct quantiles *quantiles, uint64_t place)
{
    qsort(quantiles->values, quantiles->count, sizeof *quantiles->values, by_value);
    return (double)quantiles->values[place];
}

static double bin_at(const struct quantiles *quantiles, uint64_t place)
{
    uint64_t below = 0;
    for (unsigned octave = 0; octave < QUANTILE_OCTAVES; octave++)
        for (unsigned bin = 0; quantiles->bins[octave] && bin < QUANTILE_BINS; bin++) {
            below += quantiles->bins[octave][bin];
            if (below > place)
                return bin_middle(octave, bin);
        }
    return (double)quantiles->max;
}

double quantiles_at(const struct quantiles *quantiles, double share)
{
    assert(quantiles->count > 0 && share >= 0 && share <= 1);
    // Beyond 2^53 values a place may be off by a few; 0.99 x 100 is a little more than 99.
    const double rank = ceil(share * (double)quantiles->count * (1 - 1e-15));
    const uint64_t place = rank < 1 ? 0 : (uint64_t)rank - 1;
    if (quantiles->values)
        return exact_at(quantiles, place);
    // The ends are known; their bins' middles may lie beyond them.
    if (place == 0 || place == quantiles->count - 1)
        return (double)(place ? quantiles->max : quantiles->min);
    const double middle = bin_at(quantiles, place);
    return fmin(fmax(middle, (double)quantiles->min), (double)quantiles->max);
}

double quantiles_mean(const struct quantiles *quantiles)
{
    assert(quantiles->count > 0);
    return (ldexp((double)quantiles->sum_high, 64) + (double)quantiles->sum_low) /
           (double)quantiles->count;
}

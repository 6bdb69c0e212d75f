#include "traces/draws.h"

static unsigned long next_word(void *state)
{
    return rng_next(state) >> 32;
}

static double next_unit(void *state)
{
    return rng_unit(state);
}

// Never seeded through GSL: it is the stream that has the seed.
static const gsl_rng_type counter_type = {.name = "epsim-counter",
                                          .max = UINT32_MAX,
                                          .min = 0,
                                          .size = sizeof(struct rng),
                                          .get = next_word,
                                          .get_double = next_unit};

struct rng draw_stream(uint64_t seed, enum draw draw, uint64_t a, uint64_t b)
{
    return rng_stream(seed ^ (uint64_t)draw << 56, a, b, (uint64_t)draw);
}

void draws_init(struct draws *draws, struct rng rng)
{
    draws->rng = rng;
    draws->gsl = (gsl_rng){.type = &counter_type, .state = &draws->rng};
}

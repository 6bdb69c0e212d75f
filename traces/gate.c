#include "traces/gate.h"

#include "traces/draws.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <threads.h>

#define ZERO (SELECT_LEVELS / 2) // the level of score 0
#define QUANTILES 65536

static int16_t gumbel_of_quantile[QUANTILES]; // in levels, 0 at score 0
static once_flag gumbel_once = ONCE_FLAG_INIT;

static void fill_gumbel(void)
{
    for (uint32_t q = 0; q < QUANTILES; q++)
        gumbel_of_quantile[q] = (int16_t)lrint(-GATE_UNIT * log(-log((q + 0.5) / QUANTILES)));
}

static int32_t clamp(int32_t level)
{
    const int32_t low = level < 0 ? 0 : level;
    return low < SELECT_LEVELS ? low : SELECT_LEVELS - 1;
}

int32_t gate_level(double ln)
{
    return ln > -16 ? ln < 16 ? ZERO + (int32_t)lrint(GATE_UNIT * ln) : SELECT_LEVELS - 1 : 0;
}

double gate_score(uint32_t key)
{
    return ((double)select_level(key) - ZERO) / GATE_UNIT;
}

// Gamma variates over their scale are a Dirichlet's but for one common factor, which no order of
// scores depends on.
void gate_popularity(const struct gate *gate, const struct gate_request *request,
                     const double *popularity, int32_t *levels)
{
    const uint32_t experts = gate->selection.experts;
    struct draws draws;
    draws_init(&draws, draw_stream(gate->seed, DRAW_REQUEST, request->id, request->layer));
    for (uint32_t e = 0; e < experts; e++) {
        const double shape = gate->kappa / experts * popularity[e];
        levels[e] = gate_level(log(
            shape > 0 ? gsl_ran_gamma(&draws.gsl, shape, experts / gate->kappa) : popularity[e]));
    }
}

static struct rng token_stream(const struct gate *gate, const struct gate_request *request,
                               uint64_t position)
{
    return draw_stream(gate->seed, DRAW_TOKEN, rng_mix(request->id) + request->layer, position);
}

// Four draws of 16 bits from a word, for noise, and from another, for whether it is kept.
void gate_next(const struct gate *gate, const struct gate_request *request, uint64_t position,
               int32_t *noise)
{
    call_once(&gumbel_once, fill_gumbel);
    struct rng rng = token_stream(gate, request, position);
    const uint32_t experts = gate->selection.experts, keep = position ? gate->keep : 0;
    for (uint32_t first = 0; first < experts; first += 4) {
        uint64_t fresh = rng_next(&rng), kept = rng_next(&rng);
        const uint32_t end = experts - first < 4 ? experts : first + 4;
        for (uint32_t e = first; e < end; e++, fresh >>= 16, kept >>= 16)
            noise[e] =
                (kept & UINT16_MAX) < keep ? noise[e] : gumbel_of_quantile[fresh & UINT16_MAX];
    }
}

// Back from the position until every expert's noise was last drawn, each filled in once.
void gate_enter(const struct gate *gate, const struct gate_request *request, uint64_t position,
                int32_t *noise)
{
    call_once(&gumbel_once, fill_gumbel);
    const uint32_t experts = gate->selection.experts;
    bool known[MOE_MAX_EXPERTS] = {false};
    for (uint32_t open = experts; open; position--) {
        struct rng rng = token_stream(gate, request, position);
        const uint32_t keep = position ? gate->keep : 0;
        uint64_t fresh = 0, kept = 0;
        for (uint32_t e = 0; e < experts; e++, fresh >>= 16, kept >>= 16) {
            if (e % 4 == 0)
                fresh = rng_next(&rng), kept = rng_next(&rng);
            if (known[e] || (kept & UINT16_MAX) < keep)
                continue;
            noise[e] = gumbel_of_quantile[fresh & UINT16_MAX];
            known[e] = true;
            open--;
        }
    }
}

void gate_choose(const struct gate *gate, const int32_t *levels, const int32_t *noise,
                 uint32_t *best)
{
    uint32_t keys[MOE_MAX_EXPERTS];
    for (uint32_t e = 0; e < gate->selection.experts; e++)
        keys[e] = select_key((uint32_t)clamp(levels[e] + noise[e]), e);
    select_experts(&gate->selection, keys, best);
}

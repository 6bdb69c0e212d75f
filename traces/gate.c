#include "traces/gate.h"

#include "traces/draws.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <threads.h>

#define ZERO 32768 // the level of score 0, in the middle of SELECT_LEVELS
#define QUANTILES 65536

static int16_t gumbel_of_quantile[QUANTILES]; // in levels, 0 at score 0
static once_flag gumbel_once = ONCE_FLAG_INIT;

static void fill_gumbel(void)
{
    for (uint32_t q = 0; q < QUANTILES; q++)
        gumbel_of_quantile[q] = (int16_t)lrint(-GATE_UNIT * log(-log((q + 0.5) / QUANTILES)));
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

// Noise drawn afresh, four experts a word.
static void draw_noise(struct rng *rng, uint32_t experts, int32_t *noise)
{
    uint32_t e = 0;
    for (; e + 4 <= experts; e += 4) {
        const uint64_t bits = rng_next(rng);
        noise[e] = gumbel_of_quantile[bits & UINT16_MAX];
        noise[e + 1] = gumbel_of_quantile[bits >> 16 & UINT16_MAX];
        noise[e + 2] = gumbel_of_quantile[bits >> 32 & UINT16_MAX];
        noise[e + 3] = gumbel_of_quantile[bits >> 48];
    }
    for (uint64_t bits = e < experts ? rng_next(rng) : 0; e < experts; e++, bits >>= 16)
        noise[e] = gumbel_of_quantile[bits & UINT16_MAX];
}

// What an expert is kept by: a byte each, eight a word, after the position's noise.
static inline bool is_kept(struct rng *rng, uint32_t expert, uint64_t *bits, uint32_t keep)
{
    *bits = expert % 8 ? *bits >> 8 : rng_next(rng);
    return (*bits & UINT8_MAX) < keep;
}

void gate_next(const struct gate *gate, const struct gate_request *request, uint64_t position,
               int32_t *noise)
{
    call_once(&gumbel_once, fill_gumbel);
    struct rng rng = token_stream(gate, request, position);
    const uint32_t experts = gate->selection.experts;
    int32_t fresh[MOE_MAX_EXPERTS];
    if (position == 0 || gate->keep == 0) {
        draw_noise(&rng, experts, noise);
        return;
    }
    draw_noise(&rng, experts, fresh);
    for (uint32_t first = 0; first < experts; first += 8) {
        uint64_t bits = rng_next(&rng);
        const uint32_t end = experts - first < 8 ? experts : first + 8;
        // By a mask: which are kept is a toss, and a branch would be guessed wrong as often.
        for (uint32_t e = first; e < end; e++, bits >>= 8) {
            const int32_t kept = -(int32_t)((bits & UINT8_MAX) < gate->keep);
            noise[e] = (noise[e] & kept) | (fresh[e] & ~kept);
        }
    }
}

// Back from the position until every expert's noise was last drawn, each filled in once.
void gate_enter(const struct gate *gate, const struct gate_request *request, uint64_t position,
                int32_t *noise)
{
    call_once(&gumbel_once, fill_gumbel);
    const uint32_t experts = gate->selection.experts;
    int32_t fresh[MOE_MAX_EXPERTS];
    bool known[MOE_MAX_EXPERTS] = {false};
    for (uint32_t open = experts; open; position--) {
        struct rng rng = token_stream(gate, request, position);
        uint64_t bits = 0;
        draw_noise(&rng, experts, fresh);
        for (uint32_t e = 0; e < experts; e++) {
            const bool kept = position && gate->keep && is_kept(&rng, e, &bits, gate->keep);
            if (known[e] || kept)
                continue;
            noise[e] = fresh[e];
            known[e] = true;
            open--;
        }
    }
}

uint32_t gate_kind(const struct gate *gate, uint64_t request, uint64_t position)
{
    struct rng rng = draw_stream(gate->seed, DRAW_KIND, request, position);
    return rng_below(&rng, gate->kinds);
}

void gate_choose(const struct gate *gate, const int32_t *levels, const int16_t *tilt,
                 const int32_t *noise, uint32_t *best)
{
    uint32_t keys[MOE_MAX_EXPERTS];
    for (uint32_t e = 0; e < gate->selection.experts; e++) {
        const int32_t level = levels[e] + tilt[e] + noise[e], low = level < 0 ? 0 : level;
        keys[e] = select_key((uint32_t)(low < SELECT_LEVELS ? low : SELECT_LEVELS - 1), e);
    }
    select_experts(&gate->selection, keys, best);
}

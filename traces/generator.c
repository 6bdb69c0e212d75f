#include "traces/generator.h"

#include "base/mem.h"
#include "model/routing.h"
#include "traces/draws.h"
#include "traces/hot_rank.h"
#include "traces/popularity.h"
#include "traces/writer.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

#define WINDOW_BYTES (UINT64_C(128) << 20) // ids and weights in memory at a time
#define PART_TOKENS 512                    // long enough for its popularity to be worth drawing
#define LOADS_OFF 0.1                      // of a layer, where a notice is due

// --- which token belongs to which request ------------------------------------------------------

// Requests in flight take turns, each giving a chunk of tokens; when one ends, another takes its
// place. So a trace of one request in flight is request after request, chunks of 512 are chunked
// prefill, and chunks of 1 are decode.

// Tokens of one request that follow each other in it, though not always in the trace.
struct part {
    uint64_t request;
    uint64_t position;       // of its first token in the request
    uint64_t place;          // of that token in its stream: all requests of one place in flight
    uint32_t stream, tokens; // which place; how many
};

struct arrangement {
    uint64_t seed;
    const struct recipe *recipe;
    struct stream {
        uint64_t start, end; // of the request in hand, in places of the stream
        uint64_t ordinal;    // of that request in the stream
    } * streams;             // [recipe->requests]
    struct part *parts;
    size_t count, room;
};

static uint64_t request_id(uint32_t stream, uint64_t ordinal)
{
    return (uint64_t)stream << 40 | ordinal;
}

// Log-normal around the median, within the shortest and the longest.
static uint64_t request_length(const struct arrangement *arrangement, uint64_t request)
{
    const struct recipe *recipe = arrangement->recipe;
    struct draws draws;
    draws_init(&draws, draw_stream(arrangement->seed, DRAW_LENGTH, request, 0));
    const double length =
        recipe->request_tokens * exp(gsl_ran_gaussian_ziggurat(&draws.gsl, recipe->request_sigma));
    return (uint64_t)lrint(fmin(fmax(length, recipe->request_least), recipe->request_most));
}

static void begin_request(const struct arrangement *arrangement, uint32_t stream, uint64_t ordinal)
{
    struct stream *at = &arrangement->streams[stream];
    at->ordinal = ordinal;
    at->start = at->end;
    at->end += request_length(arrangement, request_id(stream, ordinal));
}

// Places of a stream that come before a token of the trace.
static uint64_t places_before(const struct recipe *recipe, uint32_t stream, uint64_t token)
{
    const uint64_t chunk = recipe->chunk_tokens, turn = chunk * recipe->requests;
    const uint64_t into = token % turn, own = stream * chunk;
    const uint64_t given = into <= own ? 0 : into - own < chunk ? into - own : chunk;
    return token / turn * chunk + given;
}

static struct part *add_request_part(struct arrangement *arrangement)
{
    if (arrangement->count == arrangement->room) {
        arrangement->room = 2 * arrangement->room + 64;
        arrangement->parts =
            mem_grow(arrangement->parts, arrangement->room, sizeof *arrangement->parts);
    }
    return &arrangement->parts[arrangement->count++];
}

static void cut_stream(struct arrangement *arrangement, uint32_t stream, uint64_t place,
                       uint64_t end, uint32_t longest)
{
    const struct stream *at = &arrangement->streams[stream];
    while (place < end) {
        if (place == at->end)
            begin_request(arrangement, stream, at->ordinal + 1);
        uint64_t tokens = at->end < end ? at->end - place : end - place;
        tokens = tokens < longest ? tokens : longest;
        *add_request_part(arrangement) = (struct part){.request = request_id(stream, at->ordinal),
                                                       .position = place - at->start,
                                                       .place = place,
                                                       .stream = stream,
                                                       .tokens = (uint32_t)tokens};
        place += tokens;
    }
}

// Fills parts[count] with those of tokens first to first + tokens - 1, none longer than `longest`.
// Calls follow each other in order of tokens.
static void arrangement_cut(struct arrangement *arrangement, uint64_t first, uint64_t tokens,
                            uint32_t longest)
{
    const struct recipe *recipe = arrangement->recipe;
    arrangement->count = 0;
    for (uint32_t s = 0; s < recipe->requests; s++)
        cut_stream(arrangement, s, places_before(recipe, s, first),
                   places_before(recipe, s, first + tokens), longest);
}

// The token of the trace that has a place in a stream.
static uint64_t arrangement_token(const struct recipe *recipe, uint32_t stream, uint64_t place)
{
    const uint64_t chunk = recipe->chunk_tokens;
    return (place / chunk * recipe->requests + stream) * chunk + place % chunk;
}

// --- the whole trace ----------------------------------------------------------------------------

struct generator {
    struct generator_def def;
    struct gate gate;
    struct popularity popularity;
    struct arrangement arrangement;
    double *drift;    // [layers][experts] ln popularity moved so far
    uint64_t drifted; // steps
    uint64_t first, window;
    uint16_t *ids, *weights;
};

static size_t row_choices(const struct generator *generator)
{
    return (size_t)generator->def.layers * generator->def.moe->topk;
}

// Binary16 of a weight: positive, below 65504, and large enough for its normal numbers, or 0.
static uint16_t half_bits(double value)
{
    int exponent;
    const double fraction = frexp(value, &exponent); // in [0.5, 1)
    if (value < 0x1p-14)
        return (uint16_t)lrint(value * 0x1p24);
    const uint32_t mantissa = (uint32_t)lrint(fraction * 0x1p11); // 1024 to 2048, carry and all
    return (uint16_t)((uint32_t)(exponent + 13) * 1024 + mantissa);
}

// Weights fall with the score as those of a trained router do: exp(0.6 score) meets the mean
// weights by rank of traces/minimoe-256e (top-8: 0.27 to 0.06) within 0.03.
#define WEIGHT_SLOPE 0.6

static void weigh_choices(const struct moe *moe, const uint32_t *best, uint16_t *weights)
{
    double value[MOE_MAX_TOPK], total = 0;
    for (uint32_t k = 0; k < moe->topk; k++) {
        value[k] = exp(WEIGHT_SLOPE * (gate_score(best[k]) - gate_score(best[0])));
        total += value[k];
    }
    for (uint32_t k = 0; k < moe->topk; k++)
        weights[k] = half_bits(value[k] / total * moe->routed_scaling);
}

// --- choices by popularity ---------------------------------------------------------------------

static void put_choices(const struct generator *generator, uint64_t token, uint32_t layer_index,
                        const uint32_t *best)
{
    const struct moe *moe = generator->def.moe;
    const size_t at =
        (token - generator->first) * row_choices(generator) + (size_t)layer_index * moe->topk;
    for (uint32_t k = 0; k < moe->topk; k++)
        generator->ids[at + k] = select_expert(best[k]);
    weigh_choices(moe, best, generator->weights + at);
}

static void make_part(const struct generator *generator, const struct part *part,
                      uint32_t layer_index)
{
    const struct gate *gate = &generator->gate;
    const struct recipe *recipe = generator->def.recipe;
    const uint32_t experts = gate->selection.experts;
    const double *drift = generator->drift + (size_t)layer_index * experts;
    const struct gate_request request = {part->request, generator->def.layer[layer_index]};
    const uint32_t domain = popularity_domain(gate->seed, part->request, recipe->domains);
    int32_t levels[MOE_MAX_EXPERTS], noise[MOE_MAX_EXPERTS];
    uint32_t best[MOE_MAX_TOPK];

    gate_popularity(gate, &request, popularity_of(&generator->popularity, layer_index, domain),
                    levels);
    for (uint32_t e = 0; e < experts; e++)
        levels[e] += (int32_t)lrint(GATE_UNIT * drift[e]);
    for (uint32_t t = 0; t < part->tokens; t++) {
        if (t == 0)
            gate_enter(gate, &request, part->position, noise);
        else
            gate_next(gate, &request, part->position + t, noise);
        const uint32_t kind = gate_kind(gate, part->request, part->position + t);
        gate_choose(gate, levels, popularity_tilt(&generator->popularity, layer_index, kind), noise,
                    best);
        put_choices(generator, arrangement_token(recipe, part->stream, part->place + t),
                    layer_index, best);
    }
}

static void make_by_popularity(struct generator *generator, uint64_t count)
{
    struct arrangement *arrangement = &generator->arrangement;
    const uint32_t layers = generator->def.layers;
    arrangement_cut(arrangement, generator->first, count, PART_TOKENS);
    const size_t pieces = arrangement->count * layers;
#pragma omp parallel for schedule(dynamic, 8)
    for (size_t i = 0; i < pieces; i++)
        make_part(generator, &arrangement->parts[i / layers], (uint32_t)(i % layers));
}

// Popularity stands still within a window: each begins where a step of the drift may be due.
static void drift_on(struct generator *generator)
{
    const struct generator_def *def = &generator->def;
    const uint32_t experts = def->moe->experts;
    struct draws draws;
    for (; generator->drifted < generator->first / def->recipe->drift_tokens;) {
        generator->drifted++;
        for (uint32_t l = 0; def->recipe->drift > 0 && l < def->layers; l++) {
            draws_init(&draws,
                       draw_stream(def->seed, DRAW_DRIFT, def->layer[l], generator->drifted));
            for (uint32_t e = 0; e < experts; e++)
                generator->drift[(size_t)l * experts + e] +=
                    gsl_ran_gaussian_ziggurat(&draws.gsl, def->recipe->drift);
        }
    }
}

// --- choices by ranks --------------------------------------------------------------------------

static bool chooses_by_ranks(const struct recipe *recipe)
{
    return recipe->loads == LOADS_RANKS || recipe->loads == LOADS_HOT_RANK;
}

static void choose_by_ranks(const struct generator_def *def, uint32_t layer, uint64_t token,
                            uint16_t *ids)
{
    const struct routing routing = {.rule = ROUTING_BALANCED,
                                    .experts = def->moe->experts,
                                    .topk = def->moe->topk,
                                    .ranks = def->recipe->ranks};
    if (def->recipe->loads == LOADS_HOT_RANK)
        hot_rank_choose(def->recipe, def->moe, draw_stream(def->seed, DRAW_HOT_RANK, layer, token),
                        ids);
    else
        routing_row(&routing, 0, (uint32_t)token, ids);
}

static void make_by_ranks(struct generator *generator, uint64_t count)
{
    const struct generator_def *def = &generator->def;
    const struct moe *moe = def->moe;
    const uint16_t weight = half_bits(moe->routed_scaling / moe->topk);
#pragma omp parallel for schedule(static)
    for (uint64_t t = 0; t < count; t++) {
        const uint64_t token = generator->first + t;
        for (uint32_t l = 0; l < def->layers; l++) {
            const size_t at = t * row_choices(generator) + (size_t)l * moe->topk;
            choose_by_ranks(def, def->layer[l], token, generator->ids + at);
            for (uint32_t k = 0; k < moe->topk; k++)
                generator->weights[at + k] = weight;
        }
    }
}

// --- the whole ---------------------------------------------------------------------------------

struct generator *generator_new(const struct generator_def *def, struct error *err)
{
    if (!recipe_check(def->recipe, def->moe, err))
        return NULL;
    struct generator *generator = mem_alloc(1, sizeof *generator);
    generator->def = *def;
    const size_t row = row_choices(generator);
    generator->window = WINDOW_BYTES / (row * 2 * sizeof(uint16_t)) + 1;
    if (generator->window > def->tokens)
        generator->window = def->tokens;
    generator->ids = mem_alloc(generator->window * row, sizeof(uint16_t));
    generator->weights = mem_alloc(generator->window * row, sizeof(uint16_t));
    if (chooses_by_ranks(def->recipe))
        return generator;
    generator->gate = recipe_gate(def->recipe, def->moe, def->seed);
    popularity_fit(&generator->popularity, def->recipe, def->moe, &generator->gate, def->layer,
                   def->layers);
    if (generator->popularity.worst_off > LOADS_OFF)
        notice("recipe %s: a layer's loads stay %.0f %% off what is asked: more than top-%u of %u "
               "experts in %u of %u groups can give",
               def->recipe->name, 100 * generator->popularity.worst_off, def->moe->topk,
               def->moe->experts, generator->gate.selection.topk_groups, def->moe->groups);
    struct arrangement *arrangement = &generator->arrangement;
    *arrangement = (struct arrangement){.seed = def->seed, .recipe = def->recipe};
    arrangement->streams = mem_alloc(def->recipe->requests, sizeof *arrangement->streams);
    for (uint32_t s = 0; s < def->recipe->requests; s++)
        begin_request(arrangement, s, 0);
    generator->drift = mem_alloc((size_t)def->layers * def->moe->experts, sizeof(double));
    return generator;
}

void generator_free(struct generator *generator)
{
    if (!generator)
        return;
    popularity_release(&generator->popularity);
    free(generator->arrangement.streams);
    free(generator->arrangement.parts);
    free(generator->drift);
    free(generator->ids);
    free(generator->weights);
    free(generator);
}

// Up to the end of the trace, of the memory, or of the time that popularity stands still.
static uint64_t window_tokens(const struct generator *generator)
{
    const struct recipe *recipe = generator->def.recipe;
    uint64_t count = generator->def.tokens - generator->first;
    count = count < generator->window ? count : generator->window;
    const uint64_t still = recipe->drift_tokens - generator->first % recipe->drift_tokens;
    return recipe->drift > 0 && still < count ? still : count;
}

bool generator_next(struct generator *generator, struct generated *window)
{
    const uint64_t count = window_tokens(generator);
    if (count == 0)
        return false;
    if (chooses_by_ranks(generator->def.recipe)) {
        make_by_ranks(generator, count);
    } else {
        drift_on(generator);
        make_by_popularity(generator, count);
    }
    *window = (struct generated){generator->first, count, generator->ids, generator->weights};
    generator->first += count;
    return true;
}

// --- written as a native trace ------------------------------------------------------------------

static void write_window(const struct make_def *def, const struct generated *window,
                         struct trace_writer *writer)
{
    const struct generator_def *asked = &def->generator;
    const size_t row = (size_t)asked->layers * asked->moe->topk;
    const uint64_t per_step = (uint64_t)def->ranks * def->tokens_per_rank;
    for (uint64_t t = 0; t < window->count; t++) {
        const uint64_t token = window->first + t;
        uint32_t step[2] = {0, 0};
        if (per_step) {
            step[0] = (uint32_t)(token / per_step);
            step[1] = (uint32_t)(token / def->tokens_per_rank % def->ranks);
        }
        const struct trace_token written = {.ids = window->ids + t * row,
                                            .weights = window->weights + t * row,
                                            .step = per_step ? step : NULL};
        trace_writer_add(writer, &written);
    }
}

static bool write_generated(const struct make_def *def, const uint32_t *layer_ids,
                            const char *folder, struct error *err)
{
    const struct trace_plan plan = {.moe = def->generator.moe,
                                    .layers = def->generator.layers,
                                    .layer_ids = layer_ids,
                                    .source = def->source,
                                    .licence = "",
                                    .steps = def->ranks > 0,
                                    .weights = true,
                                    .weight_type = NPY_F16};
    struct trace_writer writer;
    struct generated window;
    // Opened first: a folder that cannot be written costs no waiting.
    if (!trace_writer_open(&writer, &plan, folder, err))
        return false;
    struct generator *generator = generator_new(&def->generator, err);
    if (!generator) {
        trace_writer_abort(&writer);
        return false;
    }
    while (!ferror(writer.ids.file.stream) && !ferror(writer.weights.file.stream) &&
           generator_next(generator, &window))
        write_window(def, &window, &writer);
    generator_free(generator);
    return trace_writer_commit(&writer, err);
}

bool trace_make(const struct make_def *def, const char *folder, struct error *err)
{
    const struct generator_def *asked = &def->generator;
    uint32_t *layer_ids = mem_alloc(asked->layers, sizeof *layer_ids);
    for (uint32_t l = 0; l < asked->layers; l++)
        layer_ids[l] = moe_layer_id(asked->moe, asked->layer[l]);
    const bool ok = write_generated(def, layer_ids, folder, err);
    free(layer_ids);
    return ok;
}

#include "traces/arrange.h"

#include "base/mem.h"
#include "traces/draws.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

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

void arrangement_init(struct arrangement *arrangement, const struct recipe *recipe, uint64_t seed)
{
    *arrangement = (struct arrangement){.seed = seed, .recipe = recipe};
    arrangement->streams = mem_alloc(recipe->requests, sizeof *arrangement->streams);
    for (uint32_t s = 0; s < recipe->requests; s++)
        begin_request(arrangement, s, 0);
}

void arrangement_release(struct arrangement *arrangement)
{
    free(arrangement->streams);
    free(arrangement->parts);
    *arrangement = (struct arrangement){0};
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

void arrangement_cut(struct arrangement *arrangement, uint64_t first, uint64_t tokens,
                     uint32_t longest)
{
    const struct recipe *recipe = arrangement->recipe;
    arrangement->count = 0;
    for (uint32_t s = 0; s < recipe->requests; s++)
        cut_stream(arrangement, s, places_before(recipe, s, first),
                   places_before(recipe, s, first + tokens), longest);
}

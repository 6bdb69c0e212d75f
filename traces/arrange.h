// Which token of a trace belongs to which request. Requests in flight take turns, each giving a
// chunk of tokens; when one ends, another takes its place. So a trace of one request in flight is
// request after request, chunks of 512 are chunked prefill, and chunks of 1 are decode.
// Private to the generator.
#ifndef TRACES_ARRANGE_H
#define TRACES_ARRANGE_H

#include "traces/recipe.h"

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

void arrangement_init(struct arrangement *arrangement, const struct recipe *recipe, uint64_t seed);
void arrangement_release(struct arrangement *arrangement);

// Fills parts[count] with those of tokens first to first + tokens - 1, none longer than `longest`.
// Calls follow each other in order of tokens.
void arrangement_cut(struct arrangement *arrangement, uint64_t first, uint64_t tokens,
                     uint32_t longest);

// The token of the trace that has a place in a stream.
static inline uint64_t arrangement_token(const struct recipe *recipe, uint32_t stream,
                                         uint64_t place)
{
    const uint64_t chunk = recipe->chunk_tokens;
    return (place / chunk * recipe->requests + stream) * chunk + place % chunk;
}

#endif

// GSL's distributions over base/rng.h's streams: one seed for all that is drawn.
#ifndef TRACES_DRAWS_H
#define TRACES_DRAWS_H

#include "base/rng.h"

#include <gsl/gsl_rng.h>

// What a stream is for: its first word, so that no two uses share draws.
enum draw {
    DRAW_TOKEN,   // scores of a position of a request, in a layer
    DRAW_REQUEST, // what a request prefers, in a layer
    DRAW_LENGTH,  // its tokens
    DRAW_DOMAIN,  // which domain it is of
    DRAW_KIND,    // of a token, and how a kind differs from the others, in a layer
    DRAW_KIND_TILT,
    DRAW_PLACE,     // which expert has which load, in a layer
    DRAW_LOAD,      // the loads themselves, where a recipe draws them
    DRAW_TILT,      // how a domain's popularity differs from the others', in a layer
    DRAW_DRIFT,     // how popularity moves, in a layer
    DRAW_CALIBRATE, // requests of a calibration; their tokens have streams of their own
    DRAW_HOT_RANK,  // choices of a token of a hot rank's recipe, in a layer
};

struct rng draw_stream(uint64_t seed, enum draw draw, uint64_t a, uint64_t b);

// A generator that GSL's functions draw from: `gsl` reads `rng`, which must outlive it in place.
// Nothing to release.
struct draws {
    gsl_rng gsl;
    struct rng rng;
};
void draws_init(struct draws *draws, struct rng rng);

#endif

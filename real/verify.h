// Whether a layer's output is right: a sample of tokens against the float64 reference, all ranks
// together. Private to real/.
#ifndef REAL_VERIFY_H
#define REAL_VERIFY_H

#include "real/cli.h"
#include "real/layer.h"
#include "real/world.h"

struct verified {
    uint64_t rows; // of all ranks, an iteration: compared with what was sent; 0: not packed here
    uint32_t tokens;
    double relative_error; // RMS error / RMS reference, wire-rounded A
    double full_error;     // the same against A as it was before the wire
    double tolerance;      // as asked, or that of the formats in force
    // Of all tokens checked the one that is furthest off, by itself, wire-rounded A.
    uint32_t worst_rank, worst_token;
    double worst_error, worst_tolerance; // RMS error / RMS reference of its row
};

// After layer_run. EXIT_TOLERANCE when the output or its worst token is further off than the
// tolerance, which rank 0 tells. Collective.
bool verify_output(const struct world *world, const struct real_options *options,
                   struct layer *layer, struct verified *verified, struct error *err);

#endif

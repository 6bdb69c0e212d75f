// Whether a layer's output is right: a sample of tokens against the float64 reference, all ranks
// together. Private to real/.
#ifndef REAL_VERIFY_H
#define REAL_VERIFY_H

#include "real/layer.h"
#include "real/world.h"

// What is asked of the check.
struct verify_setup {
    uint32_t tokens;  // of the whole job
    double tolerance; // 0: that of the formats in force
};

struct verified {
    uint32_t tokens;
    double relative_error; // RMS error / RMS reference, wire-rounded A
    double full_error;     // the same against A as it was before the wire
    double tolerance;
};

// After layer_run. EXIT_TOLERANCE when the output is further off than the tolerance, which rank 0
// tells. Collective.
bool verify_output(const struct world *world, const struct verify_setup *setup, struct layer *layer,
                   struct verified *verified, struct error *err);

#endif

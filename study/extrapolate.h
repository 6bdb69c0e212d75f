// Whether a scenario leaves what its constants were fitted to.
#ifndef STUDY_EXTRAPOLATE_H
#define STUDY_EXTRAPOLATE_H

#include "study/fitted.h"

// A reason of sizes: "4096 to 8192 tokens a GPU, fitted on 1 to 1024".
struct size_reason {
    char *rest; // after the sizes
    struct span sizes;
};

// All zero: nothing has been looked at.
struct extrapolation {
    struct names reasons; // "8 nodes, fitted on 1 to 4"; none: within what was measured
    struct size_reason *sizes;
    size_t size_count;
    uint64_t predictions, outside; // looked at; of which for some reason outside
};

// Looks at each phase that moves data: its dispatcher, cluster, keys of either that are not those
// that were found, nodes, GPUs of a node, tokens (or bytes) a rank on as many nodes, SMs, the moe's
// hidden, top-k and experts, and the payload's type. Adds what is not told yet, so that several
// scenarios may be looked at one after another; begins with a zeroed struct. The scenario stands
// for so many predictions alike.
void extrapolation_find(struct extrapolation *extrapolation, const struct fits *fits,
                        const struct scenario *scenario, uint64_t predictions);
void extrapolation_release(struct extrapolation *extrapolation);

// The same for steps of the scenario's trace, `layers` predictions each; steps NULL: the first
// `count`. Nothing is run. The scenario stays, and may have no layout. False: a step cannot be
// read. Where a contiguous layout is not feasible nothing is looked at, which a notice says.
struct extrapolation_steps {
    const uint32_t *steps;
    uint64_t count, layers;
};
bool extrapolation_over_steps(struct extrapolation *extrapolation, const struct fits *fits,
                              const struct scenario *scenario,
                              const struct extrapolation_steps *steps, struct error *err);

// Every reason, those of sizes last. Released by the caller.
void extrapolation_reasons(const struct extrapolation *extrapolation, struct names *reasons);

// "8 nodes, fitted on 1 to 4; cluster x, fitted on y", of several predictions after how many they
// are: "3 of 8 predictions: ...". Freed by the caller; NULL for none.
char *extrapolation_text(const struct extrapolation *extrapolation);

#endif

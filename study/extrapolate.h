// Whether a scenario leaves what its constants were fitted to.
#ifndef STUDY_EXTRAPOLATE_H
#define STUDY_EXTRAPOLATE_H

#include "study/fitted.h"

struct extrapolation {
    struct names reasons; // "8 nodes, fitted on 1 to 4"; none: within what was measured
};

// Looks at each phase that moves data: its dispatcher, cluster, keys of either that are not those
// that were found, nodes, GPUs of a node, tokens (or bytes) a rank on as many nodes, SMs, the moe's
// hidden, top-k and experts, and the payload's type. Adds what is not told yet, so that several
// scenarios may be looked at one after another; begins with a zeroed struct.
void extrapolation_find(struct extrapolation *extrapolation, const struct fits *fits,
                        const struct scenario *scenario);
void extrapolation_release(struct extrapolation *extrapolation);

// "8 nodes, fitted on 1 to 4; cluster x, fitted on y". Freed by the caller; NULL for none.
char *extrapolation_text(const struct extrapolation *extrapolation);

#endif

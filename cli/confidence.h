// How far to believe an output: intervals, when asked, and always what it extrapolates. Private to
// cli/.
#ifndef CLI_CONFIDENCE_H
#define CLI_CONFIDENCE_H

#include "base/table.h"
#include "cli/common.h"
#include "study/extrapolate.h"
#include "study/interval.h"

#include <jansson.h>

// --interval. The offset counts from the double, 0 where it is not asked.
extern const struct option_group interval_options;

struct confidence {
    double pct; // of --interval; 0: not asked, and uncertainties are empty
    struct uncertainties uncertainties;
    struct extrapolation extrapolation;
};

// Looks at a loaded scenario. Released by confidence_release.
bool confidence_find(struct confidence *confidence, double interval_pct,
                     const struct scenario *scenario, const struct engine *engine,
                     struct error *err);
void confidence_release(struct confidence *confidence);

// "# extrapolates: ..." where it does, and what each interval is made of.
void confidence_comment(const struct confidence *confidence, const struct schedule *schedule,
                        struct table *table);
// "extrapolates" and, when asked, "interval" put into `document`.
void confidence_json(const struct confidence *confidence, const struct timing *timing,
                     json_t *document);

// The interval around the slowest rank's time of a phase, or around the layer's (PHASE_COUNT),
// microseconds.
struct interval confidence_interval(const struct confidence *confidence,
                                    const struct timing *timing, enum phase phase);

// Comment lines and JSON of extrapolations alone: "extrapolates", and of several "predictions" and
// how many are "extrapolated".
void extrapolation_comment(const struct extrapolation *extrapolation, struct table *table);
void extrapolation_json(const struct extrapolation *extrapolation, json_t *document);

#endif

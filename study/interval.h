// How far a prediction is to be believed, from what its constants were fitted to (study/fitted.h).
//
// The logarithm of a time T has the variance
//
//     j' C j  +  spread^2  +  routing^2
//
// j: how ln T moves with the logarithm of each fitted constant in force, by the closed form,
// whichever engine predicts (finite differences); C: their covariance, fit by fit;
// spread: how far off the calibration left the rows of that dispatcher and phase, by engine, inside
// a node and between nodes apart where there are rows enough of both;
// routing: what another draw of the routing would change, from the closed form's expected loads:
// nothing for a trace or a byte matrix. The interval is T exp(-+ q sd), q Student's quantile for
// the rows that the fit had to spare. A layer adds its phases' spreads and routing in quadrature,
// each by its share of the layer; phases that no row was measured of are taken as exact in it. No
// interval goes below the busiest port's bytes over its nominal rate.
#ifndef STUDY_INTERVAL_H
#define STUDY_INTERVAL_H

#include "model/timing.h"
#include "scenario/scenario.h"
#include "study/engines.h"
#include "study/fitted.h"

// Parts of a standard deviation of ln T.
struct uncertainty {
    bool known; // rows stand behind it; if not, the rest is meaningless
    double constants, spread, routing;
    double freedom; // of the spread
    double floor_us;
    size_t rows;
};

struct uncertainties {
    struct uncertainty slowest[PHASE_COUNT]; // of latency, the slowest rank's
    struct uncertainty mean[PHASE_COUNT];    // of the mean over ranks
    struct uncertainty layer; // known where dispatch and combine, or the exchange, are
};

// The scenario is prepared; what it predicts does not change.
void uncertainties_find(struct uncertainties *uncertainties, const struct fits *fits,
                        const struct scenario *scenario, const struct engine *engine);

// Low and high of `value` where pct of 100 should lie; NaN where nothing is known.
struct interval {
    double low, high;
};
struct interval interval_of(const struct uncertainty *uncertainty, double value, double pct);

#endif

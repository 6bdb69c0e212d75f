// Exchanges between nodes that contradict what a link of one rate could do, or each other. A fit
// would put a mean of them into a preset; they are left out of it and named instead.
#ifndef STUDY_CONTRADICTION_H
#define STUDY_CONTRADICTION_H

#include "study/calibrate_row.h"
#include "study/names.h"

#include <stdbool.h>
#include <stddef.h>

// A calibration's rows; what is found of them is added to `found`, a sentence each.
struct contradicting {
    struct calibrate_row *rows;
    size_t count;
    struct names *found;
};

// Leaves out runs whose rate falls as messages grow, with what else ran between the same nodes in
// the same file: a link keeps its rate, a congested network does not.
void contradiction_leave_congested(const struct contradicting *of);

// After a fit: leaves out runs between nodes of one cluster of which the fit predicts some too fast
// and others too slow, for they ask for two rates. Whether there were any.
bool contradiction_leave_disagreeing(const struct contradicting *of);

#endif

// What would tell a parameter that the rows at hand do not.
#ifndef STUDY_MEASURE_HINT_H
#define STUDY_MEASURE_HINT_H

#include "study/parameter.h"

// Sizes, tests and nodes to measure, by the kind of parameter: "large messages on one node: ...".
const char *measure_hint(const struct parameter *parameter);

#endif

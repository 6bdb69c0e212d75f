// Layouts made from one part of a trace, to be judged on another.
#ifndef STUDY_LAYOUT_PLAN_H
#define STUDY_LAYOUT_PLAN_H

#include "model/layout_file.h"
#include "study/layout_task.h"

// A layout of every layer asked, by a rule, from the part planned on; search begins with eplb's.
// A cluster's slow parts move no expert: search goes by the healthy cluster; layout_judge has them.
// Layers are made side by side.
bool layout_plan(const struct layout_task *task, enum placement_rule rule, struct layouts *layouts,
                 struct error *err);

#endif

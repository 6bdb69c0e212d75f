// Balanced loads: the same traffic with nothing left to luck or skew, what balanced routing would
// ask.
#ifndef MODEL_BALANCED_H
#define MODEL_BALANCED_H

#include "model/loads.h"

// Spreads what `loads` asks evenly: tokens over ranks; copies over all pairs of one kind (a rank
// and itself, two of a node, a rank and its rail peer elsewhere, two others of different nodes), so
// that what NICs and NVLink carry in all, and the copies a token, stay what they were; choices
// served, and experts that have any, over ranks. Counted loads stay whole, one more at some of a
// kind where they do not divide. layout may be NULL (a byte matrix). Released by loads_release.
void loads_balanced(struct loads *balanced, const struct loads *loads, const struct layout *layout);

#endif

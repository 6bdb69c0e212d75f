// What loads would be if every rank had the same to serve: what imbalance is measured against.
#ifndef MODEL_BALANCE_H
#define MODEL_BALANCE_H

#include "model/loads.h"

// Makes balanced loads of counted ones. Every source keeps its tokens, its choices and its fan-out
// (the copies that it sends to ranks and to nodes); where they go is spread evenly, over nodes,
// over the ranks of a node, and over a rank's slots. Counts stay whole, and such as tokens can have
// made: no rank has more copies than its node, and none fewer choices than copies. What is left
// over after even shares is dealt out in turn, from source to source, so that what two ranks
// receive in all differs by a few copies, and by top-k choices more at most. Balanced loads are
// their own balance. To be released with loads_release.
void loads_balance(struct loads *balanced, const struct loads *loads, const struct layout *layout);

#endif

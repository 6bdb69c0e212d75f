// Whether all ranks were asked the same. Ranks whose arguments or files differ would disagree on
// rows, sizes of messages and who takes part in what: each difference is told by its name before
// anything is exchanged by it. Collective; EXIT_INPUT on all ranks, in one line. Private to real/.
#ifndef REAL_AGREE_H
#define REAL_AGREE_H

#include "real/cli.h"
#include "real/layer_state.h"
#include "real/world.h"

// The command and its flags. Not those that rank 0 alone acts on; nor those that name a preset or a
// file, which may stand elsewhere on another host: the two below compare what they say.
bool agree_options(const struct world *world, const struct real_options *options,
                   struct error *err);

// What a case's flags were resolved to: model, cluster, dispatcher, layout, routing, the tokens of
// all ranks, and of a trace the first token's choices on each.
bool agree_setup(const struct world *world, const struct layer_setup *setup, struct error *err);

// The probe's cluster.
bool agree_cluster(const struct world *world, const struct cluster *cluster, struct error *err);

#endif

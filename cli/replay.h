// The tables and sentences of a replay. Private to cli/.
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include "base/table.h"
#include "study/replay.h"

#include <stdbool.h>

// A layer and phase a row, the model's sums last (kind replay); those sums alone; a layer a row,
// its medians and percentiles.
struct table *replay_figures(const struct replay *replay);
struct table *replay_all(const struct replay *replay);
struct table *replay_latency(const struct replay *replay);

// What each layer pays for imbalance, and by which ranks (kind replay-layers); `ids`: with the
// model's own numbers of its layers.
struct table *replay_hurt(const struct replay *replay, bool ids);

// A layer and rank a row (kind replay-ranks).
struct table *replay_ranks(const struct replay *replay);

// An empty table of places (kind replay-steps), and a row of it.
struct table *replay_steps(void);
void replay_add_step(struct table *table, const struct replay_place *place);

// The same in sentences: how much, which layers, which rank.
void replay_say_what_hurts(FILE *out, const struct replay *replay);

#endif

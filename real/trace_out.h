// The choices of a run as a native trace. Private to real/.
#ifndef REAL_TRACE_OUT_H
#define REAL_TRACE_OUT_H

#include "real/layer_state.h"
#include "real/world.h"

// Writes a folder (made when absent; files of an older trace in it are replaced) with the last
// iteration's choices of all ranks as one step of one layer. Collective.
bool trace_out(const struct world *world, struct layer *layer, const char *folder,
               struct error *err);

#endif

// The cases of a job, every layer and step at every count of tokens, and where their rows go.
// Private to real/.
#ifndef REAL_CASES_H
#define REAL_CASES_H

#include "real/cli.h"
#include "real/world.h"

// Measures every case that the invocation lists and writes the results on rank 0: measured CSV, or
// one JSON document. Nothing is written unless all went well. Collective.
bool cases_run(const struct world *world, const struct real_options *options, struct error *err);

#endif

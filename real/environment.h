// Where a measurement was taken: host, GPU, driver, libraries. Private to real/.
#ifndef REAL_ENVIRONMENT_H
#define REAL_ENVIRONMENT_H

#include "real/world.h"

#include <jansson.h>

// {"host", "cpus", "mpi", "transport", "gpu", "driver", "cuda", "nccl", ...} of this rank; keys of
// what is not in use are absent.
json_t *environment_json(const struct world *world);

#endif

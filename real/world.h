// The job that a rank is part of: its place, its device and the transport to the others. Private to
// real/.
#ifndef REAL_WORLD_H
#define REAL_WORLD_H

#include "real/transport.h"

#include <jansson.h>

enum transport_choice { TRANSPORT_AUTO, TRANSPORT_MPI, TRANSPORT_NCCL };

// What stands on every rank once the world is joined. Device and transport stand from world_open
// on.
struct world {
    uint32_t rank, ranks;
    struct device *device;
    struct transport *transport;
};

// Takes the rank's place in the MPI world, and its share of the host's cores for OpenMP. After
// MPI_Init; collective.
void world_join(struct world *world);

// Refuses a job of ranks built from different sources: they would not agree on rows and bytes.
// Collective.
bool world_same_version(const struct world *world, struct error *err);

// Opens the device and the transport of the choice; auto: nccl where that was built. Collective:
// all ranks' choices are the same.
bool world_open(struct world *world, enum transport_choice choice, const struct transport_use *use,
                struct error *err);
void world_close(struct world *world);

// Errors are collective: every rank calls it with its own outcome; false on all when any failed,
// and then only the lowest failed rank keeps a message in err (the others' are emptied), so that
// the job says one line.
bool world_agrees(const struct world *world, bool ok, struct error *err);

// Writes a JSON document: schema, version, where the job runs ("environment": {"kernel", "machine",
// "ranks", "cpus", "mpi", "transport", "device", "gpu", "nccl", ...} of this rank; keys of what is
// not in use are absent), then the members of `rest`, which it takes.
void world_write_json(const struct world *world, const char *schema, json_t *rest, FILE *out);

#endif

#include "real/disturb.h"

#include "base/mem.h"
#include "base/range.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((size_t)256 << 20) // more than caches hold

struct disturbance {
    struct device *device;
    void *to, *from;
    pthread_t thread;
    atomic_bool stop;
    bool started, failed; // failed: read after the thread has ended
};

static bool lists_rank(const uint32_t *ranks, size_t count, uint32_t rank)
{
    for (size_t i = 0; i < count; i++)
        if (ranks[i] == rank)
            return true;
    return false;
}

static bool read_disturbed(const char *text, uint32_t **ranks, size_t *count, struct error *err)
{
    *ranks = NULL;
    *count = 0;
    return !text[0] || range_parse_indices(text, ranks, count, err) ||
           error_prefix(err, "--disturb");
}

bool disturb_check(const struct world *world, const struct real_options *options, struct error *err)
{
    uint32_t *ranks;
    size_t count;
    bool ok = read_disturbed(options->disturb, &ranks, &count, err);
    if (ok && count && ranks[count - 1] >= world->ranks)
        ok = error_set(err, EXIT_INPUT, "--disturb: rank %u: expected 0 to %u", ranks[count - 1],
                       world->ranks - 1);
    if (ok && count && options->graph)
        ok = error_set(err, EXIT_INPUT, "--disturb: has no meaning with --graph");
    free(ranks);
    return world_agrees(world, ok, err);
}

static void *copy_on(void *context)
{
    struct disturbance *own = context;
    while (!own->failed && !atomic_load(&own->stop))
        own->failed = !own->device->ops->copy_beside(own->device, own->to, own->from, COPY_BYTES);
    return NULL;
}

static bool start_copies(struct disturbance *own, struct error *err)
{
    own->to = device_alloc(own->device, COPY_BYTES);
    own->from = device_alloc(own->device, COPY_BYTES);
    if (!device_sync(own->device, err))
        return false;
    const int status = pthread_create(&own->thread, NULL, copy_on, own);
    own->started = status == 0;
    return own->started || error_set(err, EXIT_RUNTIME, "--disturb: %s", strerror(status));
}

bool disturb_start(struct disturbance **disturbance, const struct world *world,
                   const struct real_options *options, struct error *err)
{
    uint32_t *ranks;
    size_t count;
    *disturbance = NULL;
    if (!read_disturbed(options->disturb, &ranks, &count, err))
        return false;
    const bool own = lists_rank(ranks, count, world->rank);
    free(ranks);
    if (!own)
        return true;
    *disturbance = mem_alloc(1, sizeof **disturbance);
    (*disturbance)->device = world->device;
    return start_copies(*disturbance, err);
}

bool disturb_stop(struct disturbance *disturbance, struct error *err)
{
    if (!disturbance)
        return true;
    atomic_store(&disturbance->stop, true);
    if (disturbance->started)
        pthread_join(disturbance->thread, NULL);
    const bool failed = disturbance->failed;
    device_release(disturbance->device, disturbance->to);
    device_release(disturbance->device, disturbance->from);
    free(disturbance);
    return !failed || error_set(err, EXIT_RUNTIME, "--disturb: a copy failed");
}

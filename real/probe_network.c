#include "real/probe.h"

#define MIN_BYTES ((uint64_t)1 << 10) // of exchanges: 1 KiB, 4 KiB .. --most

// Sizes of exchanges: each the one before times PROBE_STEP, and the largest asked last; 0: no more.
static uint64_t next_bytes(const struct probe *probe, uint64_t bytes)
{
    const uint64_t max = probe->options->max;
    if (bytes >= max)
        return 0;
    return bytes * PROBE_STEP < max ? bytes * PROBE_STEP : max;
}

// --- between two ranks ----------------------------------------------------------------------

static bool exchange_once(struct probe *probe, enum stream stream, uint32_t sends,
                          uint32_t receives, struct error *err)
{
    struct transport *transport = probe->world->transport;
    const struct exchange exchange = {.sends = probe->sends,
                                      .receives = probe->receives,
                                      .send_count = sends,
                                      .receive_count = receives};
    return transport_post(transport, stream, &exchange, err) &&
           transport_wait(transport, stream, err);
}

// There and back; the other ranks call it with nothing to do.
static bool ping_pong(struct probe *probe, const struct trial *trial, struct error *err)
{
    const uint32_t rank = probe->world->rank;
    const bool first = rank == 0, second = rank == trial->peer;
    const uint32_t other = first ? trial->peer : 0;
    probe->sends[0] = (struct message){other, probe->memory.send, trial->bytes};
    probe->receives[0] = (struct message){other, probe->memory.receive, trial->bytes};
    return exchange_once(probe, trial->stream, first, second, err) &&
           exchange_once(probe, trial->stream, second, first, err);
}

static bool probe_pair(struct probe *probe, enum probe_place place, struct error *err)
{
    struct trial trial = {.name = "point-to-point",
                          .place = place,
                          .repeats = 2,
                          .stream = place == INSIDE ? STREAM_INTRA : STREAM_INTER,
                          .once = ping_pong,
                          .alone = true,
                          .peer = place == INSIDE ? 1 : probe->cluster->gpus_per_node};
    for (uint64_t bytes = MIN_BYTES; bytes; bytes = next_bytes(probe, bytes)) {
        trial.bytes = bytes;
        trial.moved = (double)bytes;
        if (!probe_trial(probe, &trial, err))
            return false;
    }
    return true;
}

// --- all-to-all -----------------------------------------------------------------------------

static bool all_to_all(struct probe *probe, const struct trial *trial, struct error *err)
{
    return exchange_once(probe, trial->stream, trial->messages, trial->messages, err);
}

static bool takes_part(const struct probe *probe, enum probe_place place, uint32_t peer)
{
    const uint32_t gpus = probe->cluster->gpus_per_node;
    const bool inside = peer / gpus == probe->world->rank / gpus;
    return place == EVERYWHERE || inside == (place == INSIDE);
}

// Messages of `bytes` to and from every rank of the place, each rank beginning with the one after.
static void list_messages(struct probe *probe, enum probe_place place, uint64_t bytes)
{
    const struct world *world = probe->world;
    const uint64_t stride = (bytes + PROBE_ALIGN - 1) / PROBE_ALIGN * PROBE_ALIGN;
    uint32_t sends = 0, receives = 0;
    for (uint32_t k = 1; k <= world->ranks; k++) {
        const uint32_t to = (world->rank + k) % world->ranks;
        const uint32_t from = (world->rank + world->ranks - k) % world->ranks;
        if (takes_part(probe, place, to)) {
            probe->sends[sends] = (struct message){to, probe->memory.send + sends * stride, bytes};
            sends++;
        }
        if (takes_part(probe, place, from)) {
            probe->receives[receives] =
                (struct message){from, probe->memory.receive + receives * stride, bytes};
            receives++;
        }
    }
}

static bool probe_all(struct probe *probe, enum probe_place place, struct error *err)
{
    const uint32_t ranks = probe->world->ranks, gpus = probe->cluster->gpus_per_node;
    const uint32_t messages = place == EVERYWHERE ? ranks : place == INSIDE ? gpus : ranks - gpus;
    const bool crosses = place != INSIDE && gpus < ranks;
    struct trial trial = {.name = "all-to-all",
                          .place = place,
                          .repeats = 1,
                          .stream = crosses ? STREAM_INTER : STREAM_INTRA,
                          .once = all_to_all,
                          .messages = messages};
    for (uint64_t bytes = MIN_BYTES; bytes; bytes = next_bytes(probe, bytes)) {
        const uint64_t share = (bytes + messages - 1) / messages;
        trial.bytes = share * messages;
        trial.moved = (double)share * (messages - (place != BETWEEN)); // what leaves the rank
        list_messages(probe, place, share);
        if (!probe_trial(probe, &trial, err))
            return false;
    }
    return true;
}

bool probe_network(struct probe *probe, struct error *err)
{
    const uint32_t ranks = probe->world->ranks, gpus = probe->cluster->gpus_per_node;
    const bool pairs = gpus > 1, nodes = gpus < ranks;
    return (!pairs || probe_pair(probe, INSIDE, err)) &&
           (!nodes || probe_pair(probe, BETWEEN, err)) &&
           (ranks == 1 || probe_all(probe, EVERYWHERE, err)) &&
           (!nodes || !pairs || probe_all(probe, INSIDE, err)) &&
           (!nodes || probe_all(probe, BETWEEN, err));
}

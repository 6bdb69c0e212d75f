// sim/senders: the lane that a sender serves next, against a look at all of its lanes.
#include "sim/senders.h"
#include "tests/scene.h"
#include "tests/suite.h"

#include <stdlib.h>

#define SCENES SCENE_CASES(120)

// The place among its flow's share where the lane's next chunk stands; UINT64_MAX: it may not send.
static uint64_t next_place(const struct flows *flows, const struct lane *lane)
{
    const uint32_t done = flows->flows[lane->flow].done;
    if (lane->sent == lane->chunks ||
        (flows->window_chunks && lane->sent - done >= flows->window_chunks))
        return UINT64_MAX;
    return ((2 * (uint64_t)lane->sent + 1) << 31) / lane->chunks;
}

static const struct lane *least_advanced(const struct senders *senders, const struct sender *sender)
{
    const struct lane *least = NULL;
    uint64_t place = UINT64_MAX;
    for (uint32_t i = sender->first; i < sender->first + sender->count; i++) {
        const struct lane *lane = &senders->lanes[i];
        if (next_place(senders->flows, lane) < place) {
            place = next_place(senders->flows, lane);
            least = lane;
        }
    }
    return least;
}

static bool may_send(const struct senders *senders, uint32_t index)
{
    return least_advanced(senders, &senders->of[index]) != NULL;
}

// Chunks of a flow that every one of its senders has sent.
static uint32_t *sent_by_all(const struct senders *senders)
{
    const struct flows *flows = senders->flows;
    uint32_t *sent = mem_alloc(flows->flow_count, sizeof *sent);
    for (uint32_t f = 0; f < flows->flow_count; f++)
        sent[f] = flows->flows[f].chunks;
    for (uint32_t l = 0; l < senders->lane_count; l++) {
        const struct lane *lane = &senders->lanes[l];
        sent[lane->flow] = lane->sent < sent[lane->flow] ? lane->sent : sent[lane->flow];
    }
    return sent;
}

// Gives one credit of a flow back, where one is out; every sender of it says whether it gained.
static void give_credit(struct senders *senders, uint32_t index)
{
    struct flows *flows = senders->flows;
    struct flow *flow = &flows->flows[index];
    const bool pieces = flows->transfer->rail && flows->transfer->gather;
    const uint32_t gpus = flows->schedule->fabric.gpus_per_node;
    flow->done++;
    for (uint32_t i = 0; i < (pieces ? gpus : 1); i++) {
        const uint32_t s =
            pieces ? sender_index(flows, flow->peer * gpus + i, flow->channel, 0) : flow->sender;
        const bool before = may_send(senders, s),
                   gained = sender_credit(senders, &senders->of[s], index);
        ck_assert(before || gained == may_send(senders, s));
    }
}

static void credit_somewhere(struct senders *senders, struct rng *rng)
{
    uint32_t *sent = sent_by_all(senders);
    const uint32_t from = (uint32_t)rng_below(rng, senders->flows->flow_count);
    for (uint32_t i = 0; i < senders->flows->flow_count; i++) {
        const uint32_t f = (from + i) % senders->flows->flow_count;
        if (senders->flows->flows[f].done < sent[f]) {
            give_credit(senders, f);
            break;
        }
    }
    free(sent);
}

// Senders in any order until all is sent; credits come back now and then.
static void expect_least_advanced(struct senders *senders, struct rng *rng, const char *name)
{
    uint64_t left = 0;
    for (uint32_t l = 0; l < senders->lane_count; l++)
        left += senders->lanes[l].chunks;
    while (left) {
        struct sender *sender = &senders->of[rng_below(rng, senders->count)];
        const struct lane *expected = least_advanced(senders, sender);
        const struct lane *next = sender_next(senders, sender);
        ck_assert_msg(next == expected, "%s: rank %u, channel %u", name, sender->rank,
                      sender->channel);
        left -= next != NULL;
        if (!next && senders->flows->window_chunks)
            credit_somewhere(senders, rng);
    }
}

START_TEST(least_advanced_goes_next)
{
    for (uint64_t n = 0; n < SCENES; n++) {
        struct rng rng = rng_stream(5, n, 0, 0);
        const struct spec spec = scene_random(5, n, 300);
        struct scene scene;
        scene_build(&scene, &spec);
        const struct schedule *schedule = scene.scenario.schedule;
        for (uint32_t t = 0; t < schedule->transfer_count; t++) {
            struct flows flows;
            struct senders senders;
            flows_init(&flows, schedule, &schedule->transfers[t]);
            senders_init(&senders, &flows);
            expect_least_advanced(&senders, &rng, scene_name(&spec));
            senders_release(&senders);
            flows_release(&flows);
        }
        scenario_release(&scene.scenario);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("senders");
    TCase *tests = tcase_create("next");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, least_advanced_goes_next);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

// real/slice: rows against the loads that the same schedule tells, sender against receiver, and
// every chosen expert served exactly once.
#include "real/slice.h"
#include "tests/scene.h"

#include <stdlib.h>

// A shape under one dispatcher and one layout.
struct shape {
    uint32_t nodes, gpus_per_node, experts, topk, tokens;
    uint32_t
        spare_slots; // replicas: the first experts once more, the second half of slots reversed
};
static const struct shape shapes[] = {
    {1, 1, 8, 2, 9, 0},    {1, 3, 10, 4, 17, 0}, {2, 1, 7, 3, 12, 0},  {2, 2, 8, 4, 20, 4},
    {3, 4, 25, 5, 13, 11}, {4, 2, 64, 8, 30, 0}, {4, 8, 64, 8, 11, 8}, {2, 4, 16, 1, 0, 0},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

// Presets as they stand, and fixed slots where the preset has none.
static const struct variant {
    const char *preset;
    bool padded;
} variants[] = {
    {"nccl-flat", false}, {"nccl-two-stage", false}, {"nccl-agrs", false}, {"deepep-normal", false},
    {"deepep-ll", false}, {"deepep-ll-rdma", false}, {"deepep-ll", true},  {"nccl-flat", true},
};
#define VARIANTS (sizeof variants / sizeof variants[0])

// Choices with a skew, some dropped, now and then all of a token's.
static void dropping_row(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const struct spec *spec = context;
    struct rng rng = rng_stream(spec->seed, rank, token, 80);
    scene_hot_row(context, rank, token, ids);
    const bool all = rng_below(&rng, 8) == 0;
    for (uint32_t k = 0; k < spec->topk; k++)
        if (all || rng_below(&rng, 6) == 0)
            ids[k] = ROUTING_DROPPED;
}

static void use_replicas(struct scenario *scenario, const struct shape *shape)
{
    const uint32_t slots = shape->experts + shape->spare_slots, half = slots / 2;
    uint32_t *slot_expert = mem_alloc(slots, sizeof *slot_expert);
    struct error err;
    for (uint32_t s = 0; s < slots; s++)
        slot_expert[s < half ? s : slots - 1 - (s - half)] = s % shape->experts;
    ck_assert_msg(layout_from_slots(scenario->layout, slot_expert, slots, shape->experts,
                                    shape->nodes * shape->gpus_per_node, &err),
                  "%s", err.text);
    free(slot_expert);
}

// The scene of a shape, with its loads made anew where dispatcher, layout or routing are not those
// of a preset.
static void build(struct scene *scene, const struct shape *shape, const struct variant *variant,
                  enum routing_rule rule)
{
    const struct spec spec = {.dispatcher = variant->preset,
                              .nodes = shape->nodes,
                              .gpus_per_node = shape->gpus_per_node,
                              .oversubscription = 1,
                              .rule = rule,
                              .hot = 2,
                              .tokens = shape->tokens,
                              .uneven = true,
                              .hidden = 256,
                              .experts = shape->experts,
                              .topk = shape->topk,
                              .groups = 1,
                              .topk_groups = 1,
                              .nic_Bps = 46e9,
                              .nvlink_Bps = 138e9,
                              .hbm_Bps = 2e12,
                              .flops = 1e15,
                              .sm_scale = 1,
                              .seed = 5};
    scene_build(scene, &spec);
    struct scenario *scenario = &scene->scenario;
    schedule_release(scenario->schedule);
    loads_release(scenario->loads);
    layout_release(scenario->layout);
    use_replicas(scenario, shape);
    scenario->routing.row = dropping_row;
    if (scenario->routing.ranks > 2)
        scenario->tokens[2] = 0;
    if (variant->padded)
        scenario->dispatcher.counts = COUNTS_PADDED;
    scenario_load(scenario, LOADS_COUNTED);
}

// Slices of all ranks for one transfer.
struct all {
    const struct scenario *scenario;
    const struct schedule *schedule;
    const struct transfer *transfer;
    const struct fabric *fabric;
    const struct layout *layout;
    struct slice *slices;
};

static struct all all_make(const struct scenario *scenario, const struct transfer *transfer)
{
    const struct schedule *schedule = scenario->schedule;
    struct all all = {.scenario = scenario,
                      .schedule = schedule,
                      .transfer = transfer,
                      .fabric = &schedule->fabric,
                      .layout = scenario->layout,
                      .slices = mem_alloc(schedule->fabric.ranks, sizeof(struct slice))};
    for (uint32_t r = 0; r < all.fabric->ranks; r++)
        schedule_rank_slice(schedule, transfer, &scenario->routing, r, &all.slices[r]);
    return all;
}

static void all_free(struct all *all)
{
    for (uint32_t r = 0; r < all->fabric->ranks; r++)
        slice_release(&all->slices[r]);
    free(all->slices);
}

static uint64_t lane_rows(const struct rows *rows, uint32_t lane)
{
    ck_assert_uint_lt(lane, rows->lanes);
    ck_assert_uint_le(rows->first[lane], rows->first[lane + 1]);
    return rows->first[lane + 1] - rows->first[lane];
}

static void expect_same_lane(const struct rows *a, uint32_t lane_a, const struct rows *b,
                             uint32_t lane_b)
{
    const uint64_t count = lane_rows(a, lane_a);
    ck_assert_uint_eq(count, lane_rows(b, lane_b));
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_uint_eq(a->token[a->first[lane_a] + i], b->token[b->first[lane_b] + i]);
        ck_assert_uint_eq(a->slot[a->first[lane_a] + i], b->slot[b->first[lane_b] + i]);
    }
}

// --- counts --------------------------------------------------------------------------------------

static uint64_t pair_of(const struct all *all, uint32_t home, uint32_t rank)
{
    return (uint64_t)all->transfer->pair[home * all->fabric->ranks + rank];
}

static uint64_t node_of(const struct all *all, uint32_t home, uint32_t node)
{
    return (uint64_t)all->transfer->node[home * all->fabric->nodes + node];
}

static void expect_rail_counts(const struct all *all, uint32_t rank)
{
    const struct slice *slice = &all->slices[rank];
    const uint32_t gpus = all->fabric->gpus_per_node, node = rank / gpus;
    ck_assert_uint_eq(slice->sent.lanes, all->fabric->nodes);
    ck_assert_uint_eq(slice->crossed.lanes, all->fabric->ranks);
    ck_assert_uint_eq(slice->relayed.lanes, all->fabric->ranks * gpus);
    for (uint32_t n = 0; n < all->fabric->nodes; n++)
        ck_assert_uint_eq(lane_rows(&slice->sent, n), node_of(all, rank, n));
    for (uint32_t home = 0; home < all->fabric->ranks; home++) {
        const bool mine = home % gpus == rank % gpus;
        ck_assert_uint_eq(lane_rows(&slice->crossed, home), mine ? node_of(all, home, node) : 0);
        for (uint32_t local = 0; local < gpus; local++)
            ck_assert_uint_eq(lane_rows(&slice->relayed, home * gpus + local),
                              mine ? pair_of(all, home, node * gpus + local) : 0);
    }
}

static void expect_counts(const struct all *all)
{
    const uint32_t ranks = all->fabric->ranks;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const struct slice *slice = &all->slices[rank];
        ck_assert_uint_eq(slice->served.lanes, ranks);
        for (uint32_t home = 0; home < ranks; home++)
            ck_assert_uint_eq(lane_rows(&slice->served, home), pair_of(all, home, rank));
        if (all->transfer->rail) {
            expect_rail_counts(all, rank);
            continue;
        }
        ck_assert_uint_eq(slice->sent.lanes, ranks);
        ck_assert_uint_eq(slice->crossed.lanes + slice->relayed.lanes, 0);
        for (uint32_t peer = 0; peer < ranks; peer++)
            ck_assert_uint_eq(lane_rows(&slice->sent, peer), pair_of(all, rank, peer));
    }
}

// --- both ends -----------------------------------------------------------------------------------

// Forwarded rows name, in order, rows of their home's crossed lane that hold the same token.
static void expect_relay(const struct slice *slice, uint32_t home, uint32_t lane)
{
    for (uint64_t i = slice->relayed.first[lane]; i < slice->relayed.first[lane + 1]; i++) {
        const uint64_t row = slice->relayed_row[i];
        ck_assert_uint_ge(row, slice->crossed.first[home]);
        ck_assert_uint_lt(row, slice->crossed.first[home + 1]);
        ck_assert_uint_eq(slice->crossed.token[row], slice->relayed.token[i]);
        if (i > slice->relayed.first[lane])
            ck_assert_uint_gt(row, slice->relayed_row[i - 1]);
    }
}

static void expect_rail_ends(const struct all *all, uint32_t home, uint32_t rank)
{
    const uint32_t gpus = all->fabric->gpus_per_node, node = rank / gpus;
    const uint32_t via = fabric_rail_peer(all->fabric, home, node);
    const uint32_t lane = home * gpus + rank % gpus;
    expect_same_lane(&all->slices[home].sent, node, &all->slices[via].crossed, home);
    expect_same_lane(&all->slices[via].relayed, lane, &all->slices[rank].served, home);
    expect_relay(&all->slices[via], home, lane);
}

static void expect_ends(const struct all *all)
{
    for (uint32_t home = 0; home < all->fabric->ranks; home++)
        for (uint32_t rank = 0; rank < all->fabric->ranks; rank++) {
            if (all->transfer->rail)
                expect_rail_ends(all, home, rank);
            else
                expect_same_lane(&all->slices[home].sent, rank, &all->slices[rank].served, home);
        }
}

// --- coverage ------------------------------------------------------------------------------------

// Rows of a lane that serve a token for a slot: those marked with it, or, where one copy serves the
// whole rank, those of the token.
static uint32_t rows_for(const struct rows *rows, uint32_t lane, uint32_t token, uint32_t slot)
{
    uint32_t found = 0;
    for (uint64_t i = rows->first[lane]; i < rows->first[lane + 1]; i++)
        found += rows->token[i] == token && (rows->slot[i] == slot || rows->slot[i] == UINT32_MAX);
    return found;
}

static uint64_t used_rows(const struct all *all, uint32_t home)
{
    uint64_t used = 0;
    for (uint32_t rank = 0; rank < all->fabric->ranks; rank++) {
        const struct rows *rows = &all->slices[rank].served;
        for (uint64_t i = rows->first[home]; i < rows->first[home + 1]; i++)
            used += rows->token[i] != SLICE_UNUSED;
    }
    return used;
}

// Looks up each choice of a home's tokens; returns how many rows a home needs at least: a row a
// choice (expert copies) or a row a rank.
static void expect_home_served(const struct all *all, uint32_t home, uint64_t *choices,
                               uint64_t *ranks)
{
    const struct routing *routing = &all->scenario->routing;
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t t = 0; t < routing->tokens[home]; t++) {
        uint64_t reached = 0; // ranks, one bit each
        routing_row(routing, home, t, ids);
        for (uint32_t k = 0; k < routing->topk; k++) {
            if (ids[k] == ROUTING_DROPPED)
                continue;
            const uint32_t slot = layout_slot(all->layout, ids[k], t);
            const uint32_t rank = all->layout->slot_rank[slot];
            ck_assert_uint_eq(rows_for(&all->slices[rank].served, home, t, slot), 1);
            reached |= UINT64_C(1) << rank;
            ++*choices;
        }
        *ranks += (uint64_t)__builtin_popcountll(reached);
    }
}

// Every choice has its row, and no row stands without a choice.
static void expect_coverage(const struct all *all)
{
    const struct dispatcher *dispatcher = &all->scenario->dispatcher;
    const bool by_expert = all->transfer->gather ? dispatcher->reduce == REDUCE_HOME
                                                 : dispatcher->dedupe == DEDUPE_EXPERT;
    for (uint32_t home = 0; home < all->fabric->ranks; home++) {
        uint64_t choices = 0, ranks = 0;
        expect_home_served(all, home, &choices, &ranks);
        if (dispatcher->dedupe == DEDUPE_ALL)
            ranks = (uint64_t)all->fabric->ranks * all->scenario->tokens[home];
        ck_assert_uint_eq(used_rows(all, home), by_expert ? choices : ranks);
    }
}

static void expect_order(const struct rows *rows)
{
    for (uint32_t lane = 0; lane < rows->lanes; lane++)
        for (uint64_t i = rows->first[lane] + 1; i < rows->first[lane + 1]; i++) {
            const bool same_slot = rows->slot[i] == rows->slot[i - 1];
            if (same_slot && rows->token[i] != SLICE_UNUSED)
                ck_assert_uint_gt(rows->token[i], rows->token[i - 1]);
            if (!same_slot)
                ck_assert_uint_gt(rows->slot[i], rows->slot[i - 1]);
        }
}

static void expect_slices(const struct scenario *scenario)
{
    for (uint32_t t = 0; t < scenario->schedule->transfer_count; t++) {
        struct all all = all_make(scenario, &scenario->schedule->transfers[t]);
        expect_counts(&all);
        expect_ends(&all);
        expect_coverage(&all);
        for (uint32_t rank = 0; rank < all.fabric->ranks; rank++) {
            expect_order(&all.slices[rank].sent);
            expect_order(&all.slices[rank].served);
        }
        all_free(&all);
    }
}

START_TEST(recorded_choices)
{
    for (size_t s = 0; s < SHAPES; s++) {
        struct scene scene;
        build(&scene, &shapes[s], &variants[_i], ROUTING_TRACE);
        expect_slices(&scene.scenario);
        scenario_release(&scene.scenario);
    }
}
END_TEST

START_TEST(drawn_choices)
{
    for (size_t s = 0; s < SHAPES; s++) {
        struct scene scene;
        build(&scene, &shapes[s], &variants[_i], ROUTING_UNIFORM);
        expect_slices(&scene.scenario);
        scenario_release(&scene.scenario);
    }
}
END_TEST

// Every slot of a padded lane is there, used or not, and says which expert slot it is for.
START_TEST(padding_fills_the_slots)
{
    struct scene scene;
    build(&scene, &shapes[4], &(struct variant){"deepep-ll", true}, ROUTING_TRACE);
    struct all all = all_make(&scene.scenario, &scene.scenario.schedule->transfers[0]);
    const uint32_t pad = scene.scenario.tokens[0]; // the first rank has the most
    for (uint32_t rank = 0; rank < all.fabric->ranks; rank++)
        for (uint32_t home = 0; home < all.fabric->ranks; home++) {
            const struct rows *rows = &all.slices[rank].served;
            const uint64_t first = rows->first[home];
            for (uint64_t i = 0; i < lane_rows(rows, home); i++)
                ck_assert_uint_eq(rows->slot[first + i], all.layout->rank_slot[rank] + i / pad);
        }
    all_free(&all);
    scenario_release(&scene.scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slice");
    TCase *tests = tcase_create("slice");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, recorded_choices, 0, VARIANTS);
    tcase_add_loop_test(tests, drawn_choices, 0, VARIANTS);
    tcase_add_test(tests, padding_fills_the_slots);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

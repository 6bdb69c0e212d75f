// model/routing: what every rule must keep, and what each rule is.
#include "model/routing.h"
#include "tests/sanitized.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

// DeepSeek-V3 at EP32, by rule.
static struct routing deepseek(enum routing_rule rule)
{
    return (struct routing){.rule = rule,
                            .experts = 256,
                            .topk = 8,
                            .groups = 8,
                            .topk_groups = 4,
                            .ranks = 32,
                            .seed = 1};
}

#define TOKENS (SANITIZED ? 512 : 4096)

static void expect_distinct(const struct routing *routing, const uint16_t *ids)
{
    for (uint32_t k = 0; k < routing->topk; k++) {
        ck_assert_uint_lt(ids[k], routing->experts);
        for (uint32_t i = 0; i < k; i++)
            ck_assert_uint_ne(ids[i], ids[k]);
    }
}

// _i is the rule in all of the following.
START_TEST(ids_are_distinct)
{
    static const uint32_t shapes[][4] = {{256, 8, 8, 4}, {64, 6, 8, 3},  {8, 8, 1, 1},
                                         {8, 2, 4, 1},   {384, 8, 8, 8}, {4096, 64, 8, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct routing routing = deepseek((enum routing_rule)_i);
        struct error err;
        uint16_t ids[MOE_MAX_TOPK];
        routing.experts = shapes[s][0];
        routing.topk = shapes[s][1];
        routing.groups = shapes[s][2];
        routing.topk_groups = shapes[s][3];
        routing.ranks = 4;
        ck_assert_msg(routing_check(&routing, &err), "%s", err.text);
        for (uint32_t t = 0; t < 200; t++) {
            routing_row(&routing, t % 4, t, ids);
            expect_distinct(&routing, ids);
        }
    }
}
END_TEST

// The row of a token depends on nothing but its seed, rank, token and layer: n tokens are the first
// n of n + 1, whoever asks and in whatever order.
START_TEST(rows_are_pure)
{
    static uint16_t forward[500][8];
    const struct routing routing = deepseek((enum routing_rule)_i);
    uint16_t ids[8];
    for (uint32_t t = 0; t < 500; t++)
        routing_row(&routing, 3, t, forward[t]);
    const uint32_t other[32] = {7, 9};
    struct routing longer = routing;
    longer.tokens = other;
    for (uint32_t t = 500; t-- > 0;) {
        routing_row(&longer, 3, t, ids);
        ck_assert_mem_eq(ids, forward[t], sizeof ids);
    }
}
END_TEST

START_TEST(streams_differ)
{
    const struct routing routing = deepseek((enum routing_rule)_i);
    struct routing other_seed = routing, other_layer = routing;
    uint16_t ids[8], others[4][8];
    uint32_t same[4] = {0};
    other_seed.seed = 2;
    other_layer.layer = 1;
    for (uint32_t t = 0; t < 300; t++) {
        routing_row(&routing, 0, t, ids);
        routing_row(&other_seed, 0, t, others[0]);
        routing_row(&other_layer, 0, t, others[1]);
        routing_row(&routing, 1, t, others[2]);
        routing_row(&routing, 0, t + 1, others[3]);
        for (int i = 0; i < 4; i++)
            same[i] += memcmp(ids, others[i], sizeof ids) == 0;
    }
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(same[i], 0);
}
END_TEST

START_TEST(experts_are_equally_likely)
{
    const struct routing routing = deepseek((enum routing_rule)_i);
    static uint32_t count[256];
    uint16_t ids[8];
    memset(count, 0, sizeof count);
    for (uint32_t t = 0; t < 8 * TOKENS; t++) {
        routing_row(&routing, t / TOKENS, t % TOKENS, ids);
        for (int k = 0; k < 8; k++)
            count[ids[k]]++;
    }
    const double mean = 8.0 * TOKENS * 8 / 256, sigma = sqrt(mean * (1 - 8.0 / 256));
    for (int e = 0; e < 256; e++)
        ck_assert_msg(fabs(count[e] - mean) < 5 * sigma, "expert %d: %u, mean %.0f", e, count[e],
                      mean);
}
END_TEST

static uint32_t distinct(const uint16_t *ids, uint32_t topk, uint32_t experts_each)
{
    uint32_t found = 0;
    for (uint32_t k = 0; k < topk; k++) {
        bool known = false;
        for (uint32_t i = 0; i < k; i++)
            known = known || ids[i] / experts_each == ids[k] / experts_each;
        found += !known;
    }
    return found;
}

static const struct {
    enum routing_rule rule;
    uint32_t groups, topk_groups;
} limits[] = {{ROUTING_V3, 8, 4},     {ROUTING_V3, 8, 2},     {ROUTING_V3, 4, 1},
              {ROUTING_DEEPEP, 8, 4}, {ROUTING_DEEPEP, 4, 3}, {ROUTING_DEEPEP, 16, 1}};

START_TEST(groups_are_limited)
{
    struct routing routing = deepseek(limits[_i].rule);
    uint32_t max = 0;
    uint16_t ids[8];
    routing.groups = limits[_i].groups;
    routing.topk_groups = limits[_i].topk_groups;
    for (uint32_t t = 0; t < TOKENS; t++) {
        routing_row(&routing, 0, t, ids);
        const uint32_t used = distinct(ids, 8, 256 / routing.groups);
        max = used > max ? used : max;
    }
    ck_assert_uint_eq(max, routing.topk_groups);
}
END_TEST

static const uint32_t balanced_ranks[] = {1, 2, 3, 4, 8, 16, 32, 64};

START_TEST(balanced_reaches_all_it_can)
{
    struct routing routing = deepseek(ROUTING_BALANCED);
    uint16_t ids[8];
    routing.ranks = balanced_ranks[_i];
    routing.experts = 192;
    for (uint32_t t = 0; t < TOKENS; t++) {
        routing_row(&routing, 0, t, ids);
        expect_distinct(&routing, ids);
        ck_assert_uint_eq(distinct(ids, 8, 192 / routing.ranks),
                          routing.ranks < 8 ? routing.ranks : 8);
    }
}
END_TEST

// Choices of tokens as the benchmarks' router gives them (collect_trtllm_alltoall.py, its example:
// 16 ranks, top-8), and of fewer ranks than choices.
static const struct {
    uint32_t ranks, token;
    uint16_t ids[8]; // of 256 experts
} robins[] = {
    {16, 0, {0, 16, 32, 48, 64, 80, 96, 112}},
    {16, 1, {128, 144, 160, 176, 192, 208, 224, 240}},
    {16, 2, {1, 17, 33, 49, 65, 81, 97, 113}},
    {16, 33, {128, 144, 160, 176, 192, 208, 224, 240}}, // 16 experts, then anew
    {8, 3, {3, 35, 67, 99, 131, 163, 195, 227}},
    {2, 0, {0, 128, 1, 129, 2, 130, 3, 131}},
    {2, 5, {5, 133, 6, 134, 7, 135, 8, 136}},
    {64, 9, {33, 37, 41, 45, 49, 53, 57, 61}}, // ranks 8 to 15, each one's second expert
};

START_TEST(balanced_goes_round)
{
    struct routing routing = deepseek(ROUTING_BALANCED);
    uint16_t ids[8], others[8];
    routing.ranks = robins[_i].ranks;
    routing_row(&routing, 0, robins[_i].token, ids);
    for (int k = 0; k < 8; k++)
        ck_assert_uint_eq(ids[k], robins[_i].ids[k]);
    routing.seed = 2;
    routing.layer = 1;
    routing_row(&routing, 1, robins[_i].token, others);
    ck_assert_mem_eq(ids, others, sizeof ids);
}
END_TEST

static void two_rows(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const uint16_t *base = context;
    ids[0] = (uint16_t)(base[0] + rank);
    ids[1] = token ? ROUTING_DROPPED : base[1];
}

START_TEST(trace_asks_its_row)
{
    const uint16_t base[] = {10, 20};
    const struct routing routing = {.rule = ROUTING_TRACE,
                                    .experts = 64,
                                    .topk = 2,
                                    .ranks = 4,
                                    .row = two_rows,
                                    .context = base};
    uint16_t ids[2];
    routing_row(&routing, 3, 0, ids);
    ck_assert_uint_eq(ids[0], 13);
    ck_assert_uint_eq(ids[1], 20);
    routing_row(&routing, 0, 1, ids);
    ck_assert_uint_eq(ids[1], ROUTING_DROPPED);
}
END_TEST

static const struct {
    enum routing_rule rule;
    uint32_t experts, topk, groups, topk_groups, ranks;
    const char *message;
} refused[] = {
    {ROUTING_V3, 256, 8, 0, 1, 8, "routing v3: 256 experts do not divide into 0 groups"},
    {ROUTING_DEEPEP, 256, 8, 3, 3, 24, "routing deepep: 256 experts do not divide into 3 groups"},
    {ROUTING_V3, 256, 8, 8, 0, 8,
     "routing v3: topk_groups 0: expected 1 to 8, the number of groups"},
    {ROUTING_V3, 256, 8, 8, 9, 8,
     "routing v3: topk_groups 9: expected 1 to 8, the number of groups"},
    {ROUTING_DEEPEP, 32, 8, 8, 1, 8,
     "routing deepep: 1 groups of 4 experts hold fewer than top-k 8"},
    {ROUTING_BALANCED, 256, 8, 1, 1, 3, "routing balanced: 256 experts do not divide over 3 ranks"},
    {ROUTING_BALANCED, 8, 8, 1, 1, 8, NULL},
    {ROUTING_BALANCED, 12, 8, 1, 1, 6, NULL},
    {ROUTING_BALANCED, 6, 8, 1, 1, 6,
     "routing balanced: 1 experts a rank are too few for top-k 8 over 6 ranks"},
    {ROUTING_UNIFORM, 8, 8, 0, 0, 3, NULL},
};

START_TEST(checks)
{
    const struct routing routing = {.rule = refused[_i].rule,
                                    .experts = refused[_i].experts,
                                    .topk = refused[_i].topk,
                                    .groups = refused[_i].groups,
                                    .topk_groups = refused[_i].topk_groups,
                                    .ranks = refused[_i].ranks};
    struct error err = {0};
    const bool ok = routing_check(&routing, &err);
    ck_assert_msg(ok == !refused[_i].message, "%s", err.text);
    if (!ok) {
        ck_assert_str_eq(err.text, refused[_i].message);
        ck_assert_int_eq(err.code, EXIT_INPUT);
    }
}
END_TEST

// Ids of 1,000 tokens as one number: a draw that changes changes every result in the world.
static const uint64_t pinned[] = {UINT64_C(1803269747630764853), UINT64_C(5512205628031807069),
                                  UINT64_C(11338694169122105733), UINT64_C(13371215330243917509)};

START_TEST(ids_are_pinned)
{
    const struct routing routing = deepseek((enum routing_rule)_i);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    uint16_t ids[8];
    for (uint32_t t = 0; t < 1000; t++) {
        routing_row(&routing, t % 32, t, ids);
        for (int k = 0; k < 8; k++)
            hash = (hash ^ ids[k]) * UINT64_C(0x100000001b3);
    }
    ck_assert_msg(hash == pinned[_i], "rule %s: %llu", routing_rule_names[_i],
                  (unsigned long long)hash);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routing");
    TCase *tests = tcase_create("routing");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, ids_are_distinct, 0, ROUTING_TRACE);
    tcase_add_loop_test(tests, rows_are_pure, 0, ROUTING_TRACE);
    tcase_add_loop_test(tests, streams_differ, 0, ROUTING_BALANCED);
    tcase_add_loop_test(tests, experts_are_equally_likely, 0, ROUTING_TRACE);
    tcase_add_loop_test(tests, groups_are_limited, 0, SUITE_COUNT(limits));
    tcase_add_loop_test(tests, balanced_reaches_all_it_can, 0, SUITE_COUNT(balanced_ranks));
    tcase_add_loop_test(tests, balanced_goes_round, 0, SUITE_COUNT(robins));
    tcase_add_test(tests, trace_asks_its_row);
    tcase_add_loop_test(tests, checks, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, ids_are_pinned, 0, ROUTING_TRACE);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

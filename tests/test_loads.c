// model/loads: copies a token as published, conservation, and means against counts.
#include "tests/scene.h"
#include "tests/suite.h"

#include <omp.h>

// Loads of a routing over a layout, with all that they borrow.
struct counted {
    struct layout layout;
    struct routing routing;
    uint32_t tokens[SCENE_RANKS];
    struct loads loads;
};

static void ask(struct counted *counted, enum routing_rule rule, uint32_t nodes, uint32_t tokens)
{
    struct error err;
    const uint32_t ranks = nodes * 8;
    for (uint32_t r = 0; r < ranks; r++)
        counted->tokens[r] = tokens;
    counted->routing =
        (struct routing){.rule = rule,
                         .experts = 256,
                         .topk = 8,
                         .groups = rule == ROUTING_DEEPEP ? nodes : 8,
                         .topk_groups = nodes < 4 && rule == ROUTING_DEEPEP ? nodes : 4,
                         .ranks = ranks,
                         .seed = 1,
                         .tokens = counted->tokens};
    ck_assert(layout_contiguous(&counted->layout, 256, ranks, &err));
}

static void release(struct counted *counted)
{
    loads_release(&counted->loads);
    layout_release(&counted->layout);
}

static const struct {
    enum routing_rule rule;
    uint32_t nodes;
    double nodes_per_token, ranks_per_token, tolerance;
} fan_out[] = {
    {ROUTING_UNIFORM, 1, 1.00, 5.29, 0.02}, {ROUTING_UNIFORM, 2, 1.99, 6.52, 0.02},
    {ROUTING_UNIFORM, 4, 3.61, 7.27, 0.02}, {ROUTING_UNIFORM, 8, 5.29, 7.68, 0.02},
    {ROUTING_DEEPEP, 4, 3.61, 7.27, 0.02},  {ROUTING_DEEPEP, 8, 3.98, 7.49, 0.02},
    {ROUTING_V3, 4, 3.13, 6.85, 0.03},
};

START_TEST(copies_a_token)
{
    struct counted c;
    const uint32_t tokens = SCENE_CASES(4096);
    for (int expected = 0; expected < 2; expected++) {
        ask(&c, fan_out[_i].rule, fan_out[_i].nodes, tokens);
        (expected ? loads_expect : loads_count)(&c.loads, &c.routing, &c.layout, fan_out[_i].nodes);
        ck_assert_double_eq_tol(loads_nodes_per_token(&c.loads), fan_out[_i].nodes_per_token,
                                fan_out[_i].tolerance);
        ck_assert_double_eq_tol(loads_ranks_per_token(&c.loads), fan_out[_i].ranks_per_token,
                                fan_out[_i].tolerance);
        release(&c);
    }
}
END_TEST

static void expect_equal(double a, double b, double tolerance)
{
    ck_assert_msg(fabs(a - b) <= tolerance, "%.17g is not %.17g", a, b);
}

static double sum_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

// Every token's every expert is served once: by its source, its server and its slot.
static void expect_conserved(const struct loads *loads, double tolerance)
{
    const uint32_t ranks = loads->ranks, per_node = ranks / loads->nodes;
    for (uint32_t s = 0; s < ranks; s++) {
        const double tokens = loads->tokens[s];
        expect_equal(sum_of(loads->expert_copies + (size_t)s * ranks, ranks), tokens * loads->topk,
                     tolerance * (tokens + 1));
        for (uint32_t r = 0; r < ranks; r++) {
            const double copies = loads->rank_copies[(size_t)s * ranks + r];
            ck_assert_double_le(copies, loads->expert_copies[(size_t)s * ranks + r] + tolerance);
            ck_assert_double_le(
                copies, loads->node_copies[(size_t)s * loads->nodes + r / per_node] + tolerance);
            ck_assert_double_le(copies, tokens);
        }
    }
    const double all = sum_of(loads->tokens, ranks) * loads->topk;
    expect_equal(sum_of(loads->slot_tokens, loads->slots), all, tolerance * (all + 1));
}

// A rank serves what its slots serve.
static void expect_slots(const struct loads *loads, const struct layout *layout, double tolerance)
{
    for (uint32_t r = 0; r < loads->ranks; r++) {
        double served = 0;
        for (uint32_t s = 0; s < loads->ranks; s++)
            served += loads->expert_copies[(size_t)s * loads->ranks + r];
        expect_equal(sum_of(loads->slot_tokens + layout->rank_slot[r],
                            layout->rank_slot[r + 1] - layout->rank_slot[r]),
                     served, tolerance * (served + 1));
    }
}

START_TEST(conservation)
{
    const uint32_t cases = SCENE_CASES(200);
    for (uint32_t i = 0; i < cases; i++) {
        struct spec spec = scene_random(11, i, 300);
        for (int expected = 0; expected < 2; expected++) {
            struct scene scene;
            spec.expected = expected && spec.rule != ROUTING_TRACE;
            scene_build(&scene, &spec);
            expect_conserved(scene.scenario.loads, spec.expected ? 1e-9 : 0);
            expect_slots(scene.scenario.loads, scene.scenario.layout, spec.expected ? 1e-9 : 0);
            scenario_release(&scene.scenario);
        }
    }
}
END_TEST

static void drop_some(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    (void)context;
    for (uint32_t k = 0; k < 4; k++)
        ids[k] = (rank + token) % 3 == 0 && k > 1 ? ROUTING_DROPPED : (uint16_t)(token % 8 * 8 + k);
}

START_TEST(dropped_choices_go_nowhere)
{
    struct counted c = {.tokens = {30, 30, 30, 30}};
    struct error err;
    c.routing = (struct routing){.rule = ROUTING_TRACE,
                                 .experts = 64,
                                 .topk = 4,
                                 .ranks = 4,
                                 .tokens = c.tokens,
                                 .row = drop_some};
    ck_assert(layout_contiguous(&c.layout, 64, 4, &err));
    loads_count(&c.loads, &c.routing, &c.layout, 2);
    ck_assert_double_eq(sum_of(c.loads.slot_tokens, 64), 4 * 30 * 4 - 4 * 10 * 2);
    expect_slots(&c.loads, &c.layout, 0);
    release(&c);
}
END_TEST

static void expect_same(const double *a, const double *b, size_t count)
{
    ck_assert_mem_eq(a, b, count * sizeof *a);
}

START_TEST(threads_do_not_matter)
{
    struct counted c[2];
    for (int i = 0; i < 2; i++) {
        ask(&c[i], ROUTING_V3, 4, SCENE_CASES(512));
        omp_set_num_threads(i + 1);
        loads_count(&c[i].loads, &c[i].routing, &c[i].layout, 4);
    }
    expect_same(c[0].loads.expert_copies, c[1].loads.expert_copies, 32 * 32);
    expect_same(c[0].loads.rank_copies, c[1].loads.rank_copies, 32 * 32);
    expect_same(c[0].loads.node_copies, c[1].loads.node_copies, 32 * 4);
    expect_same(c[0].loads.slot_tokens, c[1].loads.slot_tokens, 256);
    release(&c[0]);
    release(&c[1]);
}
END_TEST

// 256 experts and 32 replicas of every eighth, as redundant experts are laid out.
static void replicated(struct layout *layout, uint32_t ranks)
{
    uint32_t slots[288];
    struct error err;
    for (uint32_t s = 0; s < 288; s++)
        slots[s] = s < 256 ? s : (s - 256) * 8;
    ck_assert_msg(layout_from_slots(layout, slots, 288, 256, ranks, &err), "%s", err.text);
}

static void expect_near(const double *counted, const double *mean, size_t count)
{
    ck_assert_double_eq_tol(sum_of(counted, count) / sum_of(mean, count), 1, 0.01);
}

// Means are within 1 % of counts of many tokens.
START_TEST(means_are_near_counts)
{
    const enum routing_rule rule = (enum routing_rule)(_i % ROUTING_BALANCED);
    struct counted a, b;
    ask(&a, rule, 8, 2048);
    ask(&b, rule, 8, 2048);
    if (_i >= ROUTING_BALANCED) {
        layout_release(&a.layout);
        layout_release(&b.layout);
        replicated(&a.layout, 64);
        replicated(&b.layout, 64);
    }
    loads_count(&a.loads, &a.routing, &a.layout, 8);
    loads_expect(&b.loads, &b.routing, &b.layout, 8);
    ck_assert(b.loads.expected && !a.loads.expected);
    expect_near(a.loads.expert_copies, b.loads.expert_copies, 64 * 64);
    expect_near(a.loads.rank_copies, b.loads.rank_copies, 64 * 64);
    expect_near(a.loads.node_copies, b.loads.node_copies, 64 * 8);
    expect_near(a.loads.slot_tokens, b.loads.slot_tokens, a.loads.slots);
    release(&a);
    release(&b);
}
END_TEST

// Nothing is drawn: means are the counts, and 4 tokens of 8 choices reach 32 ranks once each. Ranks
// of other numbers of tokens are counted by themselves.
START_TEST(balanced_has_no_chance)
{
    struct counted c;
    ask(&c, ROUTING_BALANCED, 4, 4);
    c.tokens[5] = 1;
    loads_expect(&c.loads, &c.routing, &c.layout, 4);
    ck_assert(!c.loads.expected);
    for (uint32_t source = 0; source < 32; source++)
        for (uint32_t rank = 0; rank < 32; rank++)
            ck_assert_double_eq(c.loads.rank_copies[source * 32 + rank], source != 5 || rank < 8);
    expect_conserved(&c.loads, 0);
    expect_slots(&c.loads, &c.layout, 0);
    release(&c);
}
END_TEST

START_TEST(replicas_share_evenly)
{
    struct counted c;
    ask(&c, ROUTING_UNIFORM, 4, SCENE_CASES(4000));
    layout_release(&c.layout);
    replicated(&c.layout, 32);
    loads_count(&c.loads, &c.routing, &c.layout, 4);
    expect_conserved(&c.loads, 0);
    for (uint32_t e = 0; e < 256; e += 8) {
        const uint32_t *slots = c.layout.replica_slot + c.layout.replica_first[e];
        const double a = c.loads.slot_tokens[slots[0]], b = c.loads.slot_tokens[slots[1]];
        ck_assert_double_lt(fabs(a - b), 5 * sqrt(a + b));
    }
    release(&c);
}
END_TEST

START_TEST(bytes_leave_the_diagonal_out)
{
    const uint64_t bytes[] = {9, 1, 2, 9};
    struct loads loads;
    loads_from_bytes(&loads, bytes, 2, 1);
    const double expected[] = {0, 1, 2, 0};
    ck_assert_mem_eq(loads.rank_copies, expected, sizeof expected);
    ck_assert_double_eq(loads_ranks_per_token(&loads), 0); // no tokens
    loads_release(&loads);
}
END_TEST

// Chances of missing a group by counting subsets; Blom's approximation to the expected maximum of
// normals, whose exact values are 0.56419 (2), 1.53875 (10), 2.07 (32) and 2.50759 (100).
START_TEST(closed_forms)
{
    static const struct {
        uint32_t n;
        double exact;
    } maxima[] = {{2, 0.56419}, {10, 1.53875}, {32, 2.0697}, {100, 2.50759}};
    ck_assert_double_eq_tol(loads_miss_probability(4, 2, 2), 1.0 / 6, 1e-12);
    ck_assert_double_eq_tol(loads_miss_probability(256, 8, 0), 1, 1e-12);
    ck_assert_double_eq(loads_miss_probability(8, 8, 1), 0);
    ck_assert_double_eq_tol(32 * (1 - loads_miss_probability(256, 8, 8)), 7.27, 0.01);
    ck_assert_double_eq(loads_expected_max(5, 3, 1), 5);
    for (size_t i = 0; i < sizeof maxima / sizeof maxima[0]; i++) {
        ck_assert_double_eq_tol(loads_expected_max(0, 1, maxima[i].n), maxima[i].exact, 0.03);
        ck_assert_double_eq_tol(loads_expected_max(10, 2, maxima[i].n),
                                10 + 2 * loads_expected_max(0, 1, maxima[i].n), 1e-9);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loads");
    TCase *tests = tcase_create("loads");
    tcase_set_timeout(tests, 90);
    tcase_add_loop_test(tests, copies_a_token, 0, SUITE_COUNT(fan_out));
    tcase_add_test(tests, conservation);
    tcase_add_test(tests, dropped_choices_go_nowhere);
    tcase_add_test(tests, threads_do_not_matter);
    tcase_add_loop_test(tests, means_are_near_counts, 0, 2 * ROUTING_BALANCED);
    tcase_add_test(tests, balanced_has_no_chance);
    tcase_add_test(tests, replicas_share_evenly);
    tcase_add_test(tests, bytes_leave_the_diagonal_out);
    tcase_add_test(tests, closed_forms);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

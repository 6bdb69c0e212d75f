// model/balance: nothing lost, such as tokens can have made, and even.
#include "model/balance.h"
#include "model/check.h"
#include "tests/scene.h"
#include "tests/suite.h"

#define CASES SCENE_CASES(150)

static double sum_of(const double *values, size_t count, size_t stride)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i * stride];
    return sum;
}

static void expect_same_rows(const struct loads *even, const struct loads *loads, const char *name)
{
    for (uint32_t s = 0; s < loads->ranks; s++) {
        const size_t at = (size_t)s * loads->ranks, node = (size_t)s * loads->nodes;
        ck_assert_msg(sum_of(even->expert_copies + at, loads->ranks, 1) ==
                              sum_of(loads->expert_copies + at, loads->ranks, 1) &&
                          sum_of(even->rank_copies + at, loads->ranks, 1) ==
                              sum_of(loads->rank_copies + at, loads->ranks, 1) &&
                          sum_of(even->node_copies + node, loads->nodes, 1) ==
                              sum_of(loads->node_copies + node, loads->nodes, 1) &&
                          even->tokens[s] == loads->tokens[s],
                      "%s: source %u does not send what it did", name, s);
    }
    ck_assert_double_eq(sum_of(even->slot_tokens, even->slots, 1),
                        sum_of(loads->slot_tokens, loads->slots, 1));
}

// What a source sends could have been tokens: each node's copy is for a rank there, each rank's for
// a choice.
static void expect_possible(const struct loads *even, uint32_t source, const char *name)
{
    const uint32_t per_node = even->ranks / even->nodes;
    for (uint32_t n = 0; n < even->nodes; n++) {
        const double copies = even->node_copies[(size_t)source * even->nodes + n];
        double ranks = 0;
        for (uint32_t r = n * per_node; r < (n + 1) * per_node; r++) {
            const size_t at = (size_t)source * even->ranks + r;
            const double copy = even->rank_copies[at], choices = even->expert_copies[at];
            ck_assert_msg(copy <= copies && choices >= copy && choices <= copy * even->topk,
                          "%s: %u to %u: %g choices, %g copies, the node %g", name, source, r,
                          choices, copy, copies);
            ranks += copy;
        }
        ck_assert_msg(ranks >= copies && copies <= even->tokens[source],
                      "%s: %u to node %u: %g copies, its ranks %g", name, source, n, copies, ranks);
    }
}

static void expect_even(const double *copies, uint32_t ranks, uint32_t width, double most,
                        const char *name)
{
    double least = INFINITY, largest = 0;
    for (uint32_t to = 0; to < width; to++) {
        const double received = sum_of(copies + to, ranks, width);
        least = fmin(least, received);
        largest = fmax(largest, received);
    }
    ck_assert_msg(largest - least <= most, "%s: one receives %g, another %g", name, largest, least);
}

START_TEST(spreads_evenly)
{
    for (uint64_t i = 0; i < CASES; i++) {
        struct spec spec = scene_random(11, i, 2000);
        struct scene scene;
        struct loads even, again;
        scene_build(&scene, &spec);
        const struct loads *loads = &scene.setting.loads;
        const char *name = scene_name(&spec);
        loads_balance(&even, loads, &scene.setting.layout);
        expect_same_rows(&even, loads, name);
        for (uint32_t s = 0; s < even.ranks; s++)
            expect_possible(&even, s, name);
        expect_even(even.node_copies, even.ranks, even.nodes, 1, name);
        expect_even(even.rank_copies, even.ranks, even.ranks, 3, name);
        expect_even(even.expert_copies, even.ranks, even.ranks, 3 + spec.topk, name);
        loads_balance(&again, &even, &scene.setting.layout);
        const size_t pairs = (size_t)even.ranks * even.ranks * sizeof(double);
        ck_assert_mem_eq(again.expert_copies, even.expert_copies, pairs);
        ck_assert_mem_eq(again.slot_tokens, even.slot_tokens, even.slots * sizeof(double));
        loads_release(&again);
        loads_release(&even);
        setting_release(&scene.setting);
    }
}
END_TEST

// Engines take balanced loads as any: every law of a run holds of them.
START_TEST(engines_take_them)
{
    for (uint64_t i = 0; i < CASES / 3; i++) {
        struct spec spec = scene_random(12, i, 300);
        struct scene scene;
        struct loads even;
        struct timing timing;
        struct error err;
        scene_build(&scene, &spec);
        struct setting *setting = &scene.setting;
        loads_balance(&even, &setting->loads, &setting->layout);
        loads_release(&setting->loads);
        schedule_release(&setting->schedule);
        setting->loads = even;
        setting_schedule(setting);
        simulate(&setting->schedule, &setting->run, &timing);
        ck_assert_msg(timing_check(&setting->schedule, &timing, &err), "%s: %s", scene_name(&spec),
                      err.text);
        timing_release(&timing);
        setting_release(setting);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balance");
    TCase *tests = tcase_create("balance");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, spreads_evenly);
    tcase_add_test(tests, engines_take_them);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

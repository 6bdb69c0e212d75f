// EPLB: the reference's published example to the last slot, properties of every rule over random
// instances, and the imbalance that is left after loads have drifted.
#include "base/mem.h"
#include "base/rng.h"
#include "study/eplb.h"
#include "tests/scene.h"

#include <gsl/gsl_cdf.h>
#include <stdlib.h>

// deepseek-ai/EPLB README: 16 replicas, 4 groups, 2 nodes, 8 GPUs.
static const struct {
    double load[12];
    uint32_t slot_expert[16];
} published[] = {
    {{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
     {5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}},
    {{20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27},
     {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}},
};

START_TEST(published_example)
{
    const struct placement_shape shape = {
        .experts = 12, .groups = 4, .ranks = 8, .nodes = 2, .slots = 16};
    uint32_t slot_expert[16];
    placement_make(PLACEMENT_EPLB, &shape, published[_i].load, 1, slot_expert);
    for (uint32_t slot = 0; slot < 16; slot++)
        ck_assert_msg(slot_expert[slot] == published[_i].slot_expert[slot],
                      "slot %u: expert %u, not %u", slot, slot_expert[slot],
                      published[_i].slot_expert[slot]);
}
END_TEST

// ---- properties --------------------------------------------------------------------------------

struct instance {
    struct placement_shape shape;
    double *load;
    uint32_t *slot_expert, *replicas;
};

static struct instance instance_draw(uint64_t seed)
{
    struct rng rng = rng_stream(seed, 1, 2, 3);
    struct instance instance;
    struct placement_shape *shape = &instance.shape;
    shape->nodes = 1 + rng_below(&rng, 4);
    shape->ranks = shape->nodes * (1 + rng_below(&rng, 8));
    // Groups that nodes divide, and groups that they do not.
    shape->groups = rng_below(&rng, 3) ? shape->nodes * (1 + rng_below(&rng, 3)) : 1;
    const uint32_t size = 1 + rng_below(&rng, 8);
    shape->experts = shape->groups * size;
    const uint32_t least = (shape->experts + shape->ranks - 1) / shape->ranks;
    shape->slots = shape->ranks * (least + rng_below(&rng, 3));
    instance.load = mem_alloc(shape->experts, sizeof(double));
    // Few distinct values, so that equal ones are common; some of zero.
    for (uint32_t e = 0; e < shape->experts; e++)
        instance.load[e] = rng_below(&rng, seed % 2 ? 5 : 1000);
    instance.slot_expert = mem_alloc(shape->slots, sizeof(uint32_t));
    instance.replicas = mem_alloc(shape->experts, sizeof(uint32_t));
    return instance;
}

static void instance_release(struct instance *instance)
{
    free(instance->load);
    free(instance->slot_expert);
    free(instance->replicas);
}

static void check_placed(struct instance *instance)
{
    const struct placement_shape *shape = &instance->shape;
    memset(instance->replicas, 0, shape->experts * sizeof(uint32_t));
    for (uint32_t slot = 0; slot < shape->slots; slot++) {
        ck_assert_uint_lt(instance->slot_expert[slot], shape->experts);
        instance->replicas[instance->slot_expert[slot]]++;
    }
    for (uint32_t e = 0; e < shape->experts; e++)
        ck_assert_uint_ge(instance->replicas[e], 1);
}

// The most load a replica of experts first .. first + count - 1, as they are replicated, and the
// least that any other shares of the same slots would leave: found by trying every way to give the
// redundant slots away.
static double best_share(const double *load, uint32_t count, uint32_t redundant, uint32_t *replicas)
{
    double best = INFINITY, most = 0;
    if (redundant == 0) {
        for (uint32_t e = 0; e < count; e++)
            most = fmax(most, load[e] / replicas[e]);
        return most;
    }
    for (uint32_t e = 0; e < count; e++) {
        replicas[e]++;
        best = fmin(best, best_share(load, count, redundant - 1, replicas));
        replicas[e]--;
    }
    return best;
}

// Giving each redundant slot to the expert with the most load a replica is optimal.
static void check_replicas_optimal(const struct instance *instance)
{
    const struct placement_shape *shape = &instance->shape;
    const uint32_t redundant = shape->slots - shape->experts;
    uint32_t ones[64];
    double most = 0;
    if (shape->experts > 6 || redundant > 5)
        return;
    for (uint32_t e = 0; e < shape->experts; e++) {
        ones[e] = 1;
        most = fmax(most, instance->load[e] / instance->replicas[e]);
    }
    ck_assert_double_eq(most, best_share(instance->load, shape->experts, redundant, ones));
}

// A group lives in one node, and each node has as many groups.
static void check_groups(const struct instance *instance)
{
    const struct placement_shape *shape = &instance->shape;
    const uint32_t size = shape->experts / shape->groups, room = shape->slots / shape->nodes;
    uint32_t groups[16] = {0}, node_of[64];
    for (uint32_t g = 0; g < shape->groups; g++)
        node_of[g] = UINT32_MAX;
    for (uint32_t slot = 0; slot < shape->slots; slot++) {
        const uint32_t g = instance->slot_expert[slot] / size, node = slot / room;
        ck_assert(node_of[g] == UINT32_MAX || node_of[g] == node);
        groups[node] += node_of[g] == UINT32_MAX;
        node_of[g] = node;
    }
    for (uint32_t node = 0; node < shape->nodes; node++)
        ck_assert_uint_eq(groups[node], shape->groups / shape->nodes);
}

// Longest first onto the least loaded: the busiest rank has at most the mean and one slot more than
// the largest that was there when ranks filled up, so never more than all of the largest slots.
static void check_packed(const struct instance *instance)
{
    const struct placement_shape *shape = &instance->shape;
    const uint32_t room = shape->slots / shape->ranks;
    float *weight = mem_alloc(shape->slots, sizeof *weight);
    double bound = 0, busiest = 0;
    for (uint32_t slot = 0; slot < shape->slots; slot++) {
        const uint32_t e = instance->slot_expert[slot];
        weight[slot] = (float)(instance->load[e] / instance->replicas[e]);
    }
    uint32_t *order = eplb_order(weight, shape->slots);
    for (uint32_t i = 0; i < room; i++)
        bound += (double)weight[order[(size_t)i * shape->ranks]];
    for (uint32_t r = 0; r < shape->ranks; r++) {
        double sum = 0;
        for (uint32_t i = 0; i < room; i++)
            sum += (double)weight[r * room + i];
        busiest = fmax(busiest, sum);
    }
    // Any packing that takes slots in falling order, a room's width at a time, keeps below the sum
    // of each width's largest.
    ck_assert_double_le(busiest, bound * (1 + 1e-5) + 1e-9);
    free(order);
    free(weight);
}

// Replicas of an expert stand on different ranks where it has no more of them than there are ranks.
static void check_apart(const struct instance *instance)
{
    const struct placement_shape *shape = &instance->shape;
    const uint32_t room = shape->slots / shape->ranks;
    for (uint32_t a = 0; a < shape->slots; a++)
        for (uint32_t b = a + 1; b < shape->slots && b / room == a / room; b++)
            if (instance->slot_expert[a] == instance->slot_expert[b])
                ck_assert_msg(instance->replicas[instance->slot_expert[a]] > 1, "slot twice");
}

START_TEST(random_instances)
{
    for (uint64_t seed = 0; seed < SCENE_CASES(10000); seed++) {
        struct instance instance = instance_draw(seed);
        const struct placement_shape *shape = &instance.shape;
        struct error err;
        ck_assert_msg(placement_check(shape, &err), "%s", err.text);
        for (enum placement_rule rule = 0; rule < PLACEMENT_SEARCH; rule++) {
            placement_make(rule, shape, instance.load, seed, instance.slot_expert);
            check_placed(&instance);
            const bool grouped = rule == PLACEMENT_EPLB && shape->groups % shape->nodes == 0;
            if (rule == PLACEMENT_EPLB_GLOBAL || (rule == PLACEMENT_EPLB && !grouped)) {
                check_replicas_optimal(&instance);
            }
            if (grouped)
                check_groups(&instance);
            if (rule == PLACEMENT_GREEDY)
                check_apart(&instance);
            if (rule == PLACEMENT_EPLB_GLOBAL)
                check_packed(&instance);
        }
        instance_release(&instance);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("eplb");
    TCase *tcase = tcase_create("eplb");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, published_example, 0, 2);
    tcase_add_test(tcase, random_instances);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

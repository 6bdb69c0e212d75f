// model/select against the rule written out: sort everything.
#include "base/rng.h"
#include "model/moe.h"
#include "model/select.h"
#include "tests/suite.h"

#include <stdlib.h>

static const struct selection shapes[] = {
    {.experts = 256, .topk = 8, .groups = 8, .topk_groups = 4, .worth = SELECT_TWO},
    {.experts = 256, .topk = 8, .groups = 8, .topk_groups = 8, .worth = SELECT_TWO},
    {.experts = 160, .topk = 6, .groups = 8, .topk_groups = 3, .worth = SELECT_BEST},
    {.experts = 64, .topk = 12, .groups = 8, .topk_groups = 2, .worth = SELECT_TWO},
    {.experts = 60, .topk = 5, .groups = 4, .topk_groups = 1, .worth = SELECT_TWO},
    {.experts = 16, .topk = 3, .groups = 16, .topk_groups = 3, .worth = SELECT_TWO},
    {.experts = 16, .topk = 1, .groups = 16, .topk_groups = 5, .worth = SELECT_BEST},
};

static int descending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

// Worth over (65535 - group), so that equal worths sort by group.
static uint64_t worth_of(const struct selection *shape, const uint32_t *keys, uint32_t group)
{
    uint32_t own[MOE_MAX_EXPERTS];
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t i = 0; i < size; i++)
        own[i] = keys[group * size + i];
    qsort(own, size, sizeof *own, descending);
    uint64_t worth = select_level(own[0]);
    if (shape->worth == SELECT_TWO && size > 1)
        worth += select_level(own[1]);
    return worth << 16 | (UINT16_MAX - group);
}

static void select_slowly(const struct selection *shape, const uint32_t *keys, uint32_t *best)
{
    uint32_t allowed[MOE_MAX_EXPERTS], count = 0;
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++) {
        uint32_t better = 0;
        for (uint32_t other = 0; other < shape->groups; other++)
            better += worth_of(shape, keys, other) > worth_of(shape, keys, g);
        for (uint32_t i = 0; better < shape->topk_groups && i < size; i++)
            allowed[count++] = keys[g * size + i];
    }
    qsort(allowed, count, sizeof *allowed, descending);
    for (uint32_t k = 0; k < shape->topk; k++)
        best[k] = allowed[k];
}

// Few levels, so that ties are common; and many.
START_TEST(as_sorted)
{
    static const uint32_t levels[] = {1, 3, 40, SELECT_LEVELS};
    const struct selection *shape = &shapes[_i];
    uint32_t keys[MOE_MAX_EXPERTS], best[MOE_MAX_TOPK], slow[MOE_MAX_TOPK];
    for (uint64_t draw = 0; draw < 400; draw++) {
        struct rng rng = rng_stream(9, draw, (uint64_t)_i, 0);
        for (uint32_t e = 0; e < shape->experts; e++)
            keys[e] = select_key(rng_below(&rng, levels[draw % 4]), e);
        select_experts(shape, keys, best);
        select_slowly(shape, keys, slow);
        ck_assert_mem_eq(best, slow, shape->topk * sizeof *best);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("select");
    TCase *core = tcase_create("core");
    tcase_add_loop_test(core, as_sorted, 0, SUITE_COUNT(shapes));
    suite_add_tcase(suite, core);
    return suite_run(suite);
}

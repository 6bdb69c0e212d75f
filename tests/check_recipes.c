// Recipes whole: every layer of DeepSeek-V3, 131,072 tokens, several seeds, against what was
// published. usage: check_recipes [SEEDS]; exit 1 when a figure is outside its bounds.
#include "tests/recipe_stats.h"

#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define MAX_LAYERS 58

struct scene {
    struct recipe recipe;
    struct moe moe;
    uint32_t layer[MAX_LAYERS];
    struct recipe_stats stats;
};

static void load(struct scene *scene, const char *recipe)
{
    struct error err;
    if (!recipe_load(recipe, &scene->recipe, NULL, &err) ||
        !moe_load(scene->recipe.model, &scene->moe, NULL, &err)) {
        fprintf(stderr, "check_recipes: %s\n", err.text);
        exit(EXIT_INPUT);
    }
    for (uint32_t l = 0; l < scene->moe.layers; l++)
        scene->layer[l] = l;
}

// How often two experts are chosen together, over what their loads alone would give: percentiles
// over pairs of the first layer, or of it and the second.
static void print_lift(const char *what, const uint64_t *together, const struct recipe_stats *stats,
                       bool next)
{
    const uint32_t experts = stats->experts;
    const uint64_t *other = stats->count + (next ? experts : 0);
    double *lift = mem_alloc((size_t)experts * experts, sizeof *lift);
    size_t pairs = 0;
    for (uint32_t a = 0; a < experts; a++)
        for (uint32_t b = next ? 0 : a + 1; b < experts; b++)
            lift[pairs++] = (double)together[(size_t)a * experts + b] * (double)stats->tokens /
                            ((double)stats->count[a] * (double)other[b]);
    gsl_sort(lift, 1, pairs);
    static const double fractions[] = {0.01, 0.1, 0.5, 0.9, 0.99};
    printf("  lift of pairs %s, percentiles 1/10/50/90/99:", what);
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++)
        printf(" %.2f", gsl_stats_quantile_from_sorted_data(lift, 1, pairs, fractions[i]));
    putchar('\n');
    free(lift);
}

static void count_together(uint64_t *together, const struct generated *window,
                           const struct recipe_stats *stats, bool next)
{
    for (uint64_t t = 0; t < window->count; t++) {
        const uint16_t *ids = window->ids + t * stats->layers * stats->topk;
        const uint16_t *other = ids + (next ? stats->topk : 0);
        for (uint32_t a = 0; a < stats->topk; a++)
            for (uint32_t b = 0; b < stats->topk; b++)
                if (next || ids[a] < ids[b])
                    together[(size_t)ids[a] * stats->experts + other[b]]++;
    }
}

static void make(struct scene *scene, uint64_t tokens, uint64_t seed)
{
    struct error err;
    const struct generator_def def = {&scene->recipe,    &scene->moe, scene->layer,
                                      scene->moe.layers, tokens,      seed};
    const double began = now_s();
    struct generator *generator = generator_new(&def, &err);
    const double solved = now_s();
    double made = 0;
    struct generated window;
    scene->stats = stats_new(&def);
    const size_t pairs = (size_t)scene->moe.experts * scene->moe.experts;
    uint64_t *together = mem_alloc(pairs, sizeof *together), *next = mem_alloc(pairs, sizeof *next);
    for (double from = now_s(); generator_next(generator, &window); from = now_s()) {
        made += now_s() - from;
        stats_add(&scene->stats, &window);
        count_together(together, &window, &scene->stats, false);
        count_together(next, &window, &scene->stats, true);
    }
    printf("%s, seed %llu: popularity in %.1f s, then %.2f million token-layers/s\n",
           scene->recipe.name, (unsigned long long)seed, solved - began,
           (double)(tokens * def.layers) / made / 1e6);
    print_lift("in a layer", together, &scene->stats, false);
    print_lift("from layer to layer", next, &scene->stats, true);
    free(together);
    free(next);
    generator_free(generator);
}

static int judge(const struct stats_bound *bounds, size_t count)
{
    int outside = 0;
    for (size_t i = 0; i < count; i++) {
        const bool good = bounds[i].value >= bounds[i].low && bounds[i].value <= bounds[i].high;
        printf("  %-20s %8.3f   %6.3f to %6.3f%s\n", bounds[i].what, bounds[i].value, bounds[i].low,
               bounds[i].high, good ? "" : "   OUTSIDE");
        outside += !good;
    }
    return outside;
}

static void print_lags(const struct recipe_stats *stats)
{
    printf("  common experts at lag");
    for (int i = 0; i < STATS_LAGS; i++)
        if (stats->pairs[i])
            printf(" %u: %.3f", stats_lags[i], stats_common(stats, i));
    printf("; by loads alone %.3f\n", stats_marginal(stats));
}

int main(int argc, char **argv)
{
    const uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 5;
    struct stats_bound mixed[BOUNDS_MIXED], single[BOUNDS_SINGLE];
    struct scene *scene = mem_alloc(1, sizeof *scene);
    int outside = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        load(scene, "deepseek-v3-mixed");
        make(scene, 131072, seed);
        bounds_mixed(&scene->stats, mixed);
        outside += judge(mixed, BOUNDS_MIXED);
        print_lags(&scene->stats);
        stats_release(&scene->stats);
        recipe_release(&scene->recipe);

        load(scene, "deepseek-v3-single-domain");
        make(scene, 8 * STATS_STEP, seed);
        bounds_single(&scene->stats, single);
        outside += judge(single, BOUNDS_SINGLE);
        stats_release(&scene->stats);
        recipe_release(&scene->recipe);
        fflush(stdout);
    }
    free(scene);
    printf("%d figures outside their bounds\n", outside);
    return outside ? EXIT_TOLERANCE : EXIT_DONE;
}

// scenario/choice and backing: the default dispatcher is the fastest that measured rows stand
// behind, on every cluster at every number of tokens, and says why.
#include "tests/sanitized.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include "base/preset.h"
#include "model/engine/estimate.h"
#include "scenario/choice.h"
#include "scenario/choice_places.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS 8192
#define SPARSER (SANITIZED ? 8 : 1) // how much farther apart numbers of tokens are

static char **clusters;
static size_t cluster_count;
static struct backing backing;

static struct scenario_def ask_on(const char *cluster, uint32_t ep, uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.cluster, cluster);
    def.ep = ep;
    def.tokens = tokens;
    return def;
}

static void open_asked(struct scenario *scenario, const struct scenario_def *def)
{
    struct error err;
    ck_assert_msg(scenario_open(scenario, def, &err), "%s: %s", def->cluster, err.text);
}

// The layer by estimate, and of it the experts' kernels; the dispatcher's name into `name` where it
// is wanted.
static double layer_us_of(const struct scenario_def *def, char *name, double *experts_us)
{
    struct scenario scenario;
    struct timing timing;
    struct error err;
    open_asked(&scenario, def);
    ck_assert_msg(scenario_run(&scenario, &engine_estimate, &timing, &err), "%s", err.text);
    const double us = timing_layer_ps(&timing) / 1e6;
    *experts_us = timing_span(&timing, PHASE_EXPERTS).latency_ps / 1e6;
    if (name)
        strcpy(name, scenario.dispatcher.name);
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

static double layer_us(const struct scenario_def *def, char *name)
{
    double experts_us;
    return layer_us_of(def, name, &experts_us);
}

// ---- no other that rows stand behind is faster -------------------------------------------------

static bool takes(const char *dispatcher, const struct cluster *cluster, uint32_t tokens)
{
    struct dispatcher loaded;
    struct error err;
    if (!preset_known("dispatchers", dispatcher))
        return false;
    ck_assert_msg(dispatcher_load(dispatcher, cluster, &loaded, NULL, &err), "%s", err.text);
    return tokens <= parts_max_tokens(&loaded);
}

static void expect_fastest(const char *name, uint32_t ep, uint32_t tokens)
{
    struct scenario_def def = ask_on(name, ep, tokens);
    struct scenario scenario;
    char chosen[FIELD_TEXT_BYTES];
    const double best = layer_us(&def, chosen);
    open_asked(&scenario, &def);
    for (size_t r = 0; r < backing.count; r++) {
        const struct backing_row *row = &backing.rows[r];
        if (strcmp(row->cluster, name) ||
            !backing_holds(&backing, row, &scenario.cluster, BACKING_CLUSTER) ||
            !takes(row->dispatcher, &scenario.cluster, tokens))
            continue;
        strcpy(def.dispatcher, row->dispatcher);
        const double other = layer_us(&def, NULL);
        ck_assert_msg(best <= 1.03 * other, "%s, EP%u, %u tokens: %s %.1f us, %s %.1f us", name, ep,
                      tokens, chosen, best, row->dispatcher, other);
    }
    scenario_release(&scenario);
}

START_TEST(none_is_faster)
{
    for (uint32_t tokens = 1; tokens <= MAX_TOKENS; tokens = tokens * SPARSER * 7 / 4 + 1)
        for (uint32_t ep = 0; ep <= 8; ep += 8) {
            struct scenario_def def = ask_on(clusters[_i], ep, tokens);
            struct place place;
            struct error err;
            if (!place_open(&place, &def, &err)) // fewer GPUs than that
                continue;
            place_release(&place);
            expect_fastest(clusters[_i], ep, tokens);
        }
}
END_TEST

// ---- no cliff ----------------------------------------------------------------------------------

// The rule of test_costs: of token counts 1 % apart, or by one where that is more, no layer is over
// 15 % longer, none shorter. With the dispatcher the experts' kernels change too, from masked rows
// in a graph to contiguous ones that are launched one by one: what they take longer is not its
// doing, and the whole step stays within 25 %.
static void expect_step(const char *name, uint32_t tokens)
{
    struct scenario_def here = ask_on(name, 0, tokens);
    struct scenario_def next = ask_on(name, 0, (uint32_t)ceil(tokens * 1.01));
    char before[FIELD_TEXT_BYTES], after[FIELD_TEXT_BYTES];
    double masked, contiguous;
    const double at = layer_us_of(&here, before, &masked);
    const double then = layer_us_of(&next, after, &contiguous);
    const double one = 1.0 / tokens;
    const double kernels = strcmp(before, after) ? fmax(0, contiguous - masked) : 0;
    ck_assert_msg(then - kernels <= (1 + fmax(0.15, one)) * at &&
                      then <= (1 + fmax(kernels > 0 ? 0.25 : 0.15, one)) * at && then >= at,
                  "%s: %u tokens %s %.2f us, %u tokens %s %.2f us, %.2f of it kernels", name,
                  here.tokens, before, at, next.tokens, after, then, kernels);
}

// The last number of tokens from low on, below high, that takes the same dispatcher as low.
static uint32_t last_alike(const char *name, uint32_t low, uint32_t high)
{
    char first[FIELD_TEXT_BYTES], at[FIELD_TEXT_BYTES];
    struct scenario_def def = ask_on(name, 0, low);
    layer_us(&def, first);
    while (high - low > 1) {
        def.tokens = low + (high - low) / 2;
        layer_us(&def, at);
        *(strcmp(first, at) ? &high : &low) = def.tokens;
    }
    return low;
}

START_TEST(no_cliff_at_a_switch)
{
    char first[FIELD_TEXT_BYTES], second[FIELD_TEXT_BYTES];
    for (uint32_t tokens = 1, next; tokens < MAX_TOKENS; tokens = next) {
        struct scenario_def def = ask_on(clusters[_i], 0, tokens);
        next = tokens * SPARSER * 3 / 2 + 1;
        layer_us(&def, first);
        expect_step(clusters[_i], tokens);
        def.tokens = next;
        layer_us(&def, second);
        if (strcmp(first, second))
            expect_step(clusters[_i], last_alike(clusters[_i], tokens, next));
    }
}
END_TEST

// ---- which rows --------------------------------------------------------------------------------

static const struct {
    const char *cluster;
    uint32_t ep, tokens;
    const char *why; // part of it
} reasons[] = {
    {"h800-cx7", 32, 128, "with rows of h800-cx7 across nodes"},
    {"h800-cx7", 8, 128, "with rows of h800 in one node"},
    {"h800-cx7:nic_effective=20GB/s", 32, 128, "with rows of h800-cx7 across nodes"},
    {"h800-cx7", 32, 4096, "the only one that takes so many tokens"},
    {"gb200-nvl72", 72, 128, "with rows of gb200 in one node"},
    {"b200-nvl8", 8, 128, "rows of b200 in one node are of 8192 tokens alone; "},
    {"b200-nvl8", 8, 128, "with rows of blackwell in one node"},
    {"h20-cx7", 16, 128, "no rows of h20-cx7 across nodes; "},
    {"h20-cx7", 16, 128, "with rows of hopper across nodes"},
    {"a100-nvl8", 8, 128, "with rows of nvidia in one node"},
    {"mi300x-cx7", 8, 128, "the only one with rows of amd in one node"},
    {"mi308x-cx7", 16, 128, "the only one with rows of cdna3 across nodes"},
    {"4x8:nvlink_effective=300GB/s,nic_effective=46GB/s", 32, 128,
     "with rows of hopper across nodes"},
    {"1x8:nvlink_effective=300GB/s,gpu=new", 8, 128, "with rows of any GPU in one node"},
};

START_TEST(why_is_said)
{
    const struct scenario_def def = ask_on(reasons[_i].cluster, reasons[_i].ep, reasons[_i].tokens);
    struct scenario scenario;
    open_asked(&scenario, &def);
    ck_assert_msg(strstr(scenario.choice.why, reasons[_i].why), "%s: '%s' is not in '%s'",
                  reasons[_i].cluster, reasons[_i].why, scenario.choice.why);
    ck_assert_str_eq(scenario.choice.dispatcher, scenario.dispatcher.name);
    scenario_release(&scenario);
}
END_TEST

START_TEST(asked_is_not_chosen)
{
    struct scenario_def def = ask_on("h800-cx7", 32, 4096);
    struct scenario scenario;
    strcpy(def.dispatcher, "deepep-ll");
    open_asked(&scenario, &def);
    ck_assert_str_eq(scenario.dispatcher.name, "deepep-ll");
    ck_assert_str_eq(scenario.choice.why, "");
    scenario_release(&scenario);
}
END_TEST

// A preset of rows in a folder of one's own, in force.
static void write_rows(const char *text)
{
    struct error err;
    scratch_make();
    mkdir(scratch_path("rows"), 0777);
    FILE *file = fopen(scratch_path("rows/mine.yaml"), "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    ck_assert_msg(preset_folder(scratch_folder, &err), "%s", err.text);
}

static void forget_rows(void)
{
    struct error err;
    ck_assert(preset_folder("", &err));
    scratch_clear();
}

// Rows of one's own machine stand behind its dispatchers.
START_TEST(own_rows_count)
{
    const struct scenario_def def =
        ask_on("4x8:name=mine,nvlink_effective=300GB/s,nic_effective=46GB/s", 32, 128);
    struct scenario scenario;
    write_rows(
        "rows:\n"
        "  - {dispatcher: nccl-flat, cluster: mine, gpu: \"\", architecture: \"\", nodes: 4, "
        "gpus_per_node: 8,"
        " dispatch: 3, combine: 3, min_tokens: 1, max_tokens: 4096}\n"
        "  - {dispatcher: deepep-normal, cluster: mine, gpu: \"\", architecture: \"\", nodes: 4,"
        " gpus_per_node: 8, dispatch: 3, combine: 0, min_tokens: 1, max_tokens: 4096}\n");
    open_asked(&scenario, &def);
    ck_assert_str_eq(scenario.dispatcher.name, "nccl-flat");
    ck_assert_str_eq(scenario.choice.why, "the only one with rows of mine across nodes");
    scenario_release(&scenario);
    forget_rows();
}
END_TEST

#define DECODE_ROW(dispatcher)                                                                     \
    "rows:\n  - {dispatcher: " dispatcher                                                          \
    ", cluster: mine, gpu: new, architecture: \"\", nodes: 1, "                                    \
    "gpus_per_node: 8, dispatch: 1, combine: 1, min_tokens: 128, max_tokens: 128}\n"

// The reason on a machine of an unknown GPU, and what was noticed. Freed by the caller.
static char *why_on_mine(char why[CHOICE_WHY_BYTES])
{
    const struct scenario_def def =
        ask_on("1x8:name=mine,gpu=new,nvlink_effective=300GB/s", 8, 128);
    struct scenario scenario;
    char *noticed = NULL;
    size_t length = 0;
    FILE *saved = stderr;
    stderr = open_memstream(&noticed, &length);
    open_asked(&scenario, &def);
    fclose(stderr);
    stderr = saved;
    strcpy(why, scenario.choice.why);
    scenario_release(&scenario);
    return noticed;
}

// Own rows of decoding alone: others stand beside them, of whom it is said whose they are.
START_TEST(own_rows_are_widened)
{
    char why[CHOICE_WHY_BYTES];
    write_rows(DECODE_ROW("nccl-flat"));
    free(why_on_mine(why));
    ck_assert_msg(strstr(why, "rows of new in one node are of 128 tokens alone; shortest"), "%s",
                  why);
    ck_assert_msg(strstr(why, "with rows of any GPU in one node"), "%s", why);
    forget_rows();
}
END_TEST

// Every preset of rows but one's own hidden.
START_TEST(own_rows_stand_alone)
{
    char why[CHOICE_WHY_BYTES], path[64];
    size_t own, count;
    char **names = preset_all("rows", &own, &count);
    write_rows(DECODE_ROW("nccl-flat"));
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "rows/%.40s.yaml", names[i]);
        scratch_write(path, "rows: []\n", strlen("rows: []\n"));
        free(names[i]);
    }
    free(names);
    free(why_on_mine(why));
    ck_assert_str_eq(why, "rows of new in one node are of 128 tokens alone; "
                          "the only one with rows of new in one node");
    forget_rows();
}
END_TEST

START_TEST(unknown_dispatcher_is_noticed)
{
    char why[CHOICE_WHY_BYTES];
    write_rows(DECODE_ROW("gone"));
    char *noticed = why_on_mine(why);
    ck_assert_msg(strstr(noticed, "rows of dispatcher gone: no such preset"), "%s", noticed);
    ck_assert_msg(strstr(why, "no rows of new in one node; "), "%s", why);
    free(noticed);
    forget_rows();
}
END_TEST

static const struct {
    const char *text, *wanted;
} bad_rows[] = {
    {"rows: 3\n", "rows: expected a list"},
    {"rows:\n  - {dispatcher: x}\n", "mine.yaml:2: cluster: missing"},
    {"rows:\n  - {dispatcher: x, cluster: x, gpu: x, architecture: x, nodes: 0, gpus_per_node: 8, "
     "dispatch: 1,"
     " combine: 1, min_tokens: 1, max_tokens: 1}\n",
     "mine.yaml:2: nodes"},
    {"rows:\n  - {dispatchr: x}\n", "did you mean 'dispatcher'?"},
};

START_TEST(bad_rows_are_refused)
{
    struct backing bad;
    struct error err;
    write_rows(bad_rows[_i].text);
    ck_assert(!backing_load(&bad, &err));
    ck_assert_msg(strstr(err.text, bad_rows[_i].wanted), "'%s' is not in '%s'", bad_rows[_i].wanted,
                  err.text);
    backing_release(&bad);
    forget_rows();
}
END_TEST

// Of every cluster it is known who makes its GPUs.
START_TEST(vendors_know_every_cluster)
{
    struct cluster cluster = cluster_default();
    struct error err;
    ck_assert_str_eq(backing_architecture(&backing, &cluster), "hopper");
    strcpy(cluster.gpu, "b300");
    ck_assert_str_eq(backing_architecture(&backing, &cluster), "blackwell");
    strcpy(cluster.gpu, "b30");
    ck_assert_str_eq(backing_architecture(&backing, &cluster), "");
    ck_assert_ptr_null(backing_vendor(&backing, ""));
    ck_assert_ptr_null(backing_vendor(&backing, "hoppe"));
    for (size_t c = 0; c < cluster_count; c++) {
        ck_assert_msg(cluster_load(clusters[c], &cluster, NULL, &err), "%s", err.text);
        ck_assert_msg(backing_vendor(&backing, backing_architecture(&backing, &cluster)),
                      "%s: architecture %s", clusters[c], cluster.architecture);
    }
}
END_TEST

// ---- over several at once ----------------------------------------------------------------------

static const struct choice_grid grids[] = {
    {.layer_count = 1, .step_count = 1},   {.layer_count = 3, .step_count = 5},
    {.layer_count = 4, .step_count = 8},   {.layer_count = 6, .step_count = 48},
    {.layer_count = 58, .step_count = 1},  {.layer_count = 2, .step_count = 1000},
    {.layer_count = 1, .step_count = 100},
};

// All of them where they are few; else many, each once, of every layer where there is room.
START_TEST(places_spread_evenly)
{
    const struct choice_grid *grid = &grids[_i];
    struct choice_place places[CHOICE_PLACES];
    const uint64_t all = grid->layer_count * grid->step_count;
    const size_t count = choice_spread(grid, places);
    ck_assert_uint_eq(count, all < CHOICE_PLACES ? all : CHOICE_PLACES);
    bool layers[64] = {false};
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_lt(places[i].layer, grid->layer_count);
        ck_assert_uint_lt(places[i].step, grid->step_count);
        layers[places[i].layer] = true;
        for (size_t j = 0; j < i; j++)
            ck_assert(places[i].layer != places[j].layer || places[i].step != places[j].step);
    }
    for (uint64_t l = 0; l < grid->layer_count && l < count; l++)
        ck_assert(layers[l]);
}
END_TEST

START_TEST(sum_decides)
{
    static const uint32_t tokens[] = {1, 2, 4096};
    struct chooser chooser;
    struct choice choice;
    struct error err;
    for (size_t i = 0; i < 3; i++) {
        const struct scenario_def def = ask_on("gb300-nvl8", 8, tokens[i]);
        struct scenario scenario;
        open_asked(&scenario, &def);
        if (i == 0)
            ck_assert_msg(chooser_open(&chooser, &scenario.cluster, &err), "%s", err.text);
        chooser_add(&chooser, &scenario);
        scenario_release(&scenario);
    }
    chooser_pick(&chooser, "3 token counts", &choice);
    double sum = INFINITY;
    for (size_t c = 0; c < chooser.count; c++)
        if (!chooser.candidates[c].beyond)
            sum = fmin(sum, chooser.candidates[c].layers_ps);
    for (size_t c = 0; c < chooser.count; c++)
        if (!strcmp(chooser.candidates[c].name, choice.dispatcher))
            ck_assert_double_eq(chooser.candidates[c].layers_ps, sum);
    chooser_release(&chooser);
}
END_TEST

// Replicas fill more ranks than there are experts, so no contiguous layout tells a layer's time.
START_TEST(nothing_added_is_said)
{
    struct scenario_def def = ask_on("h800-cx7", 16, 128);
    struct scenario scenario;
    strcpy(def.model, "mixtral-8x7b");
    def.unplaced = true;
    open_asked(&scenario, &def);
    ck_assert_str_eq(scenario.choice.why, "no layer could be laid out to choose by");
    ck_assert_str_eq(scenario.dispatcher.name, "deepep-normal");
    scenario_release(&scenario);
}
END_TEST

// A step beyond the trace ends it: no more is said than was added.
START_TEST(places_are_counted)
{
    const struct choice_place places[] = {{0, 0}, {1, 1}, {0, 100000}, {1, 0}};
    struct scenario_def def = ask_on("h800-cx7", 8, 64);
    struct scenario scenario;
    struct error err;
    strcpy(def.trace, "traces/minimoe-256e");
    open_asked(&scenario, &def);
    ck_assert_msg(choice_over_places(&scenario, places, 4, 4, &err), "%s", err.text);
    ck_assert_msg(strstr(scenario.choice.why, " over 2 of 4 places of the trace"), "%s",
                  scenario.choice.why);
    ck_assert_msg(choice_over_places(&scenario, places + 2, 2, 4, &err), "%s", err.text);
    ck_assert_str_eq(scenario.choice.why, "no layer could be laid out to choose by");
    scenario_release(&scenario);
}
END_TEST

int main(void)
{
    size_t own;
    struct error err;
    clusters = preset_all("clusters", &own, &cluster_count);
    if (!backing_load(&backing, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    Suite *suite = suite_create("choice");
    TCase *tests = tcase_create("choice");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, none_is_faster, 0, (int)cluster_count);
    tcase_add_loop_test(tests, no_cliff_at_a_switch, 0, (int)cluster_count);
    tcase_add_loop_test(tests, why_is_said, 0, SUITE_COUNT(reasons));
    tcase_add_test(tests, asked_is_not_chosen);
    tcase_add_test(tests, own_rows_count);
    tcase_add_test(tests, own_rows_are_widened);
    tcase_add_test(tests, own_rows_stand_alone);
    tcase_add_test(tests, unknown_dispatcher_is_noticed);
    tcase_add_loop_test(tests, bad_rows_are_refused, 0, SUITE_COUNT(bad_rows));
    tcase_add_test(tests, vendors_know_every_cluster);
    tcase_add_loop_test(tests, places_spread_evenly, 0, SUITE_COUNT(grids));
    tcase_add_test(tests, sum_decides);
    tcase_add_test(tests, nothing_added_is_said);
    tcase_add_test(tests, places_are_counted);
    suite_add_tcase(suite, tests);
    const int failed = suite_run(suite);
    for (size_t c = 0; c < cluster_count; c++)
        free(clusters[c]);
    free(clusters);
    backing_release(&backing);
    return failed;
}

// study/replay: every place as simulate and estimate alone have it, percentiles as sorted values
// have them, and figures that depend on nothing but what was asked.
#include "study/replay.h"
#include "base/mem.h"
#include "base/rng.h"
#include "study/engines.h"
#include "study/replay_timeline.h"
#include "tests/scene.h"
#include "tests/scratch.h"
#include "tests/suite.h"
#include "base/formats/npy.h"

#include <jansson.h>
#include <omp.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define BUNDLED "traces/minimoe-256e"

static struct scenario_def def_of(const char *trace, uint32_t ep, uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.trace, trace);
    def.ep = ep;
    def.tokens = tokens;
    return def;
}

// ---- traces ------------------------------------------------------------------------------------

#define LAYERS 3
#define EXPERTS 64
#define TOPK 8

// The expert of a token's k-th choice.
typedef uint8_t chooser(uint64_t token, uint32_t layer, uint32_t k);

// Of 8 ranks with 8 experts each, one each: no rank serves more than another.
static uint8_t choose_even(uint64_t token, uint32_t layer, uint32_t k)
{
    return (uint8_t)(k * 8 + (token + layer) % 8);
}

// The first layer's on rank 2, the others' spread.
static uint8_t choose_hot(uint64_t token, uint32_t layer, uint32_t k)
{
    return layer == 0 ? (uint8_t)(2 * 8 + k) : choose_even(token, layer, k);
}

static uint8_t choose_by_chance(uint64_t token, uint32_t layer, uint32_t k)
{
    struct rng rng = rng_stream(5, token, layer, 0);
    return (uint8_t)(k * 8 + rng_below(&rng, 8) * rng_below(&rng, 8) / 8);
}

// In the scratch folder, with three layers; rows of steps.npy or NULL.
static void write_trace(chooser *choose, uint32_t tokens, const uint32_t *steps)
{
    static const char manifest[] = "name: made\nhidden: 1024\nexperts: 64\ntopk: 8\n"
                                   "intermediate: 512\nlayer_ids: [3, 4, 9]\n";
    const uint64_t shape[] = {tokens, LAYERS, TOPK}, rows[] = {tokens, 2};
    uint8_t *ids = mem_alloc((size_t)tokens * LAYERS * TOPK, 1);
    struct error err;
    for (uint64_t i = 0; i < (uint64_t)tokens * LAYERS * TOPK; i++)
        ids[i] = choose(i / TOPK / LAYERS, (uint32_t)(i / TOPK % LAYERS), (uint32_t)(i % TOPK));
    scratch_write("trace.yaml", manifest, sizeof manifest - 1);
    ck_assert(npy_write(scratch_path("expert_ids.npy"), NPY_U8, shape, 3, ids, &err));
    if (steps)
        ck_assert(npy_write(scratch_path("steps.npy"), NPY_U32, rows, 2, steps, &err));
    free(ids);
}

// Steps of 8 ranks, whose every rank has counts[step] tokens but the last, which has half.
static void write_uneven_trace(const uint32_t *counts, uint32_t count)
{
    uint32_t *rows = NULL, tokens = 0;
    for (uint32_t step = 0; step < count; step++)
        for (uint32_t i = 0; i < counts[step] * 8 - counts[step] / 2; i++) {
            rows = mem_grow(rows, (size_t)2 * (tokens + 1), sizeof *rows);
            rows[2 * tokens] = step;
            rows[2 * tokens++ + 1] = i / counts[step];
        }
    write_trace(choose_by_chance, tokens, rows);
    free(rows);
}

// ---- as each place alone -----------------------------------------------------------------------

struct seen {
    uint32_t layer;
    uint64_t step, routed_ps[REPLAY_FIGURES], balanced_ps[REPLAY_FIGURES], timing;
    uint32_t hottest, slowest;
    double max_mean;
};

struct visits {
    struct seen seen[4096];
    size_t count;
    uint64_t total;
    char dispatcher[FIELD_TEXT_BYTES]; // of all places
};

static void note(void *context, const struct replay_place *place)
{
    struct visits *visits = context;
    struct seen *seen = &visits->seen[visits->count++];
    memset(seen, 0, sizeof *seen); // padding too: visits are compared whole
    seen->layer = place->layer;
    seen->step = place->step;
    memcpy(seen->routed_ps, place->routed_ps, sizeof seen->routed_ps);
    memcpy(seen->balanced_ps, place->balanced_ps, sizeof seen->balanced_ps);
    seen->timing = timing_hash(place->timing);
    seen->hottest = place->hottest;
    seen->slowest = place->slowest;
    seen->max_mean = place->max_mean;
    ck_assert_uint_eq(place->done, visits->count);
    visits->total = place->total;
    if (visits->count == 1)
        strcpy(visits->dispatcher, place->dispatcher);
    ck_assert_str_eq(place->dispatcher, visits->dispatcher);
}

static void run(struct replay *replay, const struct replay_def *asked, struct visits *visits)
{
    struct error err;
    visits->count = 0;
    ck_assert_msg(replay_open(replay, asked, &err), "%s", err.text);
    ck_assert_msg(replay_run(replay, note, visits, &err), "%s", err.text);
    ck_assert_uint_eq(visits->count, replay->steps * replay->layer_count);
    ck_assert_uint_eq(visits->count, visits->total);
}

static void expect_alone(const struct replay_def *asked, const struct visits *visits,
                         const struct seen *seen)
{
    struct scenario_def def = asked->scenario;
    struct scenario scenario;
    struct timing timing;
    struct error err;
    def.layer = seen->layer;
    def.step = seen->step;
    strcpy(def.dispatcher, visits->dispatcher);
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    ck_assert_msg(scenario_run(&scenario, asked->engine, &timing, &err), "%s", err.text);
    ck_assert_uint_eq(seen->timing, timing_hash(&timing));
    ck_assert_double_eq((double)seen->routed_ps[REPLAY_LAYER], timing_layer_ps(&timing));
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        if (scenario.schedule->present[phase])
            ck_assert_double_eq((double)seen->routed_ps[phase],
                                timing_span(&timing, phase).latency_ps);
    timing_release(&timing);
    scenario_release(&scenario);
}

static const struct {
    const struct engine *engine;
    uint32_t ep, tokens;
    double skew_us;
    bool aligned;
    const char *layout;
    uint32_t layers[2], steps[3];
    size_t layer_count, step_count;
} alone[] = {
    {&engine_simulate, 8, 1024, 0, false, "contiguous", {0}, {0}, 0, 0},
    {&engine_simulate, 32, 16, 20, false, "round-robin", {1, 4}, {0, 7, 40}, 2, 3},
    {&engine_simulate, 16, 300, 0, true, "contiguous", {5}, {1}, 1, 1},
    {&engine_estimate, 32, 256, 0, false, "contiguous", {0}, {0}, 0, 0},
    {&engine_estimate, 8, 32, 5, true, "contiguous", {2}, {90, 91}, 1, 2},
};

START_TEST(places_are_as_alone)
{
    static struct visits visits;
    struct replay replay;
    struct replay_def asked = {.scenario = def_of(BUNDLED, alone[_i].ep, alone[_i].tokens),
                               .engine = alone[_i].engine,
                               .layers = alone[_i].layers,
                               .steps = alone[_i].steps,
                               .layer_count = alone[_i].layer_count,
                               .step_count = alone[_i].step_count};
    strcpy(asked.scenario.layout, alone[_i].layout);
    asked.scenario.skew_us = alone[_i].skew_us;
    asked.scenario.aligned = alone[_i].aligned;
    run(&replay, &asked, &visits);
    for (size_t i = 0; i < visits.count; i++) {
        const size_t l = i % replay.layer_count, s = i / replay.layer_count;
        ck_assert_uint_eq(visits.seen[i].layer, asked.layer_count ? asked.layers[l] : l);
        ck_assert_uint_eq(visits.seen[i].step, asked.step_count ? asked.steps[s] : s);
        expect_alone(&asked, &visits, &visits.seen[i]);
    }
    replay_release(&replay);
}
END_TEST

// Where steps differ in size, all have the dispatcher whose layers are shortest in sum.
START_TEST(steps_of_any_size)
{
    static const uint32_t counts[] = {4, 300, 16, 2, 257, 256};
    static struct visits visits;
    struct replay replay;
    const struct replay_def asked = {.scenario = def_of(scratch_folder, 8, 0),
                                     .engine = &engine_simulate};
    write_uneven_trace(counts, sizeof counts / sizeof counts[0]);
    run(&replay, &asked, &visits);
    ck_assert_uint_eq(replay.steps, sizeof counts / sizeof counts[0]);
    for (size_t i = 0; i < visits.count; i++)
        expect_alone(&asked, &visits, &visits.seen[i]);
    ck_assert_str_ne(replay.scenario.choice.why, "");
    ck_assert_str_eq(visits.dispatcher, replay.scenario.choice.dispatcher);
    replay_release(&replay);
}
END_TEST

// What places extrapolate is told of all of them, once, with how many they are.
START_TEST(extrapolates_with_a_count)
{
    static const uint32_t counts[] = {4, 300, 16, 2, 257, 256};
    struct replay_def asked = {.scenario = def_of(scratch_folder, 8, 0),
                               .engine = &engine_estimate};
    struct extrapolation all = {0}, one_by_one = {0};
    struct replay replay;
    struct fits fits;
    struct error err;
    strcpy(asked.scenario.dispatcher, "deepep-ll");
    write_uneven_trace(counts, sizeof counts / sizeof counts[0]);
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert_msg(replay_open(&replay, &asked, &err), "%s", err.text);
    ck_assert_msg(replay_extrapolates(&replay, &fits, &all, &err), "%s", err.text);
    ck_assert_uint_eq(all.predictions, 6 * LAYERS);
    for (uint64_t step = 0; step < replay.steps; step++) {
        ck_assert_msg(scenario_seek(&replay.scenario, 0, step, &err), "%s", err.text);
        ck_assert_msg(scenario_prepare(&replay.scenario, &engine_estimate, &err), "%s", err.text);
        extrapolation_find(&one_by_one, &fits, &replay.scenario, LAYERS);
    }
    ck_assert_uint_eq(all.outside, one_by_one.outside);
    char *text = extrapolation_text(&all), *other = extrapolation_text(&one_by_one);
    ck_assert_str_eq(text, other);
    ck_assert_ptr_nonnull(strstr(text, "18 of 18 predictions: "));
    free(text);
    free(other);
    extrapolation_release(&all);
    extrapolation_release(&one_by_one);
    fits_release(&fits);
    replay_release(&replay);
}
END_TEST

// A step that cannot be read is not passed over.
START_TEST(extrapolates_only_what_it_reads)
{
    static const uint32_t counts[] = {4, 300, 16}, steps[] = {0, 99, 1};
    const struct replay_def asked = {.scenario = def_of(scratch_folder, 8, 0),
                                     .engine = &engine_estimate,
                                     .steps = steps,
                                     .step_count = 3};
    struct extrapolation all = {0};
    struct replay replay;
    struct fits fits;
    struct error err = {0};
    write_uneven_trace(counts, sizeof counts / sizeof counts[0]);
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert_msg(replay_open(&replay, &asked, &err), "%s", err.text);
    ck_assert(!replay_extrapolates(&replay, &fits, &all, &err));
    ck_assert_msg(strstr(err.text, "99") != NULL, "%s", err.text);
    extrapolation_release(&all);
    fits_release(&fits);
    replay_release(&replay);
}
END_TEST

// ---- figures over steps ------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Of sorted values, the first that enough of them do not exceed.
static uint64_t nearest_rank(const uint64_t *sorted, size_t count, size_t per_cent)
{
    size_t place = 0;
    while ((place + 1) * 100 < per_cent * count)
        place++;
    return sorted[place];
}

static void expect_quantiles(const struct replay_layer *layer, enum replay_figure figure,
                             uint64_t *values, size_t count, double balanced_ps)
{
    static const size_t shares[] = {50, 90, 99, 100};
    double sum = 0;
    qsort(values, count, sizeof *values, by_value);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        ck_assert_double_eq(quantiles_at(&layer->routed[figure], (double)shares[i] / 100),
                            (double)nearest_rank(values, count, shares[i]));
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i];
    ck_assert_double_eq_tol(replay_cost_ps(layer, figure), (sum - balanced_ps) / (double)count,
                            1e-9 * sum + 1e-9);
}

// Percentiles of a layer are of its places; in all, of sums over a step's layers.
START_TEST(percentiles_are_over_steps)
{
    static struct visits visits;
    struct replay replay;
    const struct replay_def asked = {.scenario = def_of(BUNDLED, 8, 32),
                                     .engine = &engine_estimate};
    run(&replay, &asked, &visits);
    const size_t layers = replay.layer_count, steps = visits.count / layers;
    uint64_t *values = mem_alloc(steps, sizeof *values), *sums = mem_alloc(steps, sizeof *sums);
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
        double all_balanced_ps = 0;
        memset(sums, 0, steps * sizeof *sums);
        for (size_t l = 0; l < layers; l++) {
            double balanced_ps = 0;
            for (size_t s = 0; s < steps; s++) {
                const struct seen *seen = &visits.seen[s * layers + l];
                values[s] = seen->routed_ps[figure];
                sums[s] += values[s];
                balanced_ps += (double)seen->balanced_ps[figure];
            }
            all_balanced_ps += balanced_ps;
            expect_quantiles(&replay.layers[l], figure, values, steps, balanced_ps);
        }
        expect_quantiles(&replay.all, figure, sums, steps, all_balanced_ps);
    }
    free(values);
    free(sums);
    replay_release(&replay);
}
END_TEST

static uint64_t count_rank(const struct visits *visits, uint32_t layer, uint32_t rank, bool hottest)
{
    uint64_t times = 0;
    for (size_t i = 0; i < visits->count; i++) {
        const struct seen *seen = &visits->seen[i];
        times += (layer == UINT32_MAX || seen->layer == layer) &&
                 (hottest ? seen->hottest : seen->slowest) == rank;
    }
    return times;
}

START_TEST(ranks_are_counted)
{
    static struct visits visits;
    struct replay replay;
    const struct replay_def asked = {.scenario = def_of(BUNDLED, 16, 64),
                                     .engine = &engine_estimate};
    run(&replay, &asked, &visits);
    uint64_t choices = 0, layer_choices = 0;
    for (uint32_t r = 0; r < replay.ranks; r++) {
        const struct replay_rank *one = &replay.layers[1].ranks[r], *all = &replay.all.ranks[r];
        ck_assert_uint_eq(one->hottest, count_rank(&visits, 1, r, true));
        ck_assert_uint_eq(one->slowest, count_rank(&visits, 1, r, false));
        ck_assert_uint_eq(all->hottest, count_rank(&visits, UINT32_MAX, r, true));
        ck_assert_uint_eq(all->slowest, count_rank(&visits, UINT32_MAX, r, false));
        ck_assert_double_ge(one->max_ratio, (double)one->choices / (24576.0 * 8 / 16) - 1e-9);
        layer_choices += one->choices;
        choices += all->choices;
    }
    ck_assert_uint_eq(layer_choices, 24576 * 8);
    ck_assert_uint_eq(choices, 6 * layer_choices);
    replay_release(&replay);
}
END_TEST

// ---- imbalance ---------------------------------------------------------------------------------

static const struct engine *const engines[] = {&engine_simulate, &engine_estimate};
static const char *const dispatchers[] = {"deepep-ll", "deepep-normal", "nccl-flat",
                                          "nccl-two-stage"};

// A trace that is even costs nothing, to the picosecond, and has no hottest rank; one hot layer is
// all that costs, and its rank is named.
START_TEST(imbalance_is_what_is_uneven)
{
    static struct visits visits;
    struct replay_def asked = {.scenario = def_of(scratch_folder, 8, 64)};
    for (int hot = 0; hot < 2; hot++)
        for (size_t e = 0; e < 2 * sizeof dispatchers / sizeof dispatchers[0]; e++) {
            struct replay replay;
            write_trace(hot ? choose_hot : choose_even, 8 * 64 * 3, NULL);
            asked.engine = engines[e % 2];
            strcpy(asked.scenario.dispatcher, dispatchers[e / 2]);
            strcpy(asked.scenario.cluster, "2x4:nvlink_effective=138GB/s,nic_effective=46GB/s");
            run(&replay, &asked, &visits);
            for (uint32_t l = 0; l < LAYERS; l++) {
                const struct replay_layer *layer = &replay.layers[l];
                const double cost_ps = replay_cost_ps(layer, REPLAY_LAYER);
                const struct replay_rank *max = replay_hottest(&replay, layer);
                if (hot && l == 0)
                    ck_assert_msg(cost_ps > 0 && max == &layer->ranks[2] && max->hottest == 3,
                                  "%s: hot costs %g", dispatchers[e / 2], cost_ps);
                else
                    ck_assert_msg(cost_ps == 0 && !max, "%s: even costs %g", dispatchers[e / 2],
                                  cost_ps);
            }
            replay_release(&replay);
        }
}
END_TEST

// ---- what must not matter ----------------------------------------------------------------------

// Adds every figure of a replay to a hash.
static uint64_t hash_of(const struct replay *replay)
{
    uint64_t hash = 0;
    for (uint32_t l = 0; l <= replay->layer_count; l++) {
        const struct replay_layer *layer =
            l < replay->layer_count ? &replay->layers[l] : &replay->all;
        for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
            double values[4] = {quantiles_at(&layer->routed[figure], 0.5),
                                quantiles_at(&layer->routed[figure], 0.99),
                                quantiles_mean(&layer->routed[figure]), layer->balanced_ps[figure]};
            uint64_t words[4];
            memcpy(words, values, sizeof words);
            for (int i = 0; i < 4; i++)
                hash = rng_mix(hash ^ words[i]);
        }
        for (uint32_t r = 0; r < replay->ranks; r++)
            hash = rng_mix(hash ^ layer->ranks[r].choices ^ (uint64_t)layer->ranks[r].experts_ps);
    }
    return hash;
}

START_TEST(threads_do_not_matter)
{
    static struct visits first, other;
    struct replay replay;
    const struct replay_def asked = {.scenario = def_of(BUNDLED, _i ? 8 : 32, 32),
                                     .engine = engines[_i],
                                     .steps = (const uint32_t[]){0, 1, 2, 5},
                                     .step_count = _i ? 0 : 4}; // several blocks, or one
    omp_set_num_threads(1);
    run(&replay, &asked, &first);
    const uint64_t hash = hash_of(&replay);
    replay_release(&replay);
    for (int threads = 2; threads <= 5; threads += 3) {
        omp_set_num_threads(threads);
        run(&replay, &asked, &other);
        ck_assert_uint_eq(hash_of(&replay), hash);
        ck_assert_mem_eq(other.seen, first.seen, first.count * sizeof *first.seen);
        replay_release(&replay);
    }
}
END_TEST

// A step whose source rank is not there: the first such place, whatever the threads.
START_TEST(says_the_first_place_that_fails)
{
    const struct replay_def asked = {.scenario = def_of(scratch_folder, 4, 0),
                                     .engine = &engine_estimate};
    uint32_t rows[2 * 80];
    for (uint32_t t = 0; t < 80; t++) {
        rows[2 * t] = t / 4;
        rows[2 * t + 1] = t % 4 + (t / 4 == 7 || t / 4 == 12 ? 4 : 0);
    }
    write_trace(choose_even, 80, rows);
    for (int threads = 1; threads <= 3; threads++) {
        struct replay replay;
        struct error err;
        omp_set_num_threads(threads);
        ck_assert_msg(replay_open(&replay, &asked, &err), "%s", err.text);
        ck_assert(!replay_run(&replay, NULL, NULL, &err));
        ck_assert_msg(!strncmp(err.text, "layer 0, step 7: ", 17) &&
                          strstr(err.text, "token 28: source rank 4"),
                      "%s", err.text);
        ck_assert_int_eq(err.code, EXIT_INPUT);
        replay_release(&replay);
    }
}
END_TEST

static const struct {
    uint32_t layer, step;
    const char *message;
} lacking[] = {
    {6, 0, "--layer: 6: expected 0 to 5, the trace's layers"},
    {0, 48, "--step: 48: expected 0 to 47, the trace's steps"},
};

START_TEST(refuses_what_the_trace_lacks)
{
    const struct replay_def asked = {.scenario = def_of(BUNDLED, 8, 64),
                                     .engine = &engine_estimate,
                                     .layers = (const uint32_t[]){0, lacking[_i].layer},
                                     .steps = (const uint32_t[]){0, lacking[_i].step},
                                     .layer_count = 2,
                                     .step_count = 2};
    struct replay replay;
    struct error err;
    ck_assert(!replay_open(&replay, &asked, &err));
    ck_assert_str_eq(err.text, lacking[_i].message);
}
END_TEST

// ---- memory ------------------------------------------------------------------------------------

#if !SANITIZED // shadow memory and quarantine are most of it there
// Peak resident size of a replay in a process of its own, in KiB.
static long peak_of(uint32_t tokens)
{
    struct rusage usage;
    int status;
    write_trace(choose_even, tokens, NULL);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const struct replay_def asked = {.scenario = def_of(scratch_folder, 8, 64),
                                         .engine = &engine_estimate};
        struct replay replay;
        struct error err;
        omp_set_num_threads(1);
        const bool ok = replay_open(&replay, &asked, &err) && replay_run(&replay, NULL, NULL, &err);
        _exit(ok ? 0 : 1);
    }
    ck_assert_int_eq(wait4(child, &status, 0, &usage), child);
    ck_assert_int_eq(status, 0);
    return usage.ru_maxrss;
}

// Ten times the steps (and 25 MB of trace) in as much memory, but for what the kernel maps of a
// file at once (2 MiB) and bins instead of the first 2,048 values.
START_TEST(memory_is_flat)
{
    const uint32_t tokens = 8 * 64 * 210;
    const long once = peak_of(tokens), ten = peak_of(10 * tokens);
    ck_assert_msg(ten - once < 4096, "%ld KiB for ten times what takes %ld KiB", ten, once);
}
END_TEST

#endif

// ---- the timeline ------------------------------------------------------------------------------

struct drawing {
    struct replay_timeline timeline;
    uint32_t layers;
    uint64_t layer_ps;
};

static void draw(void *context, const struct replay_place *place)
{
    struct drawing *drawing = context;
    drawing->layer_ps += place->routed_ps[REPLAY_LAYER];
    replay_timeline_add(&drawing->timeline, place, drawing->layers);
}

static json_t *timeline_of(const struct replay_def *asked, uint64_t max, struct drawing *drawing)
{
    char *text;
    size_t length;
    struct replay replay;
    struct error err;
    FILE *out = open_memstream(&text, &length);
    ck_assert_msg(replay_open(&replay, asked, &err), "%s", err.text);
    *drawing = (struct drawing){.layers = replay.layer_count};
    replay_timeline_begin(&drawing->timeline, out, max);
    ck_assert_msg(replay_run(&replay, draw, drawing, &err), "%s", err.text);
    replay_timeline_end(&drawing->timeline, "simulate");
    fclose(out);
    json_error_t error;
    json_t *json = json_loadb(text, length, 0, &error);
    ck_assert_msg(json != NULL, "line %d: %s", error.line, error.text);
    free(text);
    replay_release(&replay);
    return json;
}

// End of the last event that begins with a name, and how many there are.
static double last_end_us(const json_t *json, const char *name, size_t *count)
{
    double last = 0;
    size_t i;
    const json_t *event;
    *count = 0;
    json_array_foreach(json_object_get(json, "traceEvents"), i, event)
    {
        const char *what = json_string_value(json_object_get(event, "name"));
        if (strncmp(what, name, strlen(name)) != 0 || !json_object_get(event, "dur"))
            continue;
        (*count)++;
        last = fmax(last, json_number_value(json_object_get(event, "ts")) +
                              json_number_value(json_object_get(event, "dur")));
    }
    return last;
}

START_TEST(timeline_goes_on)
{
    const struct replay_def asked = {.scenario = def_of(BUNDLED, 8, 64),
                                     .engine = &engine_simulate,
                                     .layers = (const uint32_t[]){1, 3},
                                     .steps = (const uint32_t[]){2, 4, 5},
                                     .layer_count = 2,
                                     .step_count = 3};
    struct drawing drawing;
    size_t count;
    json_t *json = timeline_of(&asked, REPLAY_TIMELINE_EVENTS, &drawing);
    ck_assert_double_eq_tol(last_end_us(json, "step ", &count), (double)drawing.layer_ps / 1e6,
                            1e-5);
    ck_assert_uint_eq(count, 3);
    ck_assert_double_eq_tol(last_end_us(json, "layer 3", &count), (double)drawing.layer_ps / 1e6,
                            1e-5);
    ck_assert_uint_eq(count, 3);
    ck_assert_double_eq_tol(last_end_us(json, "shared", &count), (double)drawing.layer_ps / 1e6,
                            1e-5);
    ck_assert_uint_eq(count, 2 * 3 * 8);
    ck_assert_uint_eq(drawing.timeline.steps, 3);
    json_decref(json);
}
END_TEST

// Whole steps, and no more of them than fit.
START_TEST(timeline_ends)
{
    enum { MAX_VALUE = 3000, STEP = 6 * (1 + 6 * 8) + 1 }; // deepep-ll has six phases
    struct replay_def asked = {.scenario = def_of(BUNDLED, 8, 128), .engine = &engine_estimate};
    struct drawing drawing;
    size_t steps, layers;
    json_t *json = timeline_of(&asked, MAX_VALUE, &drawing);
    last_end_us(json, "step ", &steps);
    last_end_us(json, "layer ", &layers);
    ck_assert_uint_eq(steps, drawing.timeline.steps);
    ck_assert_uint_eq(layers, 6 * steps);
    ck_assert_uint_eq(steps, MAX_VALUE / STEP);
    ck_assert_uint_eq(drawing.timeline.events, steps * STEP);
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replay");
    TCase *tests = tcase_create("replay");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, places_are_as_alone, 0, SUITE_COUNT(alone));
    tcase_add_test(tests, steps_of_any_size);
    tcase_add_test(tests, extrapolates_with_a_count);
    tcase_add_test(tests, extrapolates_only_what_it_reads);
    tcase_add_test(tests, percentiles_are_over_steps);
    tcase_add_test(tests, ranks_are_counted);
    tcase_add_test(tests, imbalance_is_what_is_uneven);
    tcase_add_loop_test(tests, threads_do_not_matter, 0, SUITE_COUNT(engines));
    tcase_add_test(tests, says_the_first_place_that_fails);
    tcase_add_loop_test(tests, refuses_what_the_trace_lacks, 0, SUITE_COUNT(lacking));
#if !SANITIZED
    tcase_add_test(tests, memory_is_flat);
#endif
    tcase_add_test(tests, timeline_goes_on);
    tcase_add_test(tests, timeline_ends);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

#include "study/replay.h"

#include "base/mem.h"
#include "scenario/choice_places.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// Places of a block, which threads share before they are folded in order: enough that they seldom
// wait for the last, in as much memory, but a few a thread at least.
#define MAX_PER_THREAD 16
#define MIN_PER_THREAD 4
#define BLOCK_BYTES (64u << 20)

const char *replay_figure_name(enum replay_figure figure)
{
    return figure == REPLAY_LAYER ? "layer" : phase_names[figure];
}

// ---- one place ---------------------------------------------------------------------------------

// A place that is in hand: what its visitor is told, and what that borrows.
struct item {
    struct replay_place place;
    char dispatcher[FIELD_TEXT_BYTES];
    struct timing timing;
    uint64_t *choices; // [ranks]
};

// A thread's own.
struct worker {
    struct scenario scenario; // at the place in hand
    struct error err;
    uint64_t failed; // the first place that did; UINT64_MAX: none
};

static void note_times(const bool present[PHASE_COUNT], const struct timing *timing,
                       uint64_t times_ps[REPLAY_FIGURES])
{
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        times_ps[phase] = present[phase] ? (uint64_t)timing_span(timing, phase).latency_ps : 0;
    times_ps[REPLAY_LAYER] = (uint64_t)timing_layer_ps(timing);
}

// The first of the largest; UINT32_MAX where all are equal.
static uint32_t first_max(const uint64_t *values, uint32_t count)
{
    uint32_t max = 0;
    bool alike = true;
    for (uint32_t i = 1; i < count; i++) {
        alike = alike && values[i] == values[0];
        max = values[i] > values[max] ? i : max;
    }
    return alike ? UINT32_MAX : max;
}

static void note_choices(struct item *item, const struct loads *loads)
{
    uint64_t total = 0, max = 0;
    for (uint32_t rank = 0; rank < loads->ranks; rank++) {
        uint64_t served = 0;
        for (uint32_t source = 0; source < loads->ranks; source++)
            served += (uint64_t)loads->expert_copies[(size_t)source * loads->ranks + rank];
        item->choices[rank] = served;
        total += served;
        max = served > max ? served : max;
    }
    item->place.max_mean = total ? (double)max * loads->ranks / (double)total : 1;
    item->place.hottest = first_max(item->choices, loads->ranks);
}

static bool run_item(struct worker *worker, const struct engine *engine, struct item *item,
                     struct error *err)
{
    struct scenario *scenario = &worker->scenario;
    struct replay_place *place = &item->place;
    struct timing balanced;
    if (!scenario_seek(scenario, place->layer, place->step, err) ||
        !scenario_run(scenario, engine, &item->timing, err))
        return false;
    memcpy(place->present, scenario->schedule->present, sizeof place->present);
    memcpy(item->dispatcher, scenario->dispatcher.name, sizeof item->dispatcher);
    place->tokens = routing_max_tokens(&scenario->routing);
    note_times(place->present, &item->timing, place->routed_ps);
    note_choices(item, scenario->loads);
    place->slowest = first_max(item->timing.phases[PHASE_EXPERTS].end_ps, scenario->loads->ranks);
    scenario_run_without(scenario, SCENARIO_ROUTING, engine, &balanced);
    note_times(place->present, &balanced, place->balanced_ps);
    timing_release(&balanced);
    return true;
}

// ---- over places -------------------------------------------------------------------------------

// Ranks' counts of a place. A step of a layer has one hottest rank; of all layers, one a layer.
static void fold_ranks(struct replay_layer *layer, const struct item *item, uint32_t ranks)
{
    const struct replay_place *place = &item->place;
    const struct phase_timing *experts = &item->timing.phases[PHASE_EXPERTS];
    uint64_t total = 0;
    for (uint32_t r = 0; r < ranks; r++)
        total += item->choices[r];
    for (uint32_t r = 0; r < ranks; r++) {
        struct replay_rank *rank = &layer->ranks[r];
        rank->choices += item->choices[r];
        rank->hottest += place->hottest == r;
        rank->slowest += place->slowest == r;
        rank->experts_ps += (double)(experts->end_ps[r] - experts->start_ps[r]);
        if (total)
            rank->max_ratio =
                fmax(rank->max_ratio, (double)item->choices[r] * ranks / (double)total);
    }
    quantiles_add(&layer->max_mean_ppm, (uint64_t)llround(1e6 * place->max_mean));
}

static void fold_times(struct replay_layer *layer, const uint64_t routed_ps[REPLAY_FIGURES],
                       const uint64_t balanced_ps[REPLAY_FIGURES])
{
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
        quantiles_add(&layer->routed[figure], routed_ps[figure]);
        layer->balanced_ps[figure] += (double)balanced_ps[figure];
    }
}

// A step's places, one a layer.
static void fold_step(struct replay *replay, const struct item *items)
{
    uint64_t routed_ps[REPLAY_FIGURES] = {0}, balanced_ps[REPLAY_FIGURES] = {0};
    for (uint32_t l = 0; l < replay->layer_count; l++) {
        const struct replay_place *place = &items[l].place;
        for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
            replay->present[phase] |= place->present[phase];
        fold_times(&replay->layers[l], place->routed_ps, place->balanced_ps);
        fold_ranks(&replay->layers[l], &items[l], replay->ranks);
        fold_ranks(&replay->all, &items[l], replay->ranks);
        for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
            routed_ps[figure] += place->routed_ps[figure];
            balanced_ps[figure] += place->balanced_ps[figure];
        }
    }
    replay->present[REPLAY_LAYER] = true;
    fold_times(&replay->all, routed_ps, balanced_ps);
}

// ---- blocks of places --------------------------------------------------------------------------

struct block {
    struct item *items; // whole steps, in order
    size_t count;
    struct worker *workers;
    int threads;
};

// Every place is tried, so that the first that fails is the same whatever the threads.
static void run_block(struct block *block, const struct engine *engine)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(block->threads) default(none)            \
    shared(block, engine)
    for (size_t i = 0; i < block->count; i++) {
        struct worker *worker = &block->workers[omp_get_thread_num()];
        struct error err = {0};
        if (run_item(worker, engine, &block->items[i], &err) || i >= worker->failed)
            continue;
        worker->failed = i;
        worker->err = err;
    }
}

static bool check_block(const struct block *block, struct error *err)
{
    const struct worker *first = &block->workers[0];
    for (int t = 1; t < block->threads; t++)
        if (block->workers[t].failed < first->failed)
            first = &block->workers[t];
    if (first->failed == UINT64_MAX)
        return true;
    const struct replay_place *place = &block->items[first->failed].place;
    *err = first->err;
    return error_prefix(err, "layer %u, step %llu", place->layer, (unsigned long long)place->step);
}

static void fold_block(struct replay *replay, struct block *block, replay_visit *visit,
                       void *context)
{
    for (size_t i = 0; i < block->count; i++) {
        struct item *item = &block->items[i];
        item->place.fabric = &replay->fabric;
        item->place.dispatcher = item->dispatcher;
        item->place.timing = &item->timing;
        item->place.choices = item->choices;
        if (visit)
            visit(context, &item->place);
        if ((i + 1) % replay->layer_count == 0)
            fold_step(replay, item + 1 - replay->layer_count);
    }
}

static uint64_t step_at(const struct replay *replay, uint64_t index)
{
    return replay->def->step_count ? replay->def->steps[index] : index;
}

static void fill_block(const struct replay *replay, struct block *block, uint64_t first,
                       uint64_t steps)
{
    block->count = (size_t)(steps * replay->layer_count);
    for (size_t i = 0; i < block->count; i++) {
        block->items[i] = (struct item){.choices = mem_alloc(replay->ranks, sizeof(uint64_t))};
        block->items[i].place =
            (struct replay_place){.done = first * replay->layer_count + i + 1,
                                  .total = replay->steps * replay->layer_count,
                                  .layer = replay->layers[i % replay->layer_count].layer,
                                  .step = step_at(replay, first + i / replay->layer_count)};
    }
}

static bool do_block(struct replay *replay, struct block *block, replay_visit *visit, void *context,
                     struct error *err)
{
    run_block(block, replay->def->engine);
    const bool ok = check_block(block, err);
    if (ok)
        fold_block(replay, block, visit, context);
    for (size_t i = 0; i < block->count; i++) {
        timing_release(&block->items[i].timing);
        free(block->items[i].choices);
    }
    return ok;
}

// Steps of a block.
static uint64_t block_steps(const struct replay *replay, int threads)
{
    const uint64_t item_bytes = replay->ranks * PHASE_COUNT * (uint64_t)(8 * sizeof(uint64_t));
    const uint64_t min = (uint64_t)threads * MIN_PER_THREAD;
    const uint64_t max = (uint64_t)threads * MAX_PER_THREAD, fit = BLOCK_BYTES / item_bytes;
    const uint64_t places = fit < min ? min : fit > max ? max : fit;
    return (places + replay->layer_count - 1) / replay->layer_count;
}

bool replay_run(struct replay *replay, replay_visit *visit, void *context, struct error *err)
{
    struct block block = {.threads = omp_get_max_threads()};
    const uint64_t max = block_steps(replay, block.threads);
    bool ok = true;
    block.workers = mem_alloc((size_t)block.threads, sizeof *block.workers);
    for (int t = 0; t < block.threads; t++) {
        block.workers[t].failed = UINT64_MAX;
        scenario_clone(&block.workers[t].scenario, &replay->scenario);
    }
    block.items = mem_alloc((size_t)(max * replay->layer_count), sizeof *block.items);
    for (uint64_t first = 0; ok && first < replay->steps; first += max) {
        const uint64_t left = replay->steps - first;
        fill_block(replay, &block, first, left < max ? left : max);
        ok = do_block(replay, &block, visit, context, err);
        scenario_forget(&replay->scenario, step_at(replay, first),
                        block.items[block.count - 1].place.step + 1);
    }
    for (int t = 0; t < block.threads; t++)
        scenario_release(&block.workers[t].scenario);
    free(block.workers);
    free(block.items);
    return ok;
}

// ---- the whole ---------------------------------------------------------------------------------

// The last layer and step are the ones that the trace may lack; the first are where the replay
// begins, and decide what stands at the head of its output.
static bool open_replay_scenario(struct replay *replay, struct error *err)
{
    const struct replay_def *def = replay->def;
    struct scenario_def last = def->scenario;
    last.layer = def->layer_count ? def->layers[def->layer_count - 1] : 0;
    last.step = def->step_count ? def->steps[def->step_count - 1] : 0;
    last.undecided = true;
    if (!scenario_open(&replay->scenario, &last, err))
        return false;
    if (scenario_seek(&replay->scenario, def->layer_count ? def->layers[0] : 0,
                      def->step_count ? def->steps[0] : 0, err))
        return true;
    scenario_release(&replay->scenario);
    return false;
}

// One dispatcher for all places.
static bool choose_for_replay(struct replay *replay, struct error *err)
{
    const struct replay_def *def = replay->def;
    const struct choice_grid grid = {.layers = def->layer_count ? def->layers : NULL,
                                     .steps = def->step_count ? def->steps : NULL,
                                     .layer_count = replay->layer_count,
                                     .step_count = replay->steps};
    struct choice_place places[CHOICE_PLACES];
    const size_t count = choice_spread(&grid, places);
    return choice_over_places(&replay->scenario, places, count, replay->layer_count * replay->steps,
                              err);
}

bool replay_open(struct replay *replay, const struct replay_def *def, struct error *err)
{
    *replay = (struct replay){.def = def};
    assert(def->scenario.trace[0]);
    if (!open_replay_scenario(replay, err))
        return false;
    const struct trace *trace = scenario_trace(&replay->scenario);
    replay->fabric = fabric_from_cluster(&replay->scenario.cluster);
    replay->ranks = replay->scenario.routing.ranks;
    replay->layer_count = def->layer_count ? (uint32_t)def->layer_count : trace->layers;
    replay->steps = def->step_count ? def->step_count : replay->scenario.steps;
    replay->layers = mem_alloc(replay->layer_count, sizeof *replay->layers);
    replay->all.ranks = mem_alloc(replay->ranks, sizeof(struct replay_rank));
    for (uint32_t l = 0; l < replay->layer_count; l++) {
        struct replay_layer *layer = &replay->layers[l];
        layer->layer = def->layer_count ? def->layers[l] : l;
        layer->layer_id = trace->layer_ids[layer->layer];
        layer->ranks = mem_alloc(replay->ranks, sizeof(struct replay_rank));
    }
    if (choose_for_replay(replay, err))
        return true;
    replay_release(replay);
    return false;
}

bool replay_extrapolates(const struct replay *replay, const struct fits *fits,
                         struct extrapolation *extrapolation, struct error *err)
{
    const struct extrapolation_steps steps = {.steps = replay->def->step_count ? replay->def->steps
                                                                               : NULL,
                                              .count = replay->steps,
                                              .layers = replay->layer_count};
    return extrapolation_over_steps(extrapolation, fits, &replay->scenario, &steps, err);
}

static void layer_release(struct replay_layer *layer)
{
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++)
        quantiles_release(&layer->routed[figure]);
    quantiles_release(&layer->max_mean_ppm);
    free(layer->ranks);
}

void replay_release(struct replay *replay)
{
    for (uint32_t l = 0; l < replay->layer_count; l++)
        layer_release(&replay->layers[l]);
    layer_release(&replay->all);
    free(replay->layers);
    scenario_release(&replay->scenario);
    *replay = (struct replay){0};
}

double replay_cost_ps(const struct replay_layer *layer, enum replay_figure figure)
{
    const struct quantiles *routed = &layer->routed[figure];
    return quantiles_mean(routed) - layer->balanced_ps[figure] / (double)routed->count;
}

const struct replay_rank *replay_hottest(const struct replay *replay,
                                         const struct replay_layer *layer)
{
    const struct replay_rank *max = &layer->ranks[0];
    for (uint32_t r = 1; r < replay->ranks; r++)
        max = layer->ranks[r].hottest > max->hottest ? &layer->ranks[r] : max;
    return max->hottest ? max : NULL;
}

const struct replay_rank *replay_slowest(const struct replay *replay,
                                         const struct replay_layer *layer)
{
    const struct replay_rank *max = &layer->ranks[0];
    for (uint32_t r = 1; r < replay->ranks; r++)
        max = layer->ranks[r].slowest > max->slowest ? &layer->ranks[r] : max;
    return max->slowest ? max : NULL;
}

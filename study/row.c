#include "study/row.h"

#include "model/version.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// The layer's shape as far as the row tells: what a transfer depends on.
static struct moe shape_of(const struct measured_row *row)
{
    struct moe moe = moe_default();
    snprintf(moe.name, sizeof moe.name, "row %.200s", row->id);
    moe.hidden = row->hidden;
    moe.experts = row->experts;
    moe.topk = row->topk;
    moe.intermediate = row->intermediate ? row->intermediate : row->hidden;
    moe.groups = moe.topk_groups = 1;
    moe.dispatch_dtype = moe.combine_dtype = row->dtype;
    moe.dispatch_given = true;
    if (row->intermediate) {
        moe.shared_experts = 1;
        moe.shared_intermediate = row->intermediate;
        moe_set_weights(&moe, row->dtype);
    }
    if (row->topk_groups) {
        moe.groups = row->nodes;
        moe.topk_groups = row->topk_groups < row->nodes ? row->topk_groups : row->nodes;
    }
    return moe;
}

static bool set_weight_dtype(struct moe *moe, const struct measured_row *row, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    for (int d = 0; dtype_names[d]; d++)
        if (!strcmp(row->weight_dtype, dtype_names[d])) {
            moe_set_weights(moe, (enum dtype)d);
            return true;
        }
    return !row->weight_dtype[0] || error_set(err, EXIT_INPUT, "weight_dtype %s is not modelled",
                                              error_quote(row->weight_dtype, quoted));
}

// A row's own model is a preset: rows come from other machines, whose files are not here.
static bool check_model_name(const char *name, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    return !strchr(name, '/') || error_set(err, EXIT_INPUT, "model %s: expected a preset's name",
                                           error_quote(name, quoted));
}

// The model that a row ran with: the one asked, or what the row says itself; NULL: not known.
static const char *model_of(const struct measured_row *row, const struct row_overrides *overrides)
{
    return overrides->model ? overrides->model : row->model[0] ? row->model : NULL;
}

static bool shape_from_model(struct moe *moe, const struct measured_row *row,
                             const struct row_overrides *overrides, struct error *err)
{
    const char *model = model_of(row, overrides);
    const char *from = overrides->model ? "--model" : "model";
    if (!overrides->model && !check_model_name(model, err))
        return false;
    if (!moe_load(model, moe, NULL, err))
        return error_prefix(err, "%s", from);
    if (!set_weight_dtype(moe, row, err))
        return false;
    if (moe->experts != row->experts || moe->topk != row->topk ||
        moe_expert_hidden(moe) != row->hidden)
        return error_set(err, EXIT_INPUT,
                         "top-%u of %u experts, hidden %u; %s %s has top-%u of %u, hidden %u",
                         row->topk, row->experts, row->hidden, from, model, moe->topk, moe->experts,
                         moe->hidden);
    *(row->phase == PHASE_COMBINE ? &moe->combine_dtype : &moe->dispatch_dtype) = row->dtype;
    moe->dispatch_given = true;
    return true;
}

// Whether the row's own columns say all that its phase takes.
static bool says_all(const struct measured_row *row)
{
    return row->bytes_per_rank || row->phase == PHASE_RMSNORM || row->intermediate;
}

static bool ran_a_trace(const struct measured_row *row)
{
    return !strcmp(row->routing, "trace");
}

// What only a model, a cluster, a trace or a matrix can say.
static bool check_known(const struct measured_row *row, const struct row_overrides *overrides,
                        struct error *err)
{
    if (!row->cluster[0] && !overrides->cluster)
        return error_set(
            err, EXIT_INPUT,
            "names no cluster: say what it ran on, %u nodes of %u GPUs%s%s (--cluster)", row->nodes,
            row->gpus_per_node, row->gpu[0] ? ", " : "", row->gpu);
    if (!strcmp(row->traffic, "matrix") && !overrides->traffic)
        return error_set(err, EXIT_INPUT, "traffic: name the matrix that it moved (--traffic)");
    if (ran_a_trace(row) && !overrides->trace)
        return error_set(err, EXIT_INPUT, "routing trace: name the trace that it ran (--trace)");
    if (row->disturbed[0] && !overrides->slow)
        return error_set(err, EXIT_INPUT,
                         "another job shared the GPU of ranks %s: say how slow it made them "
                         "(--slow)",
                         row->disturbed);
    if (model_of(row, overrides) || says_all(row))
        return true;
    if (!strcmp(row->routing, "router"))
        return error_set(err, EXIT_INPUT,
                         "routing router: name the model whose rule it follows (--model)");
    if (!phase_moves(row->phase) && row->phase != PHASE_NOTIFY)
        return error_set(err, EXIT_INPUT, "phase %s: name the model that ran (--model)",
                         phase_names[row->phase]);
    return true;
}

// The row's exchange as --traffic takes it: a cell of a pattern has its part of a rank's bytes.
static void traffic_of(const struct measured_row *row, const struct row_overrides *overrides,
                       char traffic[FIELD_TEXT_BYTES])
{
    const uint32_t gpus = row->gpus_per_node, ranks = row->nodes * gpus;
    const bool uniform = !row->traffic[0] || !strcmp(row->traffic, "uniform");
    uint64_t bytes = row->bytes_per_rank;
    if (!strcmp(row->traffic, "matrix")) {
        snprintf(traffic, FIELD_TEXT_BYTES, "%s", overrides->traffic);
        return;
    }
    if (uniform || !strcmp(row->traffic, "inside"))
        bytes /= uniform ? ranks : gpus;
    else if (!strcmp(row->traffic, "between") && ranks > gpus)
        bytes /= ranks - gpus;
    snprintf(traffic, FIELD_TEXT_BYTES, "%.200s:%lluB", uniform ? "uniform" : row->traffic,
             (unsigned long long)bytes);
}

// A benchmark of a phase starts it on all ranks together. A layer starts so, and then each rank
// goes on by itself, in a CUDA graph.
static void place_phase(struct scenario_def *def, const struct measured_row *row)
{
    const bool alone = row->phase != PHASE_LAYER;
    def->aligned = def->isolated = alone;
    if (alone)
        def->only = row->phase;
    def->graph = !alone;
    def->overlap = row->overlap;
    def->left_out = row->without;
}

static struct scenario_def def_of(const struct measured_row *row,
                                  const struct row_overrides *overrides)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    snprintf(def.cluster, sizeof def.cluster, "%s",
             overrides->cluster ? overrides->cluster : row->cluster);
    version_word(row->dispatcher, row->source, def.dispatcher);
    strcpy(def.kernels, row->kernels[0] ? row->kernels : KERNELS_EPSIM_REAL);
    def.routing = measured_rule(row);
    if (row->layout[0])
        strcpy(def.layout, row->layout);
    def.nodes = row->nodes;
    def.gpus_per_node = row->gpus_per_node;
    def.tokens = row->tokens_per_gpu;
    def.sms = row->sms;
    def.seed = overrides->seed;
    place_phase(&def, row);
    strcpy(def.gpu, row->gpu);
    if (row->disturbed[0])
        snprintf(def.slow, sizeof def.slow, "%s", overrides->slow);
    if (ran_a_trace(row)) {
        snprintf(def.trace, sizeof def.trace, "%s", overrides->trace);
        def.layer = row->layer;
        def.step = row->step;
    }
    if (row->bytes_per_rank)
        traffic_of(row, overrides, def.traffic);
    return def;
}

// A kernel by itself has no layer: its GPU's datasheet and the constants are all that it reads.
static bool open_kernel(struct scenario *scenario, const struct measured_row *row,
                        const struct row_overrides *overrides, struct error *err)
{
    const char *cluster = overrides->cluster ? overrides->cluster : row->cluster;
    const struct row_preset *known =
        overrides->presets ? row_presets_find(overrides->presets, cluster, row->kernels) : NULL;
    *scenario = (struct scenario){.def = {.kernel = row->kernel}};
    if (!measured_predictable(row, err))
        return false;
    if (!cluster[0])
        return error_set(err, EXIT_INPUT, "GPU %s: no cluster preset has it: name one (--cluster)",
                         row->gpu);
    if (known) {
        scenario->cluster = known->cluster;
        scenario->kernels = known->kernels;
    } else if (!cluster_load(cluster, &scenario->cluster, NULL, err) ||
               !kernels_load(row->kernels, &scenario->cluster, &scenario->kernels, NULL, err)) {
        return error_prefix(err, "kernel");
    }
    return kernels_known(&scenario->kernels, &row->kernel) ||
           error_set(err, EXIT_INPUT, "kernels %s say nothing of %s", row->kernels,
                     kernel_names[row->kernel.kind]);
}

static bool check_stage(const struct measured_row *row, struct error *err)
{
    const bool inter = !strcmp(row->stage, stage_names[STAGE_INTER]);
    if (!row->stage[0])
        return true;
    if (row->phase != PHASE_DISPATCH && row->phase != PHASE_COMBINE)
        return error_set(err, EXIT_INPUT, "phase %s has no stages", phase_names[row->phase]);
    return (inter ? row->nodes : row->gpus_per_node) > 1 ||
           error_set(err, EXIT_INPUT, "stage %s: %s has none", row->stage,
                     inter ? "one node" : "one GPU a node");
}

// The most that a rank sends or receives, its own slot included.
static double busiest_bytes(const struct scenario *scenario)
{
    const size_t ranks = cluster_ranks(&scenario->cluster);
    double max = 0;
    for (size_t r = 0; r < ranks; r++) {
        double sent = 0, received = 0;
        for (size_t peer = 0; peer < ranks; peer++) {
            sent += (double)scenario->traffic[r * ranks + peer];
            received += (double)scenario->traffic[peer * ranks + r];
        }
        max = fmax(max, fmax(sent, received));
    }
    return max;
}

// A matrix must be the one that ran: alltoallv_perf may have scaled it, and rounds each cell down
// to 16 bytes.
static bool check_row_matrix(const struct measured_row *row, const struct scenario *scenario,
                             struct error *err)
{
    if (strcmp(row->traffic, "matrix"))
        return true;
    const uint32_t ranks = cluster_ranks(&scenario->cluster);
    const double busiest = busiest_bytes(scenario), said = (double)row->bytes_per_rank;
    if (ranks == row->nodes * row->gpus_per_node && said <= busiest &&
        busiest - said < 16.0 * ranks)
        return true;
    return error_set(
        err, EXIT_INPUT,
        "--traffic: %u ranks, of which the busiest has %.0f bytes: expected the matrix "
        "of the run, %u ranks and %.0f bytes",
        ranks, busiest, row->nodes * row->gpus_per_node, said);
}

// Whether what the row timed is in the layer.
static bool check_phase(const struct measured_row *row, const struct scenario *scenario,
                        struct error *err)
{
    const struct schedule *schedule = scenario->schedule;
    if (row->phase == PHASE_LAYER)
        return row->overlap == OVERLAP_NONE || schedule->present[PHASE_SHARED] ||
               error_set(err, EXIT_INPUT, "overlap %s: the layer has no shared expert",
                         overlap_names[row->overlap]);
    return schedule->present[row->phase] ||
           error_set(err, EXIT_INPUT, "dispatcher %s has no phase %s in this layer",
                     row->dispatcher, phase_names[row->phase]);
}

bool row_open(struct scenario *scenario, const struct measured_row *row,
              const struct engine *engine, const struct row_overrides *overrides, struct error *err)
{
    if (row->phase == PHASE_KERNEL)
        return open_kernel(scenario, row, overrides, err);
    struct scenario_def def = def_of(row, overrides);
    def.has_shape = true;
    def.shape = shape_of(row);
    if (!measured_predictable(row, err) || !check_known(row, overrides, err) ||
        (model_of(row, overrides) && !says_all(row) &&
         !shape_from_model(&def.shape, row, overrides, err)) ||
        !scenario_open(scenario, &def, err))
        return false;
    bool ok = scenario_prepare(scenario, engine, err);
    ok = ok && check_stage(row, err) && check_row_matrix(row, scenario, err) &&
         check_phase(row, scenario, err);
    if (!ok)
        scenario_release(scenario);
    return ok;
}

static struct phase_span span_of(const struct timing *timing, const struct measured_row *row)
{
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (!strcmp(row->stage, stage_names[stage]))
            return timing_stage_span(timing, row->phase, stage);
    return row->phase == PHASE_LAYER ? timing_layer_span(timing) : timing_span(timing, row->phase);
}

// The bottleneck of a phase; of a layer, that of its longest phase.
static void name_bottleneck(const struct timing *timing, const struct measured_row *row,
                            struct prediction *prediction)
{
    enum phase longest = PHASE_RMSNORM;
    double longest_ps = -1;
    if (row->phase != PHASE_LAYER) {
        snprintf(prediction->bottleneck, sizeof prediction->bottleneck, "%s",
                 timing->phases[row->phase].bottleneck);
        return;
    }
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const double ps = timing->phases[p].present ? timing_span(timing, p).latency_ps : -1;
        if (ps > longest_ps) {
            longest = p;
            longest_ps = ps;
        }
    }
    snprintf(prediction->bottleneck, sizeof prediction->bottleneck, "%s: %.80s",
             phase_names[longest], timing->phases[longest].bottleneck);
}

// A phase's, from each rank's own start. NULL: not wanted.
static void put_ranks(const struct timing *timing, const struct measured_row *row, double *rank_us)
{
    const struct phase_timing *phase =
        row->phase == PHASE_LAYER || row->stage[0] ? NULL : &timing->phases[row->phase];
    for (uint32_t r = 0; rank_us && r < timing->ranks; r++)
        rank_us[r] = phase ? (double)(phase->end_ps[r] - phase->start_ps[r]) / 1e6 : NAN;
}

struct prediction row_predict(struct scenario *scenario, const struct measured_row *row,
                              const struct engine *engine)
{
    return row_predict_ranks(scenario, row, engine, NULL);
}

struct prediction row_predict_ranks(struct scenario *scenario, const struct measured_row *row,
                                    const struct engine *engine, double *rank_us)
{
    struct timing timing;
    struct prediction prediction = {.bottleneck = ""};
    struct error none;
    if (row->phase == PHASE_KERNEL) {
        prediction.us = kernels_ps(&scenario->kernels, &scenario->cluster, &row->kernel) / 1e6;
        return prediction;
    }
    const bool ok = scenario_run(scenario, engine, &timing, &none);
    assert(ok); // row_open has prepared it
    (void)ok;
    const struct phase_span span = span_of(&timing, row);
    prediction.us = (strcmp(row->stat, "slowest") ? span.latency_mean_ps : span.latency_ps) / 1e6;
    name_bottleneck(&timing, row, &prediction);
    put_ranks(&timing, row, rank_us);
    timing_release(&timing);
    return prediction;
}

#include "study/row.h"

#include "model/engine/check.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const engine_names[] = {"simulate", "estimate", "naive", NULL};

static void use_dtype(struct moe *moe, const struct measured_row *row)
{
    if (row->phase == PHASE_COMBINE)
        moe->combine_dtype = row->dtype;
    else
        moe->dispatch_dtype = row->dtype;
}

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
    if (row->intermediate) {
        moe.shared_experts = 1;
        moe.shared_intermediate = row->intermediate;
        moe.weight_dtype = row->dtype;
    }
    if (row->topk_groups) {
        moe.groups = row->nodes;
        moe.topk_groups = row->topk_groups < row->nodes ? row->topk_groups : row->nodes;
    }
    return moe;
}

static bool shape_from_model(struct moe *moe, const struct measured_row *row, const char *model,
                             struct error *err)
{
    if (!moe_load(model, moe, NULL, err))
        return error_prefix(err, "--model");
    if (moe->experts != row->experts || moe->topk != row->topk || moe->hidden != row->hidden)
        return error_set(err, EXIT_INPUT,
                         "top-%u of %u experts, hidden %u; --model %s has top-%u of %u, hidden %u",
                         row->topk, row->experts, row->hidden, model, moe->topk, moe->experts,
                         moe->hidden);
    use_dtype(moe, row);
    return true;
}

static bool is_layer_phase(enum phase phase)
{
    return phase == PHASE_DISPATCH || phase == PHASE_COMBINE || phase == PHASE_NOTIFY ||
           phase == PHASE_ALLTOALL;
}

// Whether the row's own columns say all that its phase takes.
static bool says_all(const struct measured_row *row)
{
    return row->bytes_per_rank || row->phase == PHASE_RMSNORM || row->intermediate;
}

static bool shape(struct moe *moe, const struct measured_row *row, const struct row_terms *terms,
                  struct error *err)
{
    if (terms->model && !says_all(row))
        return shape_from_model(moe, row, terms->model, err);
    *moe = shape_of(row);
    return true;
}

// What only a model, a cluster or a matrix can say.
static bool check_known(const struct measured_row *row, const struct row_terms *terms,
                        struct error *err)
{
    if (!row->cluster[0] && !terms->cluster)
        return error_set(
            err, EXIT_INPUT,
            "names no cluster: say what it ran on, %u nodes of %u GPUs%s%s (--cluster)", row->nodes,
            row->gpus_per_node, row->gpu[0] ? ", " : "", row->gpu);
    if (!strcmp(row->traffic, "matrix") && !terms->traffic)
        return error_set(err, EXIT_INPUT, "traffic: name the matrix that it moved (--traffic)");
    if (terms->model || says_all(row))
        return true;
    if (!strcmp(row->routing, "router"))
        return error_set(err, EXIT_INPUT,
                         "routing router: name the model whose rule it follows (--model)");
    if (!is_layer_phase(row->phase))
        return error_set(err, EXIT_INPUT, "phase %s: name the model that ran (--model)",
                         phase_names[row->phase]);
    return true;
}

// The row's exchange as --traffic takes it: a cell of a pattern has its part of a rank's bytes.
static void traffic_of(const struct measured_row *row, const struct row_terms *terms,
                       char traffic[FIELD_TEXT_BYTES])
{
    const uint32_t gpus = row->gpus_per_node, ranks = row->nodes * gpus;
    const bool uniform = !row->traffic[0] || !strcmp(row->traffic, "uniform");
    uint64_t bytes = row->bytes_per_rank;
    if (!strcmp(row->traffic, "matrix")) {
        snprintf(traffic, FIELD_TEXT_BYTES, "%s", terms->traffic);
        return;
    }
    if (uniform || !strcmp(row->traffic, "inside"))
        bytes /= uniform ? ranks : gpus;
    else if (!strcmp(row->traffic, "between") && ranks > gpus)
        bytes /= ranks - gpus;
    snprintf(traffic, FIELD_TEXT_BYTES, "%.200s:%lluB", uniform ? "uniform" : row->traffic,
             (unsigned long long)bytes);
}

static struct question question_of(const struct measured_row *row, const struct row_terms *terms)
{
    struct question question = question_default();
    snprintf(question.cluster, sizeof question.cluster, "%s",
             terms->cluster ? terms->cluster : row->cluster);
    strcpy(question.dispatcher, row->dispatcher);
    question.routing = measured_rule(row);
    if (row->layout[0])
        strcpy(question.layout, row->layout);
    question.nodes = row->nodes;
    question.gpus_per_node = row->gpus_per_node;
    question.tokens = row->tokens_per_gpu;
    question.sms = row->sms;
    question.seed = terms->seed;
    question.aligned = true;
    strcpy(question.gpu, row->gpu);
    if (row->bytes_per_rank)
        traffic_of(row, terms, question.traffic);
    return question;
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
static double busiest_bytes(const struct setting *setting)
{
    const size_t ranks = cluster_ranks(&setting->cluster);
    double most = 0;
    for (size_t r = 0; r < ranks; r++) {
        double sent = 0, received = 0;
        for (size_t peer = 0; peer < ranks; peer++) {
            sent += (double)setting->traffic[r * ranks + peer];
            received += (double)setting->traffic[peer * ranks + r];
        }
        most = fmax(most, fmax(sent, received));
    }
    return most;
}

// A matrix must be the one that ran: alltoallv_perf may have scaled it, and rounds each cell down
// to 16 bytes.
static bool check_matrix(const struct measured_row *row, const struct setting *setting,
                         struct error *err)
{
    if (strcmp(row->traffic, "matrix"))
        return true;
    const uint32_t ranks = cluster_ranks(&setting->cluster);
    const double busiest = busiest_bytes(setting), said = (double)row->bytes_per_rank;
    if (ranks == row->nodes * row->gpus_per_node && said <= busiest &&
        busiest - said < 16.0 * ranks)
        return true;
    return error_set(
        err, EXIT_INPUT,
        "--traffic: %u ranks, of which the busiest has %.0f bytes: expected the matrix "
        "of the run, %u ranks and %.0f bytes",
        ranks, busiest, row->nodes * row->gpus_per_node, said);
}

bool row_resolve(struct setting *setting, const struct measured_row *row, enum engine engine,
                 const struct row_terms *terms, struct error *err)
{
    const struct question question = question_of(row, terms);
    struct moe moe;
    if (!measured_predictable(row, err) || !check_known(row, terms, err) ||
        !shape(&moe, row, terms, err) || !setting_resolve(setting, &question, &moe, err))
        return false;
    setting_load(setting, engine == ENGINE_SIMULATE ? LOADS_COUNTED : LOADS_EXPECTED);
    bool ok = schedule_check(&setting->schedule, err);
    ok = ok && check_stage(row, err) && check_matrix(row, setting, err);
    if (ok && !setting->schedule.present[row->phase])
        ok = error_set(err, EXIT_INPUT, "dispatcher %s has no phase %s in this layer",
                       row->dispatcher, phase_names[row->phase]);
    if (!ok)
        setting_release(setting);
    return ok;
}

static struct phase_span span_of(const struct timing *timing, const struct measured_row *row)
{
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (!strcmp(row->stage, stage_names[stage]))
            return timing_stage_span(timing, row->phase, stage);
    return timing_span(timing, row->phase);
}

struct row_answer row_ask(struct setting *setting, const struct measured_row *row,
                          enum engine engine)
{
    struct timing timing;
    struct row_answer answer;
    schedule_keep_only(&setting->schedule, row->phase);
    if (engine == ENGINE_SIMULATE)
        simulate(&setting->schedule, &setting->run, &timing);
    else if (engine == ENGINE_ESTIMATE)
        estimate(&setting->schedule, &setting->run, &timing);
    else
        estimate_naive(&setting->schedule, &setting->run, &timing);
    const struct phase_span span = span_of(&timing, row);
    answer.us = (strcmp(row->stat, "slowest") ? span.latency_mean_ps : span.latency_ps) / 1e6;
    snprintf(answer.bottleneck, sizeof answer.bottleneck, "%s",
             timing.phases[row->phase].bottleneck);
    timing_release(&timing);
    return answer;
}

double row_predict(struct setting *setting, const struct measured_row *row, enum engine engine)
{
    return row_ask(setting, row, engine).us;
}

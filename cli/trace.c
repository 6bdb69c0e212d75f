// epsim trace: what a recorded trace holds.
#include "base/mem.h"
#include "model/layout_file.h"
#include "cli/cli.h"
#include "traces/lags.h"
#include "traces/stats.h"

#include <stdlib.h>
#include <string.h>

#define FIXED_COLUMNS 3

// Columns that fit a person's screen; programs get all.
static bool shown_to_a_person(enum trace_figure figure)
{
    switch (figure) {
    case FIGURE_EXPERT_MAX_MEAN:
    case FIGURE_GINI:
    case FIGURE_RANK_MAX_MEAN:
    case FIGURE_NODE_MAX_MEAN:
    case FIGURE_RANKS_PER_TOKEN:
    case FIGURE_NODES_PER_TOKEN:
        return true;
    default:
        return false;
    }
}

static struct table *stats_table(const struct trace_stats *stats, bool all)
{
    const char *columns[FIXED_COLUMNS + TRACE_FIGURES + 1] = {"layer", "hottest_expert"};
    int count = 2;
    if (all)
        columns[count++] = "idle_experts";
    for (enum trace_figure f = 0; f < TRACE_FIGURES; f++)
        if (all || shown_to_a_person(f))
            columns[count++] = trace_figure_names[f];
    struct table *table = table_new("trace", columns);
    for (uint32_t l = 0; l < stats->layers; l++) {
        const struct trace_layer_stats *layer = &stats->layer[l];
        table_count(table, layer->layer_id);
        table_count(table, layer->hottest);
        if (all)
            table_count(table, layer->idle);
        for (enum trace_figure f = 0; f < TRACE_FIGURES; f++)
            if (all || shown_to_a_person(f))
                table_real(table, layer->figures[f]);
    }
    return table;
}

static struct table *lags_table(const struct trace *trace)
{
    const char *columns[TRACE_LAGS + 3] = {"layer"};
    char names[TRACE_LAGS][16];
    for (size_t i = 0; i < TRACE_LAGS; i++) {
        snprintf(names[i], sizeof names[i], "lag%u", trace_lags[i]);
        columns[1 + i] = names[i];
    }
    columns[1 + TRACE_LAGS] = "independent";
    struct table *table = table_new("lags", columns);
    struct trace_lag_curve *curves = trace_lag_curves(trace);
    for (uint32_t l = 0; l < trace->layers; l++) {
        table_count(table, curves[l].layer_id);
        for (size_t i = 0; i < TRACE_LAGS; i++)
            table_real(table, curves[l].common[i]);
        table_real(table, curves[l].independent);
    }
    free(curves);
    return table;
}

static json_t *stats_json(const struct trace *trace, const struct trace_stats *stats,
                          const struct table *table, json_t *document)
{
    json_object_set_new(document, "name", json_string(trace->moe.name));
    json_object_set_new(document, "source", json_string(trace->source));
    json_object_set_new(document, "licence", json_string(trace->licence));
    json_object_set_new(document, "tokens", json_integer((json_int_t)trace->tokens));
    json_object_set_new(document, "experts", json_integer(trace->moe.experts));
    json_object_set_new(document, "topk", json_integer(trace->moe.topk));
    json_object_set_new(document, "dropped", json_integer((json_int_t)stats->dropped));
    json_object_set_new(document, "layers", table_json(table));
    struct table *lags = lags_table(trace);
    json_object_set_new(document, "lags", table_json(lags));
    table_free(lags);
    return document;
}

static void comment_trace(struct table *table, const struct trace *trace,
                          const struct cluster *cluster, const struct trace_stats *stats)
{
    table_comment(table, "trace: %s, %llu tokens, %u MoE layers, top-%u of %u experts, %u groups",
                  trace->moe.name, (unsigned long long)trace->tokens, trace->layers,
                  trace->moe.topk, trace->moe.experts, trace->moe.groups);
    table_comment(
        table, "weights: %s, steps: %s, dropped choices: %llu", trace->weights.data ? "yes" : "no",
        trace->steps.data ? "recorded" : "by --tokens", (unsigned long long)stats->dropped);
    table_comment(table, "layout: EP%u, %u nodes; max_mean is the hottest over the mean load",
                  cluster_ranks(cluster), cluster->nodes);
    if (trace->source[0])
        table_comment(table, "source: %s", trace->source);
}

static bool output(const struct invocation *invocation, const struct trace *trace,
                   const struct cluster *cluster, const struct trace_stats *stats,
                   struct error *err)
{
    struct invocation asked = *invocation;
    struct table *table = !strcmp(invocation->tsv, "lags")
                              ? lags_table(trace)
                              : stats_table(stats, invocation->json || invocation->tsv[0]);
    asked.question.ep = cluster_ranks(cluster);
    char *command = command_line(&asked);
    table_head(table, invocation, command, cluster);
    comment_trace(table, trace, cluster, stats);
    json_t *document =
        invocation->json
            ? stats_json(trace, stats, table, json_head(invocation, "epsim.trace/1", command))
            : NULL;
    const bool ok = output_table(invocation, table, document, err);
    table_free(table);
    free(command);
    return ok;
}

static bool resolve(const struct invocation *invocation, const struct trace *trace,
                    struct cluster *cluster, struct layout *layouts, struct error *err)
{
    const struct question *question = &invocation->question;
    if (!cluster_load(question->cluster, cluster, NULL, err))
        return error_prefix(err, "--cluster");
    if (question->ep && !cluster_set_ep(cluster, question->ep, err))
        return error_prefix(err, "--ep");
    for (uint32_t l = 0; l < trace->layers; l++)
        if (!layout_load(&layouts[l], question->layout, (int)trace->layer_ids[l],
                         trace->moe.experts, cluster_ranks(cluster), err))
            return error_prefix(err, "--layout");
    return true;
}

static bool info(const struct invocation *invocation, const struct trace *trace, struct error *err)
{
    struct cluster cluster;
    struct layout *layouts = mem_alloc(trace->layers, sizeof *layouts);
    struct trace_stats stats;
    const bool ok = resolve(invocation, trace, &cluster, layouts, err) &&
                    trace_stats_make(&stats, trace, layouts, cluster.nodes, err);
    const bool written = ok && output(invocation, trace, &cluster, &stats, err);
    if (ok)
        trace_stats_release(&stats);
    for (uint32_t l = 0; l < trace->layers; l++)
        layout_release(&layouts[l]);
    free(layouts);
    return written;
}

enum exit_code run_trace(struct invocation *invocation, struct error *err)
{
    struct trace trace;
    if (invocation->word_count != 2 || strcmp(invocation->words[0], "info"))
        return error_set(
                   err, EXIT_INPUT,
                   "trace: expected: epsim trace info FOLDER (or trace import, trace export)"),
               err->code;
    if (!check_tsv_kind(invocation, "trace or lags", err))
        return err->code;
    if (!trace_open(&trace, invocation->words[1], err))
        return err->code;
    const bool ok = info(invocation, &trace, err);
    trace_release(&trace);
    return ok ? EXIT_DONE : err->code;
}

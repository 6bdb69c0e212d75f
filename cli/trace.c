// epsim trace: what a recorded trace holds, and the verbs that have files of their own.
#include "base/mem.h"
#include "cli/command.h"
#include "cli/output.h"
#include "model/layout_file.h"
#include "scenario/planned.h"
#include "scenario/planned.h"
#include "traces/stats.h"

#include <stdlib.h>
#include <string.h>

struct trace_options {
    struct scenario_def def; // its cluster, ranks and layout
    struct common_options common;
};

#define AT(member) offsetof(struct trace_options, member)

TSV_OPTIONS(AT(common.tsv), "trace or lags");

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
    struct table *table = table_new("trace", "layer hottest_expert");
    table_columns(table, all ? "idle_experts" : "");
    for (enum trace_figure f = 0; f < TRACE_FIGURES; f++)
        if (all || shown_to_a_person(f))
            table_columns(table, trace_figure_names[f]);
    for (uint32_t l = 0; l < stats->layers; l++) {
        const struct trace_layer_stats *layer = &stats->layer[l];
        TABLE_ADD(table, cell_count(layer->layer_id), cell_count(layer->hottest));
        if (all)
            TABLE_ADD(table, cell_count(layer->idle));
        for (enum trace_figure f = 0; f < TRACE_FIGURES; f++)
            if (all || shown_to_a_person(f))
                TABLE_ADD(table, cell_real(layer->figures[f]));
    }
    return table;
}

static struct table *lags_table(const struct trace *trace)
{
    char name[16];
    struct table *table = table_new("lags", "layer");
    for (size_t i = 0; i < TRACE_LAGS; i++) {
        snprintf(name, sizeof name, "lag%u", trace_lags[i]);
        table_columns(table, name);
    }
    table_columns(table, "independent");
    struct trace_lag_curve *curves = trace_lag_curves(trace);
    for (uint32_t l = 0; l < trace->layers; l++) {
        TABLE_ADD(table, cell_count(curves[l].layer_id));
        for (size_t i = 0; i < TRACE_LAGS; i++)
            TABLE_ADD(table, cell_real(curves[l].common[i]));
        TABLE_ADD(table, cell_real(curves[l].independent));
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
    json_object_set_new(document, "lags", json_rows(lags_table(trace)));
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

static bool output_trace(struct command_line *line, const struct trace *trace,
                         const struct cluster *cluster, const struct trace_stats *stats,
                         struct error *err)
{
    struct trace_options *options = line->options;
    struct common_options *common = &options->common;
    const uint64_t seed = options->def.seed;
    struct table *table = !strcmp(common->tsv, "lags")
                              ? lags_table(trace)
                              : stats_table(stats, common->json || common->tsv[0]);
    options->def.ep = cluster_ranks(cluster);
    table_head(table, seed, line, cluster);
    comment_trace(table, trace, cluster, stats);
    json_t *document = common->json
                           ? stats_json(trace, stats, table, json_head("epsim.trace/1", seed, line))
                           : NULL;
    return output_table(common, table, document, err);
}

static bool resolve_layouts(const struct scenario_def *def, const struct trace *trace,
                            struct cluster *cluster, struct layout *layouts, struct error *err)
{
    struct place place;
    if (!place_open(&place, def, err))
        return false;
    *cluster = place.cluster;
    place_release(&place);
    struct layout_wanted wanted = {.experts = trace->moe.experts,
                                   .ranks = cluster_ranks(cluster),
                                   .moe = parts_layer_model(trace, NULL)};
    for (uint32_t l = 0; l < trace->layers; l++) {
        const struct planned_def planned = {.rule = def->layout,
                                            .redundant = def->redundant,
                                            .moe = &trace->moe,
                                            .cluster = cluster,
                                            .trace = trace,
                                            .layer_index = l,
                                            .seed = def->seed};
        wanted.layer = (int)trace->layer_ids[l];
        if (planned_is_rule(def->layout)) {
            if (!planned_layout(&layouts[l], &planned, err))
                return false;
        } else if (!parts_load_layout(&layouts[l], def->layout, &wanted, err)) {
            return error_prefix(err, "--layout");
        }
    }
    return true;
}

static bool info(struct command_line *line, const struct trace *trace, struct error *err)
{
    const struct trace_options *options = line->options;
    struct cluster cluster;
    struct layout *layouts = mem_alloc(trace->layers, sizeof *layouts);
    struct trace_stats stats;
    const bool ok = resolve_layouts(&options->def, trace, &cluster, layouts, err) &&
                    trace_stats_make(&stats, trace, layouts, cluster.nodes, err);
    const bool written = ok && output_trace(line, trace, &cluster, &stats, err);
    if (ok)
        trace_stats_release(&stats);
    for (uint32_t l = 0; l < trace->layers; l++)
        layout_release(&layouts[l]);
    free(layouts);
    return written;
}

static enum exit_code run_info(struct command_line *line, struct error *err)
{
    const struct trace_options *options = line->options;
    struct trace trace;
    if (!check_tsv_kind(&options->common, "trace or lags", err))
        return err->code;
    if (!trace_open(&trace, line->words[1], err))
        return err->code;
    const bool ok = info(line, &trace, err);
    trace_release(&trace);
    return ok ? EXIT_DONE : err->code;
}

#define INFO_WORDS "FOLDER (or trace import, trace export)"

static enum exit_code refuse_words(struct command_line *line, struct error *err)
{
    (void)line;
    return error_set(err, EXIT_INPUT, "trace: expected: epsim trace info " INFO_WORDS), err->code;
}

static const struct option_part trace_parts[] = {
    {&scenario_cluster_options, AT(def)}, {&scenario_layout_options, AT(def)},
    {&presets_options, AT(common)},       {&tsv_options, 0},
    {&result_options, AT(common)},        {&help_options, AT(common)},
};

static const struct verb trace_verbs[] = {
    {.name = "info", .words = INFO_WORDS, .min_words = 2, .max_words = 2, .run = run_info},
    {.name = "import", .own = &command_trace_import},
    {.name = "export", .own = &command_trace_export},
    {.name = "make", .own = &command_trace_make},
    {0},
};

// clang-format off
static const char trace_page[] =
    "examples:\n"
    "  epsim trace info traces/minimoe-256e\n"
    "  epsim trace info traces/minimoe-256e --ep 16 --json\n"
    "  epsim trace info traces/minimoe-256e --tsv lags\n"
    "\n"
    "usage: epsim trace info FOLDER [flags]\n"
    "{flags}\n"
    "\n"
    "columns, one row a layer (the load of an expert, rank or node: choices that went to it):\n"
    "  hottest_expert    its id\n"
    "  idle_experts      experts that nothing went to *\n"
    "  expert_max_mean   the hottest expert's load over the mean\n"
    "  load_p10 ... p99  quantiles over experts of load over mean *\n"
    "  gini              0: all experts have the same load; towards 1: one has all\n"
    "  sigma_ln_load     standard deviation of ln load over experts that have any *\n"
    "  top_eighth_share  the hottest eighth of the experts' share of the load *\n"
    "  rank_max_mean     the busiest rank's load over the mean, by --layout and --ep\n"
    "  node_max_mean     the same of nodes\n"
    "  ranks_per_token   distinct ranks that a token's choices live on, mean\n"
    "  nodes_per_token   the same of nodes\n"
    "  lag1_common       experts that a token shares with the token before it, mean *\n"
    "  * only in --tsv and --json\n"
    "\n"
    "--tsv lags: lag1 ... lag200, the experts that a token shares with the one that far before it in\n"
    "the file, mean; independent: what tokens of the same loads would share by chance.\n"
    "See also: epsim help trace import, epsim help trace export.\n";
// clang-format on

const struct command command_trace = {
    .name = "trace",
    .summary = "what a recorded routing trace holds",
    .page = trace_page,
    COMMAND_OPTIONS(trace_options, trace_parts, {.def = SCENARIO_DEFAULT}),
    .opens_output = true,
    .run = refuse_words,
    .verbs = trace_verbs,
};

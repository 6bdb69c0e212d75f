// epsim layout compare: layouts made on one part of a trace, side by side on another.
#include "base/mem.h"
#include "base/range.h"
#include "cli/confidence.h"
#include "cli/layout.h"
#include "cli/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// One layout of every layer of the task, by a rule or as --layout takes it.
struct column {
    const char *name;
    struct layouts layouts;
    struct layout_figures *figures; // [layers]
};

struct side_by_side {
    const struct layout_task *task;
    const struct engine *engine;
    struct column *columns;
    size_t count;
    struct extrapolation extrapolation; // under any layout
};

static void release(struct side_by_side *side)
{
    for (size_t c = 0; c < side->count; c++) {
        layouts_release(&side->columns[c].layouts);
        free(side->columns[c].figures);
    }
    free(side->columns);
    extrapolation_release(&side->extrapolation);
}

// The task's layers of what --layout takes.
static bool from_flag(const struct layout_task *task, const char *what, struct layouts *layouts,
                      struct error *err)
{
    const uint32_t count = task->layer_count;
    const struct scenario *scenario = &task->scenario;
    const struct trace *trace = scenario_trace(scenario);
    struct layout_wanted wanted = {
        .experts = task->shape.experts,
        .ranks = task->shape.ranks,
        .moe = parts_layer_model(trace, scenario->def.model[0] ? &scenario->moe : NULL)};
    *layouts = (struct layouts){.layer_ids = mem_alloc(count, sizeof *layouts->layer_ids),
                                .of = mem_alloc(count, sizeof *layouts->of)};
    for (uint32_t l = 0; l < count; l++) {
        layouts->layer_ids[l] = trace->layer_ids[task->layers[l]];
        wanted.layer = (int)layouts->layer_ids[l];
        if (!parts_load_layout(&layouts->of[l], what, &wanted, err))
            return layouts_release(layouts), error_prefix(err, "layout compare");
        layouts->count++;
    }
    return true;
}

// A word that is no path either is a slip of the pen.
static bool check_word(const char *word, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    enum placement_rule rule;
    if (layout_rule(word, &rule) || !strcmp(word, "round-robin") || strpbrk(word, "/.") ||
        (*word && access(word, F_OK) == 0))
        return true;
    return error_set(
        err, EXIT_INPUT,
        "layout compare: '%s': expected contiguous, round-robin, random, greedy, eplb, "
        "eplb-global, search or a file",
        error_quote(word, quoted));
}

static bool check_words(const struct command_line *line, struct error *err)
{
    for (size_t w = 1; w < line->word_count; w++)
        if (!check_word(line->words[w], err))
            return false;
    return true;
}

static bool fill_column(struct side_by_side *side, struct column *column, struct error *err)
{
    enum placement_rule rule = PLACEMENT_CONTIGUOUS;
    // "contiguous" is --layout's, without redundant slots.
    return layout_rule(column->name, &rule) && rule != PLACEMENT_CONTIGUOUS
               ? layout_plan(side->task, rule, &column->layouts, err)
               : from_flag(side->task, column->name, &column->layouts, err);
}

// Layers and layouts side by side on all threads. Every one is tried, so that the first that fails
// is the same whatever the threads.
static bool judge_layouts(struct side_by_side *side, struct error *err)
{
    const uint32_t layers = side->task->layer_count;
    const size_t count = side->count * layers;
    size_t failed = count;
#pragma omp parallel for schedule(dynamic, 1) shared(failed)
    for (size_t i = 0; i < count; i++) {
        struct column *column = &side->columns[i / layers];
        const uint32_t l = (uint32_t)(i % layers);
        struct error own;
        const struct layout_case judged = {.scenario = &side->task->scenario,
                                           .layer_index = side->task->layers[l],
                                           .layout = &column->layouts.of[l],
                                           .engine = side->engine};
        if (layout_judge(&judged, &column->figures[l], &own))
            continue;
#pragma omp critical
        if (i < failed) {
            failed = i;
            *err = own;
        }
    }
    return failed == count;
}

static void name_columns(struct side_by_side *side, const struct command_line *line)
{
    static const char *const usual[] = {"contiguous", "eplb", "search"};
    const bool def = line->word_count > 1;
    side->count = def ? line->word_count - 1 : sizeof usual / sizeof usual[0];
    side->columns = mem_alloc(side->count, sizeof *side->columns);
    for (size_t c = 0; c < side->count; c++) {
        side->columns[c].name = def ? line->words[c + 1] : usual[c];
        side->columns[c].figures =
            mem_alloc(side->task->layer_count, sizeof *side->columns[c].figures);
    }
}

// ---- the table ---------------------------------------------------------------------------------

static void add_layout_row(struct table *table, const struct column *column, const char *layer,
                           const struct layout_figures *figures, double first_us)
{
    TABLE_ADD(table, cell_text(column->name), cell_text(layer), cell_real(figures->layer_us),
              cell_real(100 * (figures->layer_us / first_us - 1)), cell_real(figures->dispatch_us),
              cell_real(figures->experts_us), cell_real(figures->combine_us),
              cell_real(figures->rank_max_mean), cell_real(figures->node_max_mean),
              cell_real(figures->ranks_per_token), cell_real(figures->nodes_per_token),
              cell_real(figures->replicas));
}

static struct layout_figures mean_figures(const struct column *column, uint32_t layers)
{
    struct layout_figures mean = {0};
    for (uint32_t l = 0; l < layers; l++) {
        const struct layout_figures *own = &column->figures[l];
        mean.layer_us += own->layer_us / layers;
        mean.dispatch_us += own->dispatch_us / layers;
        mean.experts_us += own->experts_us / layers;
        mean.combine_us += own->combine_us / layers;
        mean.rank_max_mean += own->rank_max_mean / layers;
        mean.node_max_mean += own->node_max_mean / layers;
        mean.ranks_per_token += own->ranks_per_token / layers;
        mean.nodes_per_token += own->nodes_per_token / layers;
        mean.replicas = fmax(mean.replicas, own->replicas);
    }
    return mean;
}

static struct table *layouts_table(const struct side_by_side *side)
{
    struct table *table =
        table_new("layouts", "layout layer layer_us against_first_pct dispatch_us "
                             "experts_us combine_us rank_max_mean node_max_mean "
                             "ranks_per_token nodes_per_token most_replicas");
    const uint32_t layers = side->task->layer_count;
    for (uint32_t l = 0; l < layers; l++)
        for (size_t c = 0; c < side->count; c++) {
            char layer[16];
            snprintf(layer, sizeof layer, "%u", side->columns[c].layouts.layer_ids[l]);
            add_layout_row(table, &side->columns[c], layer, &side->columns[c].figures[l],
                           side->columns[0].figures[l].layer_us);
        }
    for (size_t c = 0; c < side->count; c++) {
        const struct layout_figures mean = mean_figures(&side->columns[c], layers);
        add_layout_row(table, &side->columns[c], "mean", &mean,
                       mean_figures(&side->columns[0], layers).layer_us);
    }
    return table;
}

static bool output_side_by_side(struct command_line *line, const struct side_by_side *side,
                                const struct layout_task_def *def, struct error *err)
{
    struct layout_options *options = line->options;
    const struct layout_task *task = side->task;
    layout_say(line, task);
    options_say(line, "engine");
    struct table *table = layouts_table(side);
    json_t *document = json_head("epsim.layouts/1", def->scenario->seed, line);
    choice_json(&task->scenario.choice, document);
    extrapolation_json(&side->extrapolation, document);
    json_object_set_new(document, "layouts", table_json(table));
    table_head(table, def->scenario->seed, line, &task->scenario.cluster);
    table_comment(table, "title: %s, %s, EP%u on %s, %s, %s, %u slots", task->scenario.moe.name,
                  def->scenario->trace, task->shape.ranks, task->scenario.cluster.name,
                  task->scenario.dispatcher.name, side->engine->name, task->shape.slots);
    table_comment(table,
                  "parts: made on %g..%g of the trace, judged on %g..%g; means over steps of %u "
                  "tokens a GPU",
                  def->plan.from, def->plan.to, def->replay.from, def->replay.to,
                  task->scenario.def.tokens);
    choice_comment(&task->scenario.choice, table);
    extrapolation_comment(&side->extrapolation, table);
    return output_table(&options->common, table, document, err);
}

static bool find_extrapolation_of(struct side_by_side *side, struct error *err)
{
    struct fits fits;
    if (!fits_load(&fits, err))
        return false;
    const bool ok = layout_task_extrapolates(side->task, &fits, &side->extrapolation, err);
    fits_release(&fits);
    return ok;
}

// ---- what is asked -----------------------------------------------------------------------------

// What is not planned on, where that is at one end; with the whole planned on, the whole.
static bool rest_of(const struct share *plan, struct share *rest)
{
    const bool first = plan->from <= 0, last = plan->to >= 1;
    *rest = first && last ? (struct share){0, 1}
            : first       ? (struct share){plan->to, 1}
                          : (struct share){0, plan->from};
    return first || last;
}

static bool read_parts(const struct layout_options *options, struct layout_task_def *def,
                       struct error *err)
{
    def->plan = (struct share){0, 0.5};
    if (options->plan_on[0] &&
        !range_parse_share(options->plan_on, &def->plan.from, &def->plan.to, err))
        return error_prefix(err, "--plan-on");
    if (options->replay_on[0])
        return range_parse_share(options->replay_on, &def->replay.from, &def->replay.to, err) ||
               error_prefix(err, "--replay-on");
    return rest_of(&def->plan, &def->replay) ||
           error_set(err, EXIT_INPUT,
                     "--plan-on %s: a part from the middle: give --replay-on, as 0.5..1",
                     options->plan_on);
}

enum exit_code run_layout_compare(struct command_line *line, struct error *err)
{
    struct layout_options *options = line->options;
    struct layout_task_def def = {0};
    struct layout_task task;
    struct side_by_side side = {.task = &task};
    if (!layout_check_trace(options, "compare", err) ||
        !check_tsv_kind(&options->common, "layouts", err) || !check_words(line, err) ||
        !read_engine(options->engine, &side.engine, err) || !read_parts(options, &def, err) ||
        !layout_task_read(options, &def, &task, err))
        return err->code;
    name_columns(&side, line);
    bool ok = true;
    for (size_t c = 0; ok && c < side.count; c++)
        ok = fill_column(&side, &side.columns[c], err);
    ok = ok && find_extrapolation_of(&side, err) && judge_layouts(&side, err) &&
         output_side_by_side(line, &side, &def, err);
    release(&side);
    layout_task_release(&task);
    return ok ? EXIT_DONE : err->code;
}

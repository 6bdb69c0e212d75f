// epsim replay: a trace's layers and steps through an engine.
#include "study/replay.h"

#include "base/mem.h"
#include "base/progress.h"
#include "base/range.h"
#include "cli/cli.h"
#include "model/estimate.h"
#include "sim/simulate.h"
#include "study/replay_timeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KINDS "replay, replay-layers, replay-ranks or replay-steps"
#define US(ps) ((ps) / 1e6)

// ---- what is asked -----------------------------------------------------------------------------

static const struct {
    const char *name;
    replay_engine *run;
} engines[] = {{"simulate", simulate}, {"estimate", estimate}};

struct asked {
    struct replay_asked replay;
    uint32_t *layers, *steps;
};

static bool read_engine(const struct invocation *invocation, struct replay_asked *asked,
                        struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++)
        if (!strcmp(invocation->engine, engines[i].name))
            asked->engine = engines[i].run;
    return asked->engine ||
           error_set(err, EXIT_INPUT, "--engine: '%s': expected simulate or estimate",
                     error_quote(invocation->engine, quoted));
}

static bool read_places(const struct invocation *invocation, struct asked *asked, struct error *err)
{
    if (invocation->layers[0] &&
        !range_parse_indices(invocation->layers, &asked->layers, &asked->replay.layer_count, err))
        return error_prefix(err, "--layer");
    if (invocation->steps[0] &&
        !range_parse_indices(invocation->steps, &asked->steps, &asked->replay.step_count, err))
        return error_prefix(err, "--step");
    asked->replay.layers = asked->layers;
    asked->replay.steps = asked->steps;
    return true;
}

// The question's own layer and step, which stand in what is told of it, are the first.
static bool read_asked(struct invocation *invocation, struct asked *asked, struct error *err)
{
    if (!read_engine(invocation, &asked->replay, err) || !read_tokens(invocation, err) ||
        !read_places(invocation, asked, err))
        return false;
    invocation->question.layer = asked->layers ? asked->layers[0] : 0;
    invocation->question.step = asked->steps ? asked->steps[0] : 0;
    asked->replay.question = invocation->question;
    return true;
}

static bool check_asked(const struct invocation *invocation, struct error *err)
{
    if (!invocation->question.trace[0])
        return error_set(err, EXIT_INPUT, "--trace: expected a folder of recorded routing");
    return check_tsv_kind(invocation, KINDS, err) && check_together(invocation, err) &&
           check_timeline(invocation, err);
}

// ---- tables ------------------------------------------------------------------------------------

static void add_layer_name(struct table *table, const struct replay *replay,
                           const struct replay_layer *layer, bool id)
{
    const bool all = layer == &replay->all;
    if (all)
        table_text(table, "all");
    else
        table_count(table, layer->layer);
    if (id && all)
        table_blank(table);
    else if (id)
        table_count(table, layer->layer_id);
}

static double cost_pct(const struct replay_layer *layer, enum replay_figure figure)
{
    return 100 * replay_cost_ps(layer, figure) /
           (quantiles_mean(&layer->routed[figure]) - replay_cost_ps(layer, figure));
}

static void add_figure(struct table *table, const struct replay_layer *layer,
                       enum replay_figure figure)
{
    const struct quantiles *routed = &layer->routed[figure];
    const double cost_ps = replay_cost_ps(layer, figure), mean_ps = quantiles_mean(routed);
    table_text(table, replay_figure_name(figure));
    table_real(table, US(quantiles_at(routed, 0.5)));
    table_real(table, US(quantiles_at(routed, 0.9)));
    table_real(table, US(quantiles_at(routed, 0.99)));
    table_real(table, US(mean_ps));
    table_real(table, US((double)routed->most));
    table_real(table, US(mean_ps - cost_ps));
    table_real(table, US(cost_ps));
    table_real(table, cost_pct(layer, figure));
}

#define FIGURE_COLUMNS                                                                             \
    "phase", "p50_us", "p90_us", "p99_us", "mean_us", "max_us", "balanced_us", "imbalance_us",     \
        "imbalance_pct"

static void add_figures(struct table *table, const struct replay *replay,
                        const struct replay_layer *layer)
{
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
        if (!replay->present[figure])
            continue;
        add_layer_name(table, replay, layer, true);
        add_figure(table, layer, figure);
    }
}

static struct table *figures_table(const struct replay *replay)
{
    static const char *const columns[] = {"layer", "layer_id", FIGURE_COLUMNS, NULL};
    struct table *table = table_new("replay", columns);
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_figures(table, replay, &replay->layers[l]);
    add_figures(table, replay, &replay->all);
    return table;
}

// Medians of what moves and computes, and how the whole layer's latency spreads.
static void add_latency(struct table *table, const struct replay *replay,
                        const struct replay_layer *layer)
{
    const struct quantiles *routed = &layer->routed[REPLAY_LAYER];
    add_layer_name(table, replay, layer, true);
    for (int phase = PHASE_DISPATCH; phase <= PHASE_COMBINE; phase++)
        table_real(table, US(quantiles_at(&layer->routed[phase], 0.5)));
    table_real(table, US(quantiles_at(routed, 0.5)));
    table_real(table, US(quantiles_at(routed, 0.9)));
    table_real(table, US(quantiles_at(routed, 0.99)));
    table_real(table, US((double)routed->most));
}

static struct table *latency_table(const struct replay *replay)
{
    static const char *const columns[] = {"layer",      "layer_id", "dispatch_us", "experts_us",
                                          "combine_us", "p50_us",   "p90_us",      "p99_us",
                                          "max_us",     NULL};
    struct table *table = table_new("replay-latency", columns);
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_latency(table, replay, &replay->layers[l]);
    return table;
}

// A rank of a layer, and in what share of the places it was that; NULL: in none.
static void add_most(struct table *table, const struct replay_layer *layer,
                     const struct replay_rank *rank, uint64_t times)
{
    if (rank)
        table_count(table, (uint64_t)(rank - layer->ranks));
    else
        table_blank(table);
    table_real(table, 100 * (double)times / (double)layer->max_mean_ppm.count);
}

static double share_pct(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : NAN;
}

// A person has seen the layers' ids above.
static void add_hurt(struct table *table, const struct replay *replay,
                     const struct replay_layer *layer, bool ids)
{
    const struct replay_layer *all = &replay->all;
    const struct replay_rank *hot = replay_most_hot(replay, layer);
    const struct replay_rank *slow = replay_most_slow(replay, layer);
    const double cost_ps = replay_cost_ps(layer, REPLAY_LAYER);
    add_layer_name(table, replay, layer, ids);
    table_real(table, share_pct(quantiles_mean(&layer->routed[REPLAY_LAYER]),
                                quantiles_mean(&all->routed[REPLAY_LAYER])));
    table_real(table, US(cost_ps));
    table_real(table, cost_pct(layer, REPLAY_LAYER));
    table_real(table, share_pct(cost_ps, replay_cost_ps(all, REPLAY_LAYER)));
    table_real(table, quantiles_mean(&layer->max_mean_ppm) / 1e6);
    add_most(table, layer, hot, hot ? hot->hottest : 0);
    add_most(table, layer, slow, slow ? slow->slowest : 0);
}

static struct table *hurt_table(const struct replay *replay, bool ids)
{
    static const char *const columns[] = {
        "layer",    "layer_id",     "time_pct",    "imbalance_us", "imbalance_pct", "share_pct",
        "max_mean", "hottest_rank", "hottest_pct", "slowest_rank", "slowest_pct",   NULL};
    const char *shown[sizeof columns / sizeof columns[0]] = {columns[0]};
    memcpy(shown + 1, columns + (ids ? 1 : 2), sizeof columns - (ids ? 1 : 2) * sizeof columns[0]);
    struct table *table = table_new("replay-layers", shown);
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_hurt(table, replay, &replay->layers[l], ids);
    add_hurt(table, replay, &replay->all, ids);
    return table;
}

static void add_ranks(struct table *table, const struct replay *replay,
                      const struct replay_layer *layer)
{
    const double places = (double)layer->max_mean_ppm.count;
    double total = 0;
    for (uint32_t r = 0; r < replay->ranks; r++)
        total += (double)layer->ranks[r].choices;
    for (uint32_t r = 0; r < replay->ranks; r++) {
        const struct replay_rank *rank = &layer->ranks[r];
        table_count(table, layer->layer);
        table_count(table, layer->layer_id);
        table_count(table, r);
        table_real(table, total > 0 ? (double)rank->choices * replay->ranks / total : 1);
        table_real(table, total > 0 ? rank->most_ratio : 1);
        table_real(table, US(rank->experts_ps / places));
        table_real(table, 100 * (double)rank->hottest / places);
        table_real(table, 100 * (double)rank->slowest / places);
    }
}

static struct table *ranks_table(const struct replay *replay)
{
    static const char *const columns[] = {"layer",       "layer_id",       "rank",
                                          "load_ratio",  "load_ratio_max", "experts_us",
                                          "hottest_pct", "slowest_pct",    NULL};
    struct table *table = table_new("replay-ranks", columns);
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_ranks(table, replay, &replay->layers[l]);
    return table;
}

// ---- rows of every place -----------------------------------------------------------------------

static struct table *steps_table(void)
{
    static const char *const columns[] = {
        "step",        "layer",       "tokens_per_gpu", "dispatcher",   "rmsnorm_us", "router_us",
        "notify_us",   "dispatch_us", "experts_us",     "combine_us",   "shared_us",  "layer_us",
        "balanced_us", "max_mean",    "hottest_rank",   "slowest_rank", NULL};
    return table_new("replay-steps", columns);
}

static void add_rank(struct table *table, uint32_t rank)
{
    if (rank == UINT32_MAX)
        table_blank(table);
    else
        table_count(table, rank);
}

static void add_place(struct table *table, const struct replay_place *place)
{
    table_count(table, place->step);
    table_count(table, place->layer);
    table_count(table, place->tokens);
    table_text(table, place->schedule->dispatcher.name);
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++)
        if (figure == REPLAY_LAYER || place->schedule->present[figure])
            table_real(table, US((double)place->routed_ps[figure]));
        else
            table_blank(table);
    table_real(table, US((double)place->balanced_ps[REPLAY_LAYER]));
    table_real(table, place->max_mean);
    add_rank(table, place->hottest);
    add_rank(table, place->slowest);
}

// What is written while the replay runs.
struct live {
    struct progress progress;
    struct replay_timeline timeline;
    struct table *steps; // NULL: not asked
    FILE *out;
    uint32_t layers;
};

static void visit(void *context, const struct replay_place *place)
{
    struct live *live = context;
    progress_show(&live->progress, place->done, place->total);
    if (live->timeline.out)
        replay_timeline_add(&live->timeline, place, live->layers);
    if (!live->steps)
        return;
    add_place(live->steps, place);
    table_flush_tsv(live->steps, live->out);
}

// ---- the output --------------------------------------------------------------------------------

static void head(struct table *table, const struct invocation *invocation,
                 const struct replay *replay, const char *command)
{
    const struct setting *setting = &replay->answerable.setting;
    const uint32_t most = routing_most_tokens(&setting->routing);
    table_head(table, invocation, command, &setting->cluster);
    table_comment(table, "replay: %s, %llu step%s of %u layer%s, %u tokens a GPU%s, %s",
                  replay->answerable.trace.path, (unsigned long long)replay->steps,
                  replay->steps == 1 ? "" : "s", replay->layer_count,
                  replay->layer_count == 1 ? "" : "s", most,
                  replay->answerable.trace.steps.data ? " in the first" : "", invocation->engine);
    table_comment(table, "title: %s, EP%u on %s, %s, %s", setting->moe.name, replay->ranks,
                  setting->cluster.name, setting->dispatcher.name, invocation->engine);
}

static struct table *table_of(const struct invocation *invocation, const struct replay *replay)
{
    if (!strcmp(invocation->tsv, "replay-layers"))
        return hurt_table(replay, true);
    if (!strcmp(invocation->tsv, "replay-ranks"))
        return ranks_table(replay);
    return figures_table(replay);
}

static void set_rows(json_t *document, const char *key, struct table *table)
{
    json_object_set_new(document, key, table_json(table));
    table_free(table);
}

static json_t *document_of(const struct invocation *invocation, const struct replay *replay,
                           const char *command)
{
    json_t *document = json_head(invocation, "epsim.replay/1", command);
    json_t *config = json_config(invocation, &replay->answerable.setting);
    json_object_del(config, "layer");
    json_object_set_new(config, "step",
                        json_string(invocation->steps[0] ? invocation->steps : "all"));
    json_object_set_new(document, "config", config);
    json_object_set_new(document, "engine", json_string(invocation->engine));
    json_object_set_new(document, "steps", json_integer((json_int_t)replay->steps));
    set_rows(document, "phases", figures_table(replay));
    set_rows(document, "layers", hurt_table(replay, true));
    set_rows(document, "ranks", ranks_table(replay));
    return document;
}

static int by_cost(const void *a, const void *b)
{
    const struct replay_layer *const *x = a, *const *y = b;
    const double p = replay_cost_ps(*x, REPLAY_LAYER), q = replay_cost_ps(*y, REPLAY_LAYER);
    if (p != q)
        return p < q ? 1 : -1;
    return (*x)->layer > (*y)->layer ? 1 : -1;
}

// The layers that pay most of it: some, never all.
#define NAMED 3
static void say_layers(FILE *out, const struct replay *replay)
{
    const double all_ps = replay_cost_ps(&replay->all, REPLAY_LAYER);
    const uint32_t named = replay->layer_count > NAMED ? NAMED : replay->layer_count - 1;
    const struct replay_layer **order = mem_alloc(replay->layer_count, sizeof *order);
    double part_ps = 0;
    for (uint32_t l = 0; l < replay->layer_count; l++)
        order[l] = &replay->layers[l];
    qsort(order, replay->layer_count, sizeof *order, by_cost);
    fprintf(out, "; layer%s", named == 1 ? "" : "s");
    for (uint32_t l = 0; l < named; l++) {
        fprintf(out, "%s%u", l == 0 ? " " : l + 1 == named ? " and " : ", ", order[l]->layer);
        part_ps += replay_cost_ps(order[l], REPLAY_LAYER);
    }
    fprintf(out, " pay%s %.0f%% of it", named == 1 ? "s" : "", share_pct(part_ps, all_ps));
    free(order);
}

static void say_what_hurts(FILE *out, const struct replay *replay)
{
    const struct replay_layer *all = &replay->all;
    const struct replay_rank *slow = replay_most_slow(replay, all);
    const double cost_ps = replay_cost_ps(all, REPLAY_LAYER);
    char us[TABLE_NUMBER_BYTES];
    fprintf(out, "\nwhat hurts\n  Imbalance costs %s us a step, %.1f%% over balanced loads",
            table_short(US(cost_ps), us), cost_pct(all, REPLAY_LAYER));
    if (cost_ps > 0 && replay->layer_count > 1)
        say_layers(out, replay);
    fputs(".\n", out);
    if (slow)
        fprintf(out, "  gpu%u ends its experts last in %.0f%% of all layers and steps.\n",
                (unsigned)(slow - all->ranks),
                100 * (double)slow->slowest / (double)all->max_mean_ppm.count);
}

static void print_part(FILE *out, const char *title, struct table *table)
{
    fprintf(out, "\n%s\n", title);
    table_print(table, out);
    table_free(table);
}

static struct table *all_table(const struct replay *replay)
{
    static const char *const columns[] = {FIGURE_COLUMNS, NULL};
    struct table *table = table_new("replay-all", columns);
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++)
        if (replay->present[figure])
            add_figure(table, &replay->all, figure);
    return table;
}

// What a report is written from.
struct report {
    const struct invocation *invocation;
    const struct replay *replay;
    const char *command;
};

static void write_report(void *context, FILE *out)
{
    const struct report *report = context;
    struct table *all = all_table(report->replay);
    head(all, report->invocation, report->replay, report->command);
    table_comment(all, "a step: latencies summed over its layers; percentiles are over steps");
    table_print(all, out);
    table_free(all);
    print_part(out, "layers (medians of dispatch, experts and combine; then of the whole layer)",
               latency_table(report->replay));
    print_part(out, "imbalance (against the same tokens spread evenly over ranks)",
               hurt_table(report->replay, false));
    say_what_hurts(out, report->replay);
}

static bool output(const struct invocation *invocation, const struct replay *replay,
                   const char *command, struct error *err)
{
    struct report report = {invocation, replay, command};
    if (invocation->json)
        return output_json(invocation, document_of(invocation, replay, command), err);
    if (!invocation->tsv[0])
        return output_write(invocation, write_report, &report, err);
    struct table *table = table_of(invocation, replay);
    head(table, invocation, replay, command);
    const bool ok = output_table(invocation, table, NULL, err);
    table_free(table);
    return ok;
}

// ---- the run -----------------------------------------------------------------------------------

static void tell_timeline(const struct replay *replay, const struct replay_timeline *timeline)
{
    if (timeline->steps < replay->steps)
        notice("--timeline: the first %llu of %llu steps; --step takes others",
               (unsigned long long)timeline->steps, (unsigned long long)replay->steps);
}

static bool run_live(const struct invocation *invocation, struct replay *replay, struct live *live,
                     struct error *err)
{
    struct outfile timeline;
    if (!open_timeline(invocation, &timeline, err))
        return false;
    replay_timeline_begin(&live->timeline, timeline.stream, REPLAY_TIMELINE_EVENTS);
    progress_begin(&live->progress, "layers of steps", invocation->quiet);
    bool ok = replay_run(replay, visit, live, err);
    progress_end(&live->progress);
    replay_timeline_end(&live->timeline, invocation->engine);
    if (ok && timeline.stream) {
        tell_timeline(replay, &live->timeline);
        ok = outfile_commit(&timeline, err);
    }
    outfile_abort(&timeline);
    return ok;
}

static bool run_steps(const struct invocation *invocation, struct replay *replay,
                      const char *command, struct error *err)
{
    struct live live = {.layers = replay->layer_count, .out = invocation->out->stream};
    const bool steps = !strcmp(invocation->tsv, "replay-steps");
    if (steps) {
        live.steps = steps_table();
        head(live.steps, invocation, replay, command);
    }
    const bool ok = run_live(invocation, replay, &live, err);
    table_free(live.steps);
    if (!ok)
        return false;
    return steps ? outfile_commit(invocation->out, err) : output(invocation, replay, command, err);
}

static bool replay_trace(const struct invocation *invocation, const struct replay_asked *asked,
                         struct error *err)
{
    struct replay replay;
    if (!replay_open(&replay, asked, err))
        return false;
    if (replay.steps == 1 && !asked->step_count)
        notice("the trace is one step of %u tokens a GPU, so percentiles are of one; fewer "
               "--tokens make more steps of it",
               routing_most_tokens(&replay.answerable.setting.routing));
    char *command = setting_command(invocation, &replay.answerable.setting);
    const bool ok = run_steps(invocation, &replay, command, err);
    free(command);
    replay_release(&replay);
    return ok;
}

enum exit_code run_replay(struct invocation *invocation, struct error *err)
{
    struct asked asked = {0};
    bool ok = check_no_words(invocation, err) && read_asked(invocation, &asked, err);
    if (ok && !invocation->show)
        ok = check_asked(invocation, err) && replay_trace(invocation, &asked.replay, err);
    free(asked.layers);
    free(asked.steps);
    if (!ok)
        return err->code;
    return invocation->show ? run_show(invocation, err) : EXIT_DONE;
}

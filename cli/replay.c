// epsim replay: a trace's layers and steps through an engine.
#include "study/replay.h"

#include "base/progress.h"
#include "base/range.h"
#include "cli/command.h"
#include "cli/confidence.h"
#include "cli/output.h"
#include "cli/workload.h"
#include "cli/replay.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"
#include "study/replay_timeline.h"

#include <stdlib.h>
#include <string.h>

#define KINDS "replay, replay-layers, replay-ranks or replay-steps"

struct replay_options {
    struct workload_options workload;
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES]; // lists
    char engine[FIELD_TEXT_BYTES];
    char timeline[FIELD_TEXT_BYTES];
    struct extrapolation extrapolation; // of what is replayed; no option
    struct common_options common;
};

#define AT(member) offsetof(struct replay_options, member)

static const struct option_row list_rows[] = {
    {OPTION_TEXT("layer", AT(layers), "LIST",
                 "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all)")},
    {OPTION_TEXT("step", AT(steps), "LIST", "steps of the trace, from 0, as 0..12:4 (all)")},
    {OPTION_TEXT("engine", AT(engine), "NAME", "simulate or estimate"), .always_said = true},
};
static const struct option_group list_options = {HEADING_WORKLOAD, OPTION_ROWS(list_rows)};

TSV_OPTIONS(AT(common.tsv), KINDS " (as they are done)");

static const struct option_row timeline_rows[] = {
    {OPTION_TEXT("timeline", AT(timeline), "FILE",
                 "Chrome/Perfetto trace of steps, layers and ranks")},
};
static const struct option_group timeline_options = {HEADING_OUTPUT, OPTION_ROWS(timeline_rows)};

// ---- what is asked -----------------------------------------------------------------------------

struct places {
    struct replay_def replay;
    uint32_t *layers, *steps;
};

// The definition's own layer and step, which stand in what is told of it, are the first.
static bool read_replay_def(struct replay_options *options, struct places *places,
                            struct error *err)
{
    struct scenario_def *def = &options->workload.def;
    struct replay_def *replay = &places->replay;
    if (!read_engine(options->engine, &replay->engine, err) ||
        !workload_tokens(&options->workload, err) ||
        !read_indices("--layer", options->layers, &places->layers, &replay->layer_count, err) ||
        !read_indices("--step", options->steps, &places->steps, &replay->step_count, err))
        return false;
    replay->layers = places->layers;
    replay->steps = places->steps;
    def->layer = places->layers ? places->layers[0] : 0;
    def->step = places->steps ? places->steps[0] : 0;
    replay->scenario = *def;
    return true;
}

static bool check_replay(const struct command_line *line, struct error *err)
{
    const struct replay_options *options = line->options;
    if (!options->workload.def.trace[0])
        return error_set(err, EXIT_INPUT, "--trace: expected a folder of recorded routing");
    return check_tsv_kind(&options->common, KINDS, err) &&
           check_together(line, &options->workload.def, err) &&
           check_timeline(options->timeline, &options->common, err);
}

// What is written while the replay runs.
struct live {
    struct progress progress;
    struct replay_timeline timeline;
    struct table *steps; // NULL: not asked
    FILE *out;
    uint32_t layers;
};

static void show_place(void *context, const struct replay_place *place)
{
    struct live *live = context;
    progress_show(&live->progress, place->done, place->total);
    if (live->timeline.out)
        replay_timeline_add(&live->timeline, place, live->layers);
    if (!live->steps)
        return;
    replay_add_step(live->steps, place);
    table_flush_tsv(live->steps, live->out);
}

// ---- the output --------------------------------------------------------------------------------

static void replay_head(struct table *table, const struct command_line *line,
                        const struct replay *replay)
{
    const struct replay_options *options = line->options;
    const struct scenario *scenario = &replay->scenario;
    const uint32_t max = routing_max_tokens(&scenario->routing);
    table_head(table, options->workload.def.seed, line, &scenario->cluster);
    table_comment(table, "replay: %s, %llu step%s of %u layer%s, %u tokens a GPU%s, %s",
                  scenario_trace(scenario)->path, (unsigned long long)replay->steps,
                  replay->steps == 1 ? "" : "s", replay->layer_count,
                  replay->layer_count == 1 ? "" : "s", max,
                  scenario_trace(scenario)->steps.data ? " in the first" : "", options->engine);
    table_comment(table, "title: %s, EP%u on %s, %s, %s", scenario->moe.name, replay->ranks,
                  scenario->cluster.name, scenario->dispatcher.name, options->engine);
    planned_comment(scenario, table);
    choice_comment(&scenario->choice, table);
    extrapolation_comment(&options->extrapolation, table);
}

static struct table *table_of(const struct replay_options *options, const struct replay *replay)
{
    if (!strcmp(options->common.tsv, "replay-layers"))
        return replay_hurt(replay, true);
    if (!strcmp(options->common.tsv, "replay-ranks"))
        return replay_ranks(replay);
    return replay_figures(replay);
}

static json_t *document_of(const struct command_line *line, const struct replay *replay)
{
    const struct replay_options *options = line->options;
    json_t *document = json_head("epsim.replay/1", options->workload.def.seed, line);
    json_t *config = json_config(&options->workload.def, &replay->scenario);
    json_object_del(config, "layer");
    json_object_set_new(config, "step", json_string(options->steps[0] ? options->steps : "all"));
    json_object_set_new(document, "config", config);
    choice_json(&replay->scenario.choice, document);
    extrapolation_json(&options->extrapolation, document);
    json_object_set_new(document, "engine", json_string(options->engine));
    json_object_set_new(document, "steps", json_integer((json_int_t)replay->steps));
    json_object_set_new(document, "phases", json_rows(replay_figures(replay)));
    json_object_set_new(document, "layers", json_rows(replay_hurt(replay, true)));
    json_object_set_new(document, "ranks", json_rows(replay_ranks(replay)));
    return document;
}

// What a report is written from.
struct report {
    const struct command_line *line;
    const struct replay *replay;
};

static void write_replay_report(void *context, FILE *out)
{
    const struct report *report = context;
    struct table *all = replay_all(report->replay);
    replay_head(all, report->line, report->replay);
    table_comment(all, "a step: latencies summed over its layers; percentiles are over steps");
    table_print(all, out);
    table_free(all);
    print_part(out, "layers (medians of dispatch, experts and combine; then of the whole layer)",
               replay_latency(report->replay));
    print_part(out, "imbalance (against the same tokens spread evenly over ranks)",
               replay_hurt(report->replay, false));
    replay_say_what_hurts(out, report->replay);
}

static bool output_replay(const struct command_line *line, const struct replay *replay,
                          struct error *err)
{
    struct replay_options *options = line->options;
    struct report report = {line, replay};
    if (options->common.json)
        return output_json(&options->common, document_of(line, replay), err);
    if (!options->common.tsv[0])
        return output_write(&options->common, write_replay_report, &report, err);
    struct table *table = table_of(options, replay);
    replay_head(table, line, replay);
    return output_table(&options->common, table, NULL, err);
}

// ---- the run -----------------------------------------------------------------------------------

static void tell_timeline(const struct replay *replay, const struct replay_timeline *timeline)
{
    if (timeline->steps < replay->steps)
        notice("--timeline: the first %llu of %llu steps; --step takes others",
               (unsigned long long)timeline->steps, (unsigned long long)replay->steps);
}

static bool run_live(struct replay_options *options, struct replay *replay, struct live *live,
                     struct error *err)
{
    struct outfile timeline;
    if (!open_timeline(options->timeline, &options->common, &timeline, err))
        return false;
    replay_timeline_begin(&live->timeline, timeline.stream, REPLAY_TIMELINE_EVENTS);
    progress_begin(&live->progress, "layers of steps", options->common.quiet);
    bool ok = replay_run(replay, show_place, live, err);
    progress_end(&live->progress);
    replay_timeline_end(&live->timeline, options->engine);
    if (ok && timeline.stream) {
        tell_timeline(replay, &live->timeline);
        ok = outfile_commit(&timeline, err);
    }
    outfile_abort(&timeline);
    return ok;
}

static bool run_steps(const struct command_line *line, struct replay *replay, struct error *err)
{
    struct replay_options *options = line->options;
    struct live live = {.layers = replay->layer_count, .out = options->common.out.stream};
    const bool steps = !strcmp(options->common.tsv, "replay-steps");
    if (steps) {
        live.steps = replay_steps();
        replay_head(live.steps, line, replay);
    }
    const bool ok = run_live(options, replay, &live, err);
    table_free(live.steps);
    if (!ok)
        return false;
    return steps ? outfile_commit(&options->common.out, err) : output_replay(line, replay, err);
}

static bool find_extrapolation(struct replay_options *options, const struct replay *replay,
                               struct error *err)
{
    struct fits fits;
    if (!fits_load(&fits, err))
        return false;
    const bool ok = replay_extrapolates(replay, &fits, &options->extrapolation, err);
    fits_release(&fits);
    return ok;
}

static bool replay_trace(struct command_line *line, const struct replay_def *def, struct error *err)
{
    struct replay_options *options = line->options;
    struct replay replay;
    if (!replay_open(&replay, def, err))
        return false;
    if (replay.steps == 1 && !def->step_count)
        notice("the trace is one step of %u tokens a GPU, so percentiles are of one; fewer "
               "--tokens make more steps of it",
               routing_max_tokens(&replay.scenario.routing));
    // With what was resolved but the places, all where none was asked.
    workload_say(line, &options->workload, &replay.scenario);
    workload_say_dispatcher(line, &options->workload, &replay.scenario);
    const bool ok = find_extrapolation(options, &replay, err) && run_steps(line, &replay, err);
    extrapolation_release(&options->extrapolation);
    replay_release(&replay);
    return ok;
}

static enum exit_code run_replay(struct command_line *line, struct error *err)
{
    struct replay_options *options = line->options;
    struct places places = {0};
    bool ok = check_no_words(line, err) && read_replay_def(options, &places, err);
    if (ok && !options->workload.show)
        ok = check_replay(line, err) && replay_trace(line, &places.replay, err);
    free(places.layers);
    free(places.steps);
    if (!ok)
        return err->code;
    return options->workload.show ? show_parts(line, &options->workload, &options->common, err)
                                  : EXIT_DONE;
}

static const struct option_part replay_parts[] = {
    {&scenario_model_options, AT(workload.def)},
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_dispatcher_options, AT(workload.def)},
    {&scenario_kernels_options, AT(workload.def)},
    {&scenario_dtypes_options, AT(workload.def)},
    {&scenario_layout_options, AT(workload.def)},
    {&scenario_trace_options, AT(workload.def)},
    {&scenario_seed_options, AT(workload.def.seed)},
    {&scenario_slow_options, AT(workload.def)},
    {&scenario_run_options, AT(workload.def)},
    {&scenario_aligned_options, AT(workload.def)},
    {&scenario_graph_options, AT(workload.def)},
    {&tokens_options, AT(workload.tokens)},
    {&list_options, 0},
    {&presets_options, AT(common)},
    {&tsv_options, 0},
    {&result_options, AT(common)},
    {&timeline_options, 0},
    {&show_options, AT(workload.show)},
    {&help_options, AT(common)},
};

// clang-format off
static const char replay_page[] =
    "examples:\n"
    "  epsim replay --trace traces/minimoe-256e --tokens 128\n"
    "  epsim replay --trace traces/minimoe-256e --tokens 16 --step 0..9 --timeline steps.json\n"
    "  epsim replay --trace traces/minimoe-256e --tsv replay-ranks -o ranks.tsv && epsim plot ranks.tsv -o ranks.svg\n"
    "\n"
    "usage: epsim replay --trace FOLDER [flags]\n"
    "{flags}\n"
    "\n"
    "columns are in README, \"Replay a trace\". Phases overlap between ranks, so they sum to more\n"
    "than the layer; imbalance is routing's alone, its per cent is of even_us.\n";
// clang-format on

const struct command command_replay = {
    .name = "replay",
    .summary =
        "a trace's layers and steps through an engine: percentiles, and what imbalance costs",
    .page = replay_page,
    COMMAND_OPTIONS(replay_options, replay_parts,
                    {.workload.def = SCENARIO_DEFAULT, .engine = "simulate"}),
    .opens_output = true,
    .run = run_replay,
};

// epsim replay: a trace's layers and steps through an engine.
#include "study/replay.h"

#include "base/progress.h"
#include "base/range.h"
#include "cli/cli.h"
#include "cli/replay.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"
#include "study/replay_timeline.h"

#include <stdlib.h>
#include <string.h>

#define KINDS "replay, replay-layers, replay-ranks or replay-steps"

// ---- what is asked -----------------------------------------------------------------------------

struct asked {
    struct replay_asked replay;
    uint32_t *layers, *steps;
};

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
    enum engine engine;
    if (!read_engine(invocation, &engine, err) || !read_tokens(invocation, err) ||
        !read_places(invocation, asked, err))
        return false;
    asked->replay.engine = engine == ENGINE_SIMULATE ? simulate : estimate;
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
    replay_add_step(live->steps, place);
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
        return replay_hurt(replay, true);
    if (!strcmp(invocation->tsv, "replay-ranks"))
        return replay_ranks(replay);
    return replay_figures(replay);
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
    set_rows(document, "phases", replay_figures(replay));
    set_rows(document, "layers", replay_hurt(replay, true));
    set_rows(document, "ranks", replay_ranks(replay));
    return document;
}

static void print_part(FILE *out, const char *title, struct table *table)
{
    fprintf(out, "\n%s\n", title);
    table_print(table, out);
    table_free(table);
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
    struct table *all = replay_all(report->replay);
    head(all, report->invocation, report->replay, report->command);
    table_comment(all, "a step: latencies summed over its layers; percentiles are over steps");
    table_print(all, out);
    table_free(all);
    print_part(out, "layers (medians of dispatch, experts and combine; then of the whole layer)",
               replay_latency(report->replay));
    print_part(out, "imbalance (against the same tokens spread evenly over ranks)",
               replay_hurt(report->replay, false));
    replay_say_what_hurts(out, report->replay);
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
        live.steps = replay_steps();
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

// --show: the model, cluster and dispatcher that a run would have, as YAML that is read back to the
// very same run.
#include "base/mem.h"
#include "base/object.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

const char *const show_names[] = {"nothing", "model", "cluster", "dispatcher", "all", NULL};

#define SOURCES 128 // above the rows of any field table

// One part: what is in force, and whence.
struct shown {
    const char *title;
    const struct field *fields;
    size_t count;
    const void *object;
    struct provenance provenance[SOURCES];
};

struct presets {
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct shown parts[SHOW_ALL]; // [SHOW_MODEL] to [SHOW_DISPATCHER]
    enum show_part part;
    bool has_model;
};

static void print_part(FILE *out, const struct shown *shown)
{
    fprintf(out, "# %s\n", shown->title);
    const struct object_text text = {.fields = shown->fields,
                                     .count = shown->count,
                                     .object = shown->object,
                                     .provenance = shown->provenance};
    object_print(out, &text);
}

static void write_parts(void *context, FILE *out)
{
    const struct presets *presets = context;
    if (presets->part != SHOW_ALL) {
        print_part(out, &presets->parts[presets->part]);
        return;
    }
    for (int p = SHOW_MODEL; p < SHOW_ALL; p++) {
        if (p == SHOW_MODEL && !presets->has_model)
            continue;
        fprintf(out, "# ---- a file of its own for --%s: --show %s ----\n", show_names[p],
                show_names[p]);
        print_part(out, &presets->parts[p]);
        fputc('\n', out);
    }
}

// Flags that have no part in what would run.
static bool check_show(const struct invocation *invocation, struct error *err)
{
    static const char *const others[] = {"json",     "tsv",           "timeline",  "check",
                                         "measured", "tolerance_pct", "imbalance", "interval"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (invocation_given(invocation, others[i]))
            return error_set(err, EXIT_INPUT, "--%s has no meaning with --show", others[i]);
    if (invocation->question.traffic[0] && invocation->show == SHOW_MODEL)
        return error_set(err, EXIT_INPUT, "--show model: a byte matrix has no model");
    return true;
}

// An own figure has no source any more.
static void drop_source(struct shown *shown, const char *key)
{
    const size_t row = (size_t)(field_find(shown->fields, shown->count, key) - shown->fields);
    provenance_release(&shown->provenance[row], 1);
}

// Loads each part once more for its sources; the figures are the setting's.
static bool find_sources(struct presets *presets, const struct question *question,
                         const struct setting *setting, struct error *err)
{
    const char *model = question->model[0]   ? question->model
                        : question->trace[0] ? NULL
                                             : setting->moe.name;
    const char *dispatcher =
        question->dispatcher[0] ? question->dispatcher : setting->dispatcher.name;
    presets->has_model = !setting->traffic;
    if (presets->has_model && model &&
        !moe_load(model, &presets->moe, presets->parts[SHOW_MODEL].provenance, err))
        return error_prefix(err, "--model");
    if (!cluster_load(question->cluster, &presets->cluster, presets->parts[SHOW_CLUSTER].provenance,
                      err))
        return error_prefix(err, "--cluster");
    if (!dispatcher_load(dispatcher, &setting->cluster, &presets->dispatcher,
                         presets->parts[SHOW_DISPATCHER].provenance, err))
        return error_prefix(err, "--dispatcher");
    presets->moe = setting->moe;
    presets->cluster = setting->cluster;
    presets->dispatcher = setting->dispatcher;
    if (question->sms)
        drop_source(&presets->parts[SHOW_DISPATCHER], "sms");
    return true;
}

static bool resolve(struct presets *presets, const struct question *question, struct error *err)
{
    struct answerable answerable;
    // A named model is shown whatever cluster it would fit.
    if (presets->part == SHOW_MODEL && question->model[0] && !question->trace[0])
        return moe_load(question->model, &presets->moe, presets->parts[SHOW_MODEL].provenance,
                        err) ||
               error_prefix(err, "--model");
    if (!ask_resolve(&answerable, question, err))
        return false;
    const bool ok = find_sources(presets, question, &answerable.setting, err);
    ask_release(&answerable);
    return ok;
}

static void presets_free(struct presets *presets)
{
    for (int p = SHOW_MODEL; p < SHOW_ALL; p++)
        provenance_release(presets->parts[p].provenance, SOURCES);
    free(presets);
}

enum exit_code run_show(struct invocation *invocation, struct error *err)
{
    if (!check_show(invocation, err) || !check_together(invocation, err) ||
        !read_tokens(invocation, err))
        return err->code;
    struct presets *presets = mem_alloc(1, sizeof *presets);
    presets->part = invocation->show;
    presets->parts[SHOW_MODEL] =
        (struct shown){"model", moe_fields, moe_field_count, &presets->moe, {{0}}};
    presets->parts[SHOW_CLUSTER] =
        (struct shown){"cluster", cluster_fields, cluster_field_count, &presets->cluster, {{0}}};
    presets->parts[SHOW_DISPATCHER] = (struct shown){
        "dispatcher", dispatcher_fields, dispatcher_field_count, &presets->dispatcher, {{0}}};
    const bool ok = resolve(presets, &invocation->question, err) &&
                    output_write(invocation, write_parts, presets, err);
    presets_free(presets);
    return ok ? EXIT_DONE : err->code;
}

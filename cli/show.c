// --show: the model, cluster, dispatcher and kernels that a run would have, as YAML that is read
// back to the very same run.

#include "cli/workload.h"

#include "base/mem.h"
#include "base/object.h"
#include "cli/output.h"
#include "base/preset.h"

#include <stdlib.h>
#include <string.h>

static const char *const show_names[] = {"nothing", "model", "cluster", "dispatcher",
                                         "kernels", "all",   NULL};

static const struct option_row show_rows[] = {
    {OPTION_CHOICE(
        "show", 0, "PART", show_names,
        "print, with sources, what would run: model, cluster, dispatcher, kernels or all")},
};
const struct option_group show_options = {HEADING_OUTPUT, OPTION_ROWS(show_rows)};

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
    struct kernels kernels;
    struct shown parts[SHOW_ALL]; // [SHOW_MODEL] to [SHOW_KERNELS]
    enum show_part part;
    bool has_model;
};

static void print_shown(FILE *out, const struct shown *shown)
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
        print_shown(out, &presets->parts[presets->part]);
        return;
    }
    for (int p = SHOW_MODEL; p < SHOW_ALL; p++) {
        if ((p == SHOW_MODEL || p == SHOW_KERNELS) && !presets->has_model)
            continue;
        fprintf(out, "# ---- a file of its own for --%s: --show %s ----\n", show_names[p],
                show_names[p]);
        print_shown(out, &presets->parts[p]);
        fputc('\n', out);
    }
}

// Flags that have no part in what would run.
static bool check_show(const struct command_line *line, const struct workload_options *workload,
                       struct error *err)
{
    static const char *const others[] = {"json",     "tsv",           "timeline",  "check",
                                         "measured", "tolerance_pct", "imbalance", "interval"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (options_given(line, others[i]))
            return error_set(err, EXIT_INPUT, "--%s has no meaning with --show", others[i]);
    if (workload->def.traffic[0] &&
        (workload->show == SHOW_MODEL || workload->show == SHOW_KERNELS))
        return error_set(err, EXIT_INPUT, "--show %s: a byte matrix has no model",
                         show_names[workload->show]);
    return true;
}

// An own figure has no source any more.
static void drop_source(struct shown *shown, const char *key)
{
    const size_t row = (size_t)(field_find(shown->fields, shown->count, key) - shown->fields);
    provenance_release(&shown->provenance[row], 1);
}

// Loads each part once more for its sources; the figures are the scenario's.
static bool find_sources(struct presets *presets, const struct scenario_def *def,
                         const struct scenario *scenario, struct error *err)
{
    const char *model = def->model[0] ? def->model : def->trace[0] ? NULL : scenario->moe.name;
    const char *dispatcher = def->dispatcher[0] ? def->dispatcher : scenario->dispatcher.name;
    presets->has_model = !scenario->traffic;
    if (presets->has_model && model &&
        !moe_load(model, &presets->moe, presets->parts[SHOW_MODEL].provenance, err))
        return error_prefix(err, "--model");
    if (!cluster_load(def->cluster, &presets->cluster, presets->parts[SHOW_CLUSTER].provenance,
                      err))
        return error_prefix(err, "--cluster");
    if (!dispatcher_load(dispatcher, &scenario->cluster, &presets->dispatcher,
                         presets->parts[SHOW_DISPATCHER].provenance, err))
        return error_prefix(err, "--dispatcher");
    if (presets->has_model &&
        !kernels_load(def->kernels[0] ? def->kernels : KERNELS_DEFAULT, &scenario->cluster,
                      &presets->kernels, presets->parts[SHOW_KERNELS].provenance, err))
        return error_prefix(err, "--kernels");
    presets->kernels = scenario->kernels;
    presets->moe = scenario->moe;
    presets->cluster = scenario->cluster;
    presets->dispatcher = scenario->dispatcher;
    presets->parts[SHOW_DISPATCHER].fields = scenario->dispatcher.cost_model->fields;
    presets->parts[SHOW_DISPATCHER].count = scenario->dispatcher.cost_model->field_count;
    if (def->sms)
        drop_source(&presets->parts[SHOW_DISPATCHER], "sms");
    return true;
}

static bool resolve_presets(struct presets *presets, const struct scenario_def *def,
                            struct error *err)
{
    struct scenario scenario;
    // A named model is shown whatever cluster it would fit.
    if (presets->part == SHOW_MODEL && def->model[0] && !def->trace[0])
        return moe_load(def->model, &presets->moe, presets->parts[SHOW_MODEL].provenance, err) ||
               error_prefix(err, "--model");
    if (!scenario_open(&scenario, def, err))
        return false;
    const bool ok = find_sources(presets, def, &scenario, err);
    scenario_release(&scenario);
    return ok;
}

static void presets_free(struct presets *presets)
{
    for (int p = SHOW_MODEL; p < SHOW_ALL; p++)
        provenance_release(presets->parts[p].provenance, SOURCES);
    free(presets);
}

enum exit_code show_parts(const struct command_line *line, struct workload_options *workload,
                          struct common_options *common, struct error *err)
{
    if (!check_show(line, workload, err) || !check_together(line, &workload->def, err) ||
        !workload_tokens(workload, err))
        return err->code;
    struct presets *presets = mem_alloc(1, sizeof *presets);
    presets->part = workload->show;
    presets->parts[SHOW_MODEL] =
        (struct shown){"model", moe_fields, moe_field_count, &presets->moe, {{0}}};
    presets->parts[SHOW_CLUSTER] =
        (struct shown){"cluster", cluster_fields, cluster_field_count, &presets->cluster, {{0}}};
    presets->parts[SHOW_KERNELS] =
        (struct shown){"kernels", kernels_fields, kernels_field_count, &presets->kernels, {{0}}};
    presets->parts[SHOW_DISPATCHER] = (struct shown){
        .title = "dispatcher", .object = &presets->dispatcher}; // its keys: its cost model's
    const bool ok = resolve_presets(presets, &workload->def, err) &&
                    output_write(common, write_parts, presets, err);
    presets_free(presets);
    return ok ? EXIT_DONE : err->code;
}

// epsim calibrate: constants of clusters, dispatchers and kernels from measured rows.
#include "base/mem.h"
#include "base/object.h"
#include "cli/command.h"
#include "cli/judge.h"
#include "cli/output.h"
#include "cli/skipped.h"
#include "study/calibrate.h"
#include "study/domains.h"
#include "study/measure_hint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct calibrate_options {
    struct judge_options judge;
    char fit[FIELD_TEXT_BYTES];
    bool leave_out, between;
    char write[FIELD_TEXT_BYTES];
    struct common_options common;
};

#define AT(member) offsetof(struct calibrate_options, member)

static const struct option_row fit_rows[] = {
    {OPTION_TEXT("fit", AT(fit), "FIT",
                 "deepep, nccl-rates, nccl-tests, probe, or YAML: which keys of which presets may "
                 "move")},
    {OPTION_SWITCH("leave_out", AT(leave_out),
                   "fit without each group of rows in turn, and say how far off it is then")},
    {OPTION_SWITCH("between", AT(between),
                   "fit halfway between estimate and simulate, not estimate alone")},
};
static const struct option_group fit_options = {HEADING_JUDGED, OPTION_ROWS(fit_rows)};

static const struct option_row written_rows[] = {
    {OPTION_TEXT("write", AT(write), "FOLDER",
                 "write the fitted presets there, as --presets reads them")},
    {OPTION_TEXT("tsv", AT(common.tsv), "KIND",
                 "table for programs: calibrate, or with --leave-out left-out")},
};
static const struct option_group written_options = {HEADING_OUTPUT, OPTION_ROWS(written_rows)};

#define CORRELATED 0.95 // two parameters that the data hardly tell apart

static struct table *parameters_table(const struct calibration *calibration)
{
    struct table *table =
        table_new("calibrate", "key presets start value standard_error_pct rows verdict");
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        const double error = calibration->fit.standard_error[p];
        const bool found = calibration_found(calibration, p);
        char start[FIELD_TEXT_BYTES], value[FIELD_TEXT_BYTES];
        char *presets = names_join(&parameter->presets, ",");
        parameter_format(parameter, parameter->start, start);
        parameter_format(parameter, calibration->fit.values[p], value);
        TABLE_ADD(table, cell_text(parameter->keys[0]->key), cell_text(presets), cell_text(start),
                  cell_text(found ? value : NULL), cell_real(isfinite(error) ? 100 * error : NAN),
                  cell_count(parameter->rows),
                  cell_text(fit_verdict_names[calibration->fit.verdicts[p]]));
        free(presets);
    }
    return table;
}

static struct table *left_out_table(const struct calibration *calibration)
{
    struct table *table = table_new(
        "left-out", "family cluster dispatcher nodes phase stage n median_abs_pct p90_abs_pct");
    size_t count;
    struct left_out *groups = calibration_leave_out(calibration, &count);
    for (size_t g = 0; g < count; g++) {
        const struct measured_row *first = groups[g].first;
        TABLE_ADD(table, cell_text(first->family), cell_text(first->cluster),
                  cell_text(first->dispatcher), cell_count(first->nodes),
                  cell_text(phase_names[first->phase]),
                  cell_text(first->stage[0] ? first->stage : NULL), cell_count(groups[g].count),
                  cell_real(groups[g].median_abs_pct), cell_real(groups[g].p90_abs_pct));
    }
    free(groups);
    return table;
}

static size_t fitted_rows(const struct calibration *calibration)
{
    size_t rows = 0;
    for (size_t r = 0; r < calibration->row_count; r++)
        rows += !calibration->rows[r].skipped && calibration->rows[r].moved;
    return rows;
}

static size_t left_out_rows(const struct calibration *calibration)
{
    size_t rows = 0;
    for (size_t r = 0; r < calibration->row_count; r++)
        rows += calibration->rows[r].left_out;
    return rows;
}

// Rows that contradict each other, and parameters that rows do not tell: what to measure instead.
static void comment_untold(struct table *table, const struct calibration *calibration)
{
    for (size_t i = 0; i < calibration->contradictions.count; i++)
        table_comment(table, "contradiction: %s", calibration->contradictions.of[i]);
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        if (!calibration_found(calibration, p))
            table_comment(table, "left as it was: %s of %s (%s); measure %s",
                          parameter->keys[0]->key, parameter->presets.of[0],
                          fit_verdict_names[calibration->fit.verdicts[p]], measure_hint(parameter));
    }
}

static json_t *untold_json(const struct calibration *calibration)
{
    json_t *list = json_array();
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        if (!calibration_found(calibration, p))
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s}", "key", parameter->keys[0]->key,
                                            "preset", parameter->presets.of[0], "verdict",
                                            fit_verdict_names[calibration->fit.verdicts[p]],
                                            "measure", measure_hint(parameter)));
    }
    return list;
}

static json_t *contradictions_json(const struct calibration *calibration)
{
    json_t *list = json_array();
    for (size_t i = 0; i < calibration->contradictions.count; i++)
        json_array_append_new(list, json_string(calibration->contradictions.of[i]));
    return list;
}

static void comment_errors(struct table *table, const struct calibration *calibration)
{
    const size_t fitted = fitted_rows(calibration), left_out = left_out_rows(calibration);
    if (!fitted) {
        table_comment(table, "nothing is fitted: %zu rows skipped, %zu left out",
                      calibration->skipped, left_out);
        return;
    }
    table_comment(
        table,
        "%zu rows fitted, %zu skipped, %zu left out; median error %.3g%% (%.3g%% before), "
        "90th percentile %.3g%% (%.3g%%)",
        fitted, calibration->skipped, left_out, calibration->median_abs_pct,
        calibration->before_median_abs_pct, calibration->p90_abs_pct,
        calibration->before_p90_abs_pct);
}

static void comment_fit(struct table *table, const struct calibration *calibration)
{
    struct skipped skipped = {0};
    const size_t n = calibration->parameter_count;
    comment_errors(table, calibration);
    if (!calibration->fit.converged)
        table_comment(table, "the last round did not converge: nothing is found");
    comment_untold(table, calibration);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < a; b++)
            if (fabs(calibration->fit.correlation[a * n + b]) > CORRELATED)
                table_comment(table, "hardly told apart: %s of %s and %s of %s (correlation %.2f)",
                              calibration->parameters[b].keys[0]->key,
                              calibration->parameters[b].presets.of[0],
                              calibration->parameters[a].keys[0]->key,
                              calibration->parameters[a].presets.of[0],
                              calibration->fit.correlation[a * n + b]);
    for (size_t r = 0; r < calibration->row_count; r++)
        if (calibration->rows[r].skipped)
            skipped_add(&skipped, calibration->rows[r].measured->id, calibration->rows[r].why);
    skipped_tell(&skipped, table);
}

static bool output_calibration(const struct command_line *line,
                               const struct calibration *calibration, struct error *err)
{
    struct calibrate_options *options = line->options;
    struct table *table =
        options->leave_out ? left_out_table(calibration) : parameters_table(calibration);
    table_head(table, options->judge.seed, line, NULL);
    comment_fit(table, calibration);
    json_t *document = json_head("epsim.calibrate/1", options->judge.seed, line);
    json_object_set_new(document, options->leave_out ? "left_out" : "parameters",
                        table_json(table));
    json_object_set_new(document, "left_as_it_was", untold_json(calibration));
    json_object_set_new(document, "contradictions", contradictions_json(calibration));
    json_object_set_new(document, "median_abs_pct", table_json_real(calibration->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(calibration->p90_abs_pct));
    return output_table(&options->common, table, document, err);
}

// What fitted constants call the rows: as the fit file says, else by the names of their files.
static char *data_name(const struct calibration *calibration, const struct measured *measured)
{
    char *name = mem_copy_text(calibration->data);
    for (size_t i = 0; !calibration->data[0] && i < measured->files.count; i++) {
        const char *slash = strrchr(measured->files.of[i], '/');
        char *longer =
            mem_format("%s%s%s", name, i ? ", " : "", slash ? slash + 1 : measured->files.of[i]);
        free(name);
        name = longer;
    }
    return name;
}

static bool write_presets(const struct calibrate_options *options,
                          const struct calibration *calibration, const struct measured *measured,
                          struct error *err)
{
    const struct judge_options *judge = &options->judge;
    char *data = data_name(calibration, measured);
    const struct provenance origin = {.fit = data,
                                      .only = judge->only[0] ? (char *)judge->only : NULL,
                                      .except = judge->except[0] ? (char *)judge->except : NULL,
                                      .seed = judge->seed};
    const bool ok = calibration_write(calibration, options->write, &origin, err) ||
                    error_prefix(err, "--write");
    free(data);
    return ok;
}

static bool found_anything(const struct calibration *calibration)
{
    for (size_t p = 0; p < calibration->parameter_count; p++)
        if (calibration_found(calibration, p))
            return true;
    return false;
}

static enum exit_code calibrate(const struct command_line *line, struct calibration *calibration,
                                const struct measured *measured, struct error *err)
{
    struct calibrate_options *options = line->options;
    const struct row_overrides overrides = judge_overrides(&options->judge);
    domains_tell(measured, &overrides);
    const bool quiet = notice_quiet(true); // rows by the hundred would say the same
    const bool found = calibration_run(calibration, measured, &overrides, options->between, err);
    notice_quiet(quiet);
    if (!found)
        return err->code;
    const bool writes = options->write[0] && found_anything(calibration);
    if ((writes && !write_presets(options, calibration, measured, err)) ||
        !output_calibration(line, calibration, err))
        return err->code;
    return calibration_complete(calibration) ? EXIT_DONE : EXIT_TOLERANCE;
}

static enum exit_code load_and_calibrate(const struct command_line *line, struct error *err)
{
    const struct calibrate_options *options = line->options;
    struct calibration calibration;
    struct measured measured;
    if (!load_measured(line, &options->judge, &measured, err))
        return err->code;
    const struct calibrate_target asked = {.cluster = judge_overrides(&options->judge).cluster,
                                           .gpu = measured_gpu(&measured)};
    enum exit_code code = EXIT_DONE;
    if (calibration_load(&calibration, options->fit, &asked, err)) {
        code = calibrate(line, &calibration, &measured, err);
        calibration_release(&calibration);
    } else {
        error_prefix(err, "--fit");
        code = err->code;
    }
    measured_release(&measured);
    return code;
}

static enum exit_code run_calibrate(struct command_line *line, struct error *err)
{
    const struct calibrate_options *options = line->options;
    const char *kind = options->leave_out ? "left-out" : "calibrate";
    if (!check_files(line, err))
        return err->code;
    if (!options->fit[0])
        return error_set(err, EXIT_INPUT, "--fit: missing: expected a file of what may move"),
               err->code;
    return check_tsv_kind(&options->common, kind, err) ? load_and_calibrate(line, err) : err->code;
}

static const struct option_part calibrate_parts[] = {
    {&scenario_seed_options, AT(judge.seed)},
    {&judge_from_options, AT(judge)},
    {&judge_options, AT(judge)},
    {&fit_options, 0},
    {&presets_options, AT(common)},
    {&written_options, 0},
    {&result_options, AT(common)},
    {&help_options, AT(common)},
};

// clang-format off
static const char calibrate_page[] =
    "examples:\n"
    "  epsim calibrate rows.csv --fit fit.yaml --write fitted\n"
    "  epsim calibrate alltoall.txt sendrecv.txt --fit nccl-tests --write fitted \\\n"
    "      --cluster 4x8:name=mine,nvlink=450GB/s,nic=400Gbps\n"
    "  epsim simulate --cluster mine --presets fitted\n"
    "  epsim accuracy other-rows.csv --presets fitted --engine estimate\n"
    "\n"
    "usage: epsim calibrate FILE... --fit FIT [flags]\n"
    "{flags}\n"
    JUDGE_FILES_NOTES
    "\n"
    "columns, one row a parameter of the fit file:\n"
    "  key                 what moved, of a cluster or dispatcher\n"
    "  presets             that share it; NAME@CLUSTER: what dispatcher NAME says there\n"
    "  start, value        before and after the fit; -: not found, its preset's stays\n"
    "  standard_error_pct  of the value; -: the data say nothing of it\n"
    "  rows                that depend on the key\n"
    "  verdict             found: to be used;\n"
    "                      loose: a standard error above half the value, or blind data;\n"
    "                      at bound: it wants to go further than min or max;\n"
    "                      unused: no row's prediction moves with it;\n"
    "                      held: between the rows, which hardly say, and the fit file's prior;\n"
    "                      not converged\n"
    "\n"
    "What is loose, at bound or not converged is not written; a line says what to measure\n"
    "instead. Rows between nodes that contradict each other are left out and named. Exit 1 then.\n"
    "\n"
    "left-out (--leave-out), one row a group of measured rows, predicted by a fit without them:\n"
    "  n, median_abs_pct, p90_abs_pct   as in epsim help accuracy\n";
// clang-format on

const struct command command_calibrate = {
    .name = "calibrate",
    .summary = "constants of clusters, dispatchers and kernels from measured rows",
    .page = calibrate_page,
    COMMAND_OPTIONS(calibrate_options, calibrate_parts, {.judge.seed = SCENARIO_SEED}),
    .opens_output = true,
    .run = run_calibrate,
};

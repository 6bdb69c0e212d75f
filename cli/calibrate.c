// epsim calibrate: constants of clusters and dispatchers from measured rows.
#include "base/mem.h"
#include "base/object.h"
#include "cli/cli.h"
#include "study/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CORRELATED 0.95 // two parameters that the data hardly tell apart

static char *preset_list(const struct parameter *parameter)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    for (size_t i = 0; i < parameter->preset_count; i++)
        fprintf(out, "%s%s", i ? "," : "", parameter->presets[i]);
    fclose(out);
    return text;
}

static struct table *parameters_table(const struct calibration *calibration)
{
    static const char *const columns[] = {"key",  "presets", "start", "value", "standard_error_pct",
                                          "rows", "verdict", NULL};
    struct table *table = table_new("calibrate", columns);
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        const double error = calibration->fit.standard_error[p];
        char text[FIELD_TEXT_BYTES], *presets = preset_list(parameter);
        table_text(table, parameter->field->key);
        table_text(table, presets);
        table_text(table, parameter_format(parameter, parameter->start, text));
        table_text(table, parameter_format(parameter, calibration->fit.values[p], text));
        table_real(table, isfinite(error) ? 100 * error : NAN);
        table_count(table, parameter->rows);
        table_text(table, fit_verdict_names[calibration->fit.verdicts[p]]);
        free(presets);
    }
    return table;
}

static struct table *left_out_table(const struct calibration *calibration)
{
    static const char *const columns[] = {"family",      "cluster", "dispatcher", "nodes",
                                          "phase",       "stage",   "n",          "median_abs_pct",
                                          "p90_abs_pct", NULL};
    struct table *table = table_new("left-out", columns);
    size_t count;
    struct left_out *groups = calibration_leave_out(calibration, &count);
    for (size_t g = 0; g < count; g++) {
        table_text(table, groups[g].first->family);
        table_text(table, groups[g].first->cluster);
        table_text(table, groups[g].first->dispatcher);
        table_count(table, groups[g].first->nodes);
        table_text(table, phase_names[groups[g].first->phase]);
        if (groups[g].first->stage[0])
            table_text(table, groups[g].first->stage);
        else
            table_blank(table);
        table_count(table, groups[g].count);
        table_real(table, groups[g].median_abs_pct);
        table_real(table, groups[g].p90_abs_pct);
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

static void comment_fit(struct table *table, const struct calibration *calibration)
{
    const size_t n = calibration->parameter_count;
    table_comment(table,
                  "%zu rows fitted, %zu skipped; median error %.3g%% (%.3g%% before), 90th "
                  "percentile %.3g%% (%.3g%%)",
                  fitted_rows(calibration), calibration->skipped, calibration->median_abs_pct,
                  calibration->before_median_abs_pct, calibration->p90_abs_pct,
                  calibration->before_p90_abs_pct);
    if (!calibration->fit.converged)
        table_comment(table, "the last round did not converge: values may be off");
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < a; b++)
            if (fabs(calibration->fit.correlation[a * n + b]) > CORRELATED)
                table_comment(
                    table, "hardly told apart: %s of %s and %s of %s (correlation %.2f)",
                    calibration->parameters[b].field->key, calibration->parameters[b].presets[0],
                    calibration->parameters[a].field->key, calibration->parameters[a].presets[0],
                    calibration->fit.correlation[a * n + b]);
    for (size_t r = 0; r < calibration->row_count; r++)
        if (calibration->rows[r].skipped)
            table_comment(table, "skipped: %s: %s", calibration->rows[r].measured->id,
                          calibration->rows[r].why);
}

static bool output(const struct invocation *invocation, const struct calibration *calibration,
                   const char *command, struct error *err)
{
    struct table *table =
        invocation->leave_out ? left_out_table(calibration) : parameters_table(calibration);
    table_head(table, invocation, command, NULL);
    comment_fit(table, calibration);
    json_t *document = json_head(invocation, "epsim.calibrate/1", command);
    json_object_set_new(document, invocation->leave_out ? "left_out" : "parameters",
                        table_json(table));
    json_object_set_new(document, "median_abs_pct", table_json_real(calibration->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(calibration->p90_abs_pct));
    const bool ok = output_table(invocation, table, document, err);
    table_free(table);
    return ok;
}

// What fitted constants call the rows: as the fit file says, else by the names of their files.
static char *data_name(const struct calibration *calibration, const struct measured *measured)
{
    char *name = mem_copy_text(calibration->data);
    for (size_t i = 0; !calibration->data[0] && i < measured->file_count; i++) {
        const char *slash = strrchr(measured->files[i], '/');
        char *longer =
            mem_format("%s%s%s", name, i ? ", " : "", slash ? slash + 1 : measured->files[i]);
        free(name);
        name = longer;
    }
    return name;
}

static bool write_presets(const struct invocation *invocation,
                          const struct calibration *calibration, const struct measured *measured,
                          struct error *err)
{
    char *data = data_name(calibration, measured);
    const struct provenance origin = {.fit = data,
                                      .only = invocation->only[0] ? (char *)invocation->only : NULL,
                                      .except =
                                          invocation->except[0] ? (char *)invocation->except : NULL,
                                      .seed = invocation->question.seed};
    const bool ok = calibration_write(calibration, invocation->write, &origin, err) ||
                    error_prefix(err, "--write");
    free(data);
    return ok;
}

static bool calibrate(const struct invocation *invocation, struct calibration *calibration,
                      const struct measured *measured, struct error *err)
{
    const struct row_terms terms = row_terms(invocation);
    const bool quiet = notice_quiet(true); // rows by the hundred would say the same
    const bool found = calibration_run(calibration, measured, &terms, invocation->between, err);
    notice_quiet(quiet);
    if (!found)
        return false;
    char *command = command_line(invocation);
    const bool ok =
        (!invocation->write[0] || write_presets(invocation, calibration, measured, err)) &&
        output(invocation, calibration, command, err);
    free(command);
    return ok;
}

static bool load_and_calibrate(const struct invocation *invocation, struct error *err)
{
    struct calibration calibration;
    struct measured measured;
    if (!load_measured(invocation, &measured, err))
        return false;
    const struct calibrate_asked asked = {.cluster = row_terms(invocation).cluster,
                                          .gpu = measured_gpu(&measured)};
    bool ok =
        calibration_load(&calibration, invocation->fit, &asked, err) || error_prefix(err, "--fit");
    if (ok) {
        ok = calibrate(invocation, &calibration, &measured, err);
        calibration_release(&calibration);
    }
    measured_release(&measured);
    return ok;
}

enum exit_code run_calibrate(struct invocation *invocation, struct error *err)
{
    const char *kind = invocation->leave_out ? "left-out" : "calibrate";
    if (!check_files(invocation, err))
        return err->code;
    if (!invocation->fit[0])
        return error_set(err, EXIT_INPUT, "--fit: missing: expected a file of what may move"),
               err->code;
    if (!check_tsv_kind(invocation, kind, err) || !load_and_calibrate(invocation, err))
        return err->code;
    return EXIT_DONE;
}

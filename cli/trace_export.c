// epsim trace export: a part of a trace as a trace, or one layer of one step as a byte matrix.
#include "base/range.h"
#include "cli/cli.h"
#include "sim/simulate.h"
#include "traces/export.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const matrix_names[] = {"none", "dispatch", "combine", NULL};

static bool read_list(const char *flag, const char *text, uint32_t **values, size_t *count,
                      struct error *err)
{
    *values = NULL;
    *count = 0;
    return !text[0] || range_parse_indices(text, values, count, err) ||
           error_prefix(err, "%s", flag);
}

// --- a part as a trace -------------------------------------------------------------------------

// "FIRST..LAST", both in it.
static bool read_rows(const char *text, struct export_ask *ask, struct error *err)
{
    unsigned long long first, last;
    int used = 0;
    if (!text[0])
        return true;
    if (strspn(text, "0123456789.") != strlen(text) || strlen(text) > 40 ||
        sscanf(text, "%18llu..%18llu%n", &first, &last, &used) != 2 || text[used] || last < first)
        return error_set(err, EXIT_INPUT, "--rows: '%.40s': expected FIRST..LAST, as 0..4095",
                         text);
    ask->first = first;
    ask->end = last + 1;
    return true;
}

static bool check_trace_flags(const struct invocation *invocation, struct error *err)
{
    static const char *const of_matrix[] = {"dispatcher", "model", "layout", "cluster", "sms"};
    for (size_t i = 0; i < sizeof of_matrix / sizeof of_matrix[0]; i++)
        if (invocation_given(invocation, of_matrix[i]))
            return error_set(err, EXIT_INPUT, "--%s has a meaning only with --matrix",
                             of_matrix[i]);
    if (!invocation->output[0] || !strcmp(invocation->output, "-"))
        return error_set(err, EXIT_INPUT, "trace export: expected --output FOLDER, or --matrix");
    return true;
}

static bool export_to(const struct invocation *invocation, const struct export_ask *ask,
                      struct error *err)
{
    struct trace trace;
    struct export_report report;
    if (!trace_open(&trace, invocation->words[0], err))
        return false;
    const bool ok = trace_export(&trace, ask, &report, err);
    trace_release(&trace);
    if (ok)
        notice("%s: %llu tokens, %u MoE layers", invocation->output,
               (unsigned long long)report.tokens, report.layers);
    return ok;
}

static bool export_trace(struct invocation *invocation, struct error *err)
{
    uint32_t *layers = NULL, *steps = NULL;
    struct export_ask ask = {.folder = invocation->output, .ranks = invocation->def.ep};
    bool ok = check_trace_flags(invocation, err) && read_tokens(invocation, err) &&
              read_list("--layer", invocation->layers, &layers, &ask.layer_count, err) &&
              read_list("--step", invocation->steps, &steps, &ask.step_count, err) &&
              read_rows(invocation->rows, &ask, err);
    ask.layers = layers;
    ask.steps = steps;
    ask.tokens = invocation->def.tokens;
    ok = ok && export_to(invocation, &ask, err);
    free(layers);
    free(steps);
    return ok;
}

// --- a byte matrix -----------------------------------------------------------------------------

static bool read_one(const char *flag, const char *text, uint64_t *value, struct error *err)
{
    uint32_t *values;
    size_t count;
    if (!read_list(flag, text, &values, &count, err))
        return false;
    if (count > 1)
        error_set(err, EXIT_INPUT, "%s %s: expected one, with --matrix", flag, text);
    *value = count ? values[0] : 0;
    free(values);
    return count <= 1;
}

// The definition that simulate would be asked of the trace.
static bool read_question(struct invocation *invocation, struct error *err)
{
    struct scenario_def *def = &invocation->def;
    uint64_t layer;
    if (invocation->rows[0])
        return error_set(err, EXIT_INPUT, "--rows has no meaning with --matrix");
    if (strlen(invocation->words[0]) >= sizeof def->trace)
        return error_set(err, EXIT_INPUT, "%s: a path of more than %zu characters",
                         invocation->words[0], sizeof def->trace - 1);
    strcpy(def->trace, invocation->words[0]);
    if (!read_tokens(invocation, err) || !read_one("--layer", invocation->layers, &layer, err) ||
        !read_one("--step", invocation->steps, &def->step, err))
        return false;
    def->layer = (uint32_t)layer;
    return true;
}

static const struct transfer *find_transfer(const struct schedule *schedule, enum phase phase)
{
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (schedule->transfers[t].phase == phase)
            return &schedule->transfers[t];
    return NULL;
}

struct matrix {
    double *bytes;
    uint32_t ranks;
};

// Numbers alone: nccl-tests' reader takes no comments.
static void write_matrix(void *context, FILE *out)
{
    const struct matrix *matrix = context;
    for (uint32_t from = 0; from < matrix->ranks; from++)
        for (uint32_t to = 0; to < matrix->ranks; to++)
            fprintf(out, "%llu%c", llround(matrix->bytes[(size_t)from * matrix->ranks + to]),
                    to + 1 < matrix->ranks ? ' ' : '\n');
}

static bool output_matrix(const struct invocation *invocation, const struct schedule *schedule,
                          struct error *err)
{
    const enum phase phase = invocation->matrix == MATRIX_DISPATCH ? PHASE_DISPATCH : PHASE_COMBINE;
    const struct transfer *transfer = find_transfer(schedule, phase);
    if (!transfer)
        return error_set(err, EXIT_INPUT, "--matrix %s: %s moves nothing in that phase",
                         matrix_names[invocation->matrix], schedule->dispatcher.name);
    struct matrix matrix = {schedule_pair_bytes(schedule, transfer), schedule->fabric.ranks};
    const bool ok = output_write(invocation, write_matrix, &matrix, err);
    free(matrix.bytes);
    notice("bytes of %s by %s, layer %u, step %llu, EP%u", phase_names[phase],
           schedule->dispatcher.name, invocation->def.layer,
           (unsigned long long)invocation->def.step, schedule->fabric.ranks);
    return ok;
}

static bool export_matrix(struct invocation *invocation, struct error *err)
{
    struct scenario scenario;
    if (!read_question(invocation, err) ||
        !outfile_open(invocation->out, invocation->output[0] ? invocation->output : NULL, err) ||
        !scenario_open(&scenario, &invocation->def, err))
        return false;
    const bool ok = scenario_prepare(&scenario, &engine_simulate, err) &&
                    output_matrix(invocation, scenario.schedule, err);
    scenario_release(&scenario);
    return ok;
}

enum exit_code run_trace_export(struct invocation *invocation, struct error *err)
{
    if (invocation->word_count != 1)
        return error_set(err, EXIT_INPUT, "trace export: expected one trace's folder"), err->code;
    const bool ok = invocation->matrix == MATRIX_NONE ? export_trace(invocation, err)
                                                      : export_matrix(invocation, err);
    return ok ? EXIT_DONE : err->code;
}

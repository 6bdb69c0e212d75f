// epsim trace export: a part of a trace as a trace, or one layer of one step as a byte matrix.
#include "base/range.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/workload.h"
#include "sim/simulate.h"
#include "traces/export.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// The phase whose bytes are written instead of a trace.
enum matrix_kind { MATRIX_NONE, MATRIX_DISPATCH, MATRIX_COMBINE };
static const char *const matrix_names[] = {"none", "dispatch", "combine", NULL};

struct export_options {
    struct workload_options workload;
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES]; // lists
    char rows[FIELD_TEXT_BYTES];
    enum matrix_kind matrix;
    struct common_options common;
};

#define AT(member) offsetof(struct export_options, member)

static const struct option_row part_rows[] = {
    {OPTION_TEXT("layer", AT(layers), "LIST",
                 "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all; with --matrix 0)")},
    {OPTION_TEXT("step", AT(steps), "LIST",
                 "steps of the trace, from 0, as 0..12:4 (all; with --matrix 0)")},
    {OPTION_TEXT("tokens", AT(workload.tokens), "N",
                 "tokens a GPU of a step, where the trace has no steps.npy")},
    {OPTION_TEXT("rows", AT(rows), "FIRST..LAST", "tokens of the trace, from 0, both in it (all)")},
};
static const struct option_group part_options = {HEADING_WORKLOAD, OPTION_ROWS(part_rows)};

static const struct option_row matrix_rows[] = {
    {OPTION_CHOICE("matrix", AT(matrix), "PHASE", matrix_names,
                   "write no trace but the bytes from rank to rank of one layer's dispatch or "
                   "combine, as --traffic and nccl-tests' alltoallv read them")},
};
static const struct option_group matrix_options = {HEADING_OUTPUT, OPTION_ROWS(matrix_rows)};

static const struct option_row moved_rows[] = {
    {OPTION_TEXT("dispatcher", AT(workload.def.dispatcher), "NAME",
                 "of --matrix: preset or YAML (the fastest by estimate, as simulate takes it)")},
    {OPTION_TEXT("model", AT(workload.def.model), "MODEL",
                 "of --matrix: preset, epsim YAML or config.json (the trace's own shape)")},
};
static const struct option_group moved_options = {HEADING_WORKLOAD, OPTION_ROWS(moved_rows)};

// --- a part as a trace -------------------------------------------------------------------------

// "FIRST..LAST", both in it.
static bool read_row_range(const char *text, struct export_def *def, struct error *err)
{
    unsigned long long first, last;
    int used = 0;
    if (!text[0])
        return true;
    if (strspn(text, "0123456789.") != strlen(text) || strlen(text) > 40 ||
        sscanf(text, "%18llu..%18llu%n", &first, &last, &used) != 2 || text[used] || last < first)
        return error_set(err, EXIT_INPUT, "--rows: '%.40s': expected FIRST..LAST, as 0..4095",
                         text);
    def->first = first;
    def->end = last + 1;
    return true;
}

static bool check_trace_flags(const struct command_line *line, const char *folder,
                              struct error *err)
{
    static const char *const of_matrix[] = {"dispatcher", "model", "layout", "cluster", "sms"};
    for (size_t i = 0; i < sizeof of_matrix / sizeof of_matrix[0]; i++)
        if (options_given(line, of_matrix[i]))
            return error_set(err, EXIT_INPUT, "--%s has a meaning only with --matrix",
                             of_matrix[i]);
    if (!folder[0] || !strcmp(folder, "-"))
        return error_set(err, EXIT_INPUT, "trace export: expected --output FOLDER, or --matrix");
    return true;
}

static bool export_to(const char *path, const struct export_def *def, struct error *err)
{
    struct trace trace;
    struct export_report report;
    if (!trace_open(&trace, path, err))
        return false;
    const bool ok = trace_export(&trace, def, &report, err);
    trace_release(&trace);
    if (ok)
        notice("%s: %llu tokens, %u MoE layers", def->folder, (unsigned long long)report.tokens,
               report.layers);
    return ok;
}

static bool export_trace(struct command_line *line, struct error *err)
{
    struct export_options *options = line->options;
    struct workload_options *workload = &options->workload;
    uint32_t *layers = NULL, *steps = NULL;
    struct export_def def = {.folder = options->common.output, .ranks = workload->def.ep};
    bool ok = check_trace_flags(line, options->common.output, err) &&
              workload_tokens(workload, err) &&
              read_indices("--layer", options->layers, &layers, &def.layer_count, err) &&
              read_indices("--step", options->steps, &steps, &def.step_count, err) &&
              read_row_range(options->rows, &def, err);
    def.layers = layers;
    def.steps = steps;
    def.tokens = workload->def.tokens;
    ok = ok && export_to(line->words[0], &def, err);
    free(layers);
    free(steps);
    return ok;
}

// --- a byte matrix -----------------------------------------------------------------------------

static bool read_one(const char *flag, const char *text, uint64_t *value, struct error *err)
{
    uint32_t *values;
    size_t count;
    if (!read_indices(flag, text, &values, &count, err))
        return false;
    if (count > 1)
        error_set(err, EXIT_INPUT, "%s %s: expected one, with --matrix", flag, text);
    *value = count ? values[0] : 0;
    free(values);
    return count <= 1;
}

// The definition that simulate would be asked of the trace.
static bool read_export_def(struct export_options *options, const char *path, struct error *err)
{
    struct scenario_def *def = &options->workload.def;
    uint64_t layer;
    if (options->rows[0])
        return error_set(err, EXIT_INPUT, "--rows has no meaning with --matrix");
    if (strlen(path) >= sizeof def->trace)
        return error_set(err, EXIT_INPUT, "%s: a path of more than %zu characters", path,
                         sizeof def->trace - 1);
    strcpy(def->trace, path);
    if (!workload_tokens(&options->workload, err) ||
        !read_one("--layer", options->layers, &layer, err) ||
        !read_one("--step", options->steps, &def->step, err))
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

static bool output_matrix(struct export_options *options, const struct schedule *schedule,
                          struct error *err)
{
    const struct scenario_def *def = &options->workload.def;
    const enum phase phase = options->matrix == MATRIX_DISPATCH ? PHASE_DISPATCH : PHASE_COMBINE;
    const struct transfer *transfer = find_transfer(schedule, phase);
    if (!transfer)
        return error_set(err, EXIT_INPUT, "--matrix %s: %s moves nothing in that phase",
                         matrix_names[options->matrix], schedule->dispatcher.name);
    struct matrix matrix = {schedule_pair_bytes(schedule, transfer), schedule->fabric.ranks};
    const bool ok = output_write(&options->common, write_matrix, &matrix, err);
    free(matrix.bytes);
    notice("bytes of %s by %s, layer %u, step %llu, EP%u", phase_names[phase],
           schedule->dispatcher.name, def->layer, (unsigned long long)def->step,
           schedule->fabric.ranks);
    return ok;
}

static bool export_matrix(struct command_line *line, struct error *err)
{
    struct export_options *options = line->options;
    struct common_options *common = &options->common;
    struct scenario scenario;
    if (!read_export_def(options, line->words[0], err) ||
        !outfile_open(&common->out, common->output[0] ? common->output : NULL, err) ||
        !scenario_open(&scenario, &options->workload.def, err))
        return false;
    const bool ok = scenario_prepare(&scenario, &engine_simulate, err) &&
                    output_matrix(options, scenario.schedule, err);
    scenario_release(&scenario);
    return ok;
}

static enum exit_code run_trace_export(struct command_line *line, struct error *err)
{
    const struct export_options *options = line->options;
    if (line->word_count != 1)
        return error_set(err, EXIT_INPUT, "trace export: expected one trace's folder"), err->code;
    const bool ok =
        options->matrix == MATRIX_NONE ? export_trace(line, err) : export_matrix(line, err);
    return ok ? EXIT_DONE : err->code;
}

static const struct option_part export_parts[] = {
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_layout_options, AT(workload.def)},
    {&presets_options, AT(common)},
    {&part_options, 0},
    {&matrix_options, 0},
    {&moved_options, 0},
    {&folder_options, AT(common)},
    {&help_options, AT(common)},
};

// clang-format off
static const char trace_export_page[] =
    "examples:\n"
    "  epsim trace export traces/minimoe-256e --layer 1,2 --rows 0..1023 -o part\n"
    "  epsim trace export traces/minimoe-256e --matrix dispatch --ep 8 --tokens 64 -o matrix.txt\n"
    "\n"
    "usage: epsim trace export FOLDER -o FOLDER [flags]\n"
    "{flags}\n";
// clang-format on

const struct command command_trace_export = {
    .name = "trace export",
    .summary = "a part of a trace, or a byte matrix of one step",
    .page = trace_export_page,
    COMMAND_OPTIONS(export_options, export_parts, {.workload.def = SCENARIO_DEFAULT}),
    .run = run_trace_export,
};

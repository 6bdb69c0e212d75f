#include "cli/judge.h"

#include "study/ep/whose.h"
#include "study/part.h"
#include "study/rows/measured.h"

#include <string.h>

#define AT(member) offsetof(struct judge_options, member)

static const struct option_row from_rows[] = {
    {OPTION_NUMBER("from_us", FIELD_NUMBER, AT(from_us), "US", 0, 1e12,
                   "only rows measured at that or longer")},
};
const struct option_group judge_from_options = {HEADING_JUDGED, OPTION_ROWS(from_rows)};

static const struct option_row judge_rows[] = {
    {OPTION_TEXT("cluster", AT(cluster), "CLUSTER",
                 "stands for the rows' cluster, in their shape")},
    {OPTION_TEXT("dispatcher", AT(dispatcher), "DISPATCHER",
                 "whose kernels logs of copies of DeepEP's tests are of: uccl-normal")},
    {OPTION_TEXT("traffic", AT(traffic), "MATRIX",
                 "what alltoallv_perf moved where it read a matrix file: that file")},
    {OPTION_TEXT("trace", AT(trace), "FOLDER", "the recorded routing of rows that ran a trace")},
    {OPTION_TEXT("slow", AT(slow), "LIST",
                 "slow parts of rows that ran beside another job: gpu=3:compute=0.8")},
    {OPTION_TEXT("model", AT(model), "MODEL",
                 "what the rows ran: its groups and widths, which a CSV has no columns for")},
    {OPTION_TEXT("only", AT(only), "K/N",
                 "rows of the K-th of N parts, by a hash of their point (machine, dispatcher, "
                 "tokens)")},
    {OPTION_TEXT("except", AT(except), "K/N", "rows of all parts but that")},
};
const struct option_group judge_options = {HEADING_JUDGED, OPTION_ROWS(judge_rows)};

bool check_files(const struct command_line *line, struct error *err)
{
    return line->word_count ||
           error_set(err, EXIT_INPUT,
                     "%s: expected files of measurements: CSV, what nccl-tests print, or the TSV "
                     "of epsim-real probe",
                     line->table->program);
}

static bool is_as_long(const struct measured_row *row, const void *from_us)
{
    return row->latency_us >= *(const double *)from_us;
}

// Refuses what stands in for columns that no row has.
static bool check_overrides(const struct judge_options *judge, const struct measured *measured,
                            struct error *err)
{
    bool traced = false, disturbed = false;
    for (size_t i = 0; i < measured->count; i++) {
        traced = traced || !strcmp(measured->rows[i].routing, "trace");
        disturbed = disturbed || measured->rows[i].disturbed[0];
    }
    if (judge->trace[0] && !traced)
        return error_set(err, EXIT_INPUT, "--trace: no row ran a trace");
    return !judge->slow[0] || disturbed ||
           error_set(err, EXIT_INPUT, "--slow: no row ran beside another job (column disturbed)");
}

bool load_measured(const struct command_line *line, const struct judge_options *judge,
                   struct measured *measured, struct error *err)
{
    const bool except = judge->except[0];
    struct part part = {.except = except, .seed = judge->seed};
    if (except && judge->only[0])
        return error_set(err, EXIT_INPUT, "--only and --except: expected one of them");
    if (judge->only[0] && !part_parse(&part, judge->only, err))
        return error_prefix(err, "--only");
    if (except && !part_parse(&part, judge->except, err))
        return error_prefix(err, "--except");
    if (!measured_load_files(measured, line->words, line->word_count, judge->cluster, err))
        return false;
    if ((!judge->dispatcher[0] ||
         ep_rows_are_of(measured, judge->dispatcher, judge->cluster, err)) &&
        check_overrides(judge, measured, err) && part_keep(&part, measured, err) &&
        (measured_keep(measured, is_as_long, &judge->from_us) > 0 ||
         error_set(err, EXIT_INPUT, "%s: no row is as long as --from-us %g", measured->path,
                   judge->from_us)))
        return true;
    measured_release(measured);
    return false;
}

struct row_overrides judge_overrides(const struct judge_options *judge)
{
    const bool except = judge->except[0];
    struct row_overrides overrides = {.cluster = judge->cluster[0] ? judge->cluster : NULL,
                                      .traffic = judge->traffic[0] ? judge->traffic : NULL,
                                      .trace = judge->trace[0] ? judge->trace : NULL,
                                      .slow = judge->slow[0] ? judge->slow : NULL,
                                      .model = judge->model[0] ? judge->model : NULL,
                                      .seed = judge->seed};
    if (except || judge->only[0]) // whoever fitted the other rows said the other flag
        snprintf(overrides.held_out, sizeof overrides.held_out, "--%s %.40s",
                 except ? "only" : "except", except ? judge->except : judge->only);
    return overrides;
}

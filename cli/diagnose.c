// epsim diagnose: is it what it should be, and if not, which cause explains it?
#include "cli/diagnose.h"

#include "base/progress.h"
#include "cli/command.h"
#include "cli/confidence.h"
#include "cli/judge.h"
#include "cli/output.h"
#include "cli/workload.h"
#include "study/domains.h"

#include <string.h>

#define KINDS "diagnose or diagnose-causes"

struct diagnose_options {
    char engine[FIELD_TEXT_BYTES];
    struct judge_options judge;
    double interval_pct;
    struct common_options common;
};

#define AT(member) offsetof(struct diagnose_options, member)

static const struct option_row engine_rows[] = {
    {OPTION_TEXT("engine", AT(engine), "NAME", "simulate or estimate"), .always_said = true}};
static const struct option_group engine_options = {HEADING_JUDGED, OPTION_ROWS(engine_rows)};

TSV_OPTIONS(AT(common.tsv), KINDS);

// A file of which nothing could be predicted is no answer.
static bool check_any_row(const struct diagnosis *diagnosis, const struct measured *measured,
                          struct error *err)
{
    return diagnosis->of[ROW_SKIPPED] < diagnosis->count ||
           error_set(err, EXIT_INPUT,
                     "%s: none of %zu rows can be predicted: expected one at least; first: %s",
                     measured->path, measured->count, diagnosis->accuracy.rows[0].why);
}

struct report {
    const struct command_line *line;
    const struct diagnosis *diagnosis;
};

static void put_head(struct table *table, const struct report *report)
{
    const struct diagnose_options *options = report->line->options;
    table_head(table, options->judge.seed, report->line, NULL);
    diagnosis_comment(report->diagnosis, options->interval_pct, table);
}

static void write_diagnosis(void *context, FILE *out)
{
    const struct report *report = context;
    struct table *head = diagnosis_summary_table(report->diagnosis);
    put_head(head, report);
    table_print(head, out);
    table_free(head);
    diagnosis_say(report->diagnosis, out);
    print_part(out, "rows", diagnosis_rows_table(report->diagnosis, true));
    print_part(out, "as DeepEP counts", diagnosis_rates_table(report->diagnosis));
}

static bool output_diagnosis(struct report *report, struct error *err)
{
    struct diagnose_options *options = report->line->options;
    struct common_options *common = &options->common;
    if (common->json) {
        json_t *document = json_head("epsim.diagnose/1", options->judge.seed, report->line);
        diagnosis_json(report->diagnosis, document);
        return output_json(common, document, err);
    }
    if (!common->tsv[0])
        return output_write(common, write_diagnosis, report, err);
    struct table *table = strcmp(common->tsv, "diagnose")
                              ? diagnosis_causes_table(report->diagnosis)
                              : diagnosis_rows_table(report->diagnosis, false);
    put_head(table, report);
    return output_table(common, table, NULL, err);
}

static void show_row(void *context, size_t done, size_t total)
{
    progress_show(context, done, total);
}

static bool diagnose_rows(struct diagnosis *diagnosis, const struct command_line *line,
                          const struct measured *measured, struct error *err)
{
    const struct diagnose_options *options = line->options;
    const struct row_overrides overrides = judge_overrides(&options->judge);
    struct progress progress;
    struct fits fits;
    struct diagnose_def def = {.measured = measured,
                               .overrides = &overrides,
                               .intervals = {&fits, options->interval_pct},
                               .show = show_row,
                               .context = &progress};
    if (!read_engine(options->engine, &def.engine, err) || !fits_load(&fits, err))
        return false;
    domains_tell(measured, &overrides);
    progress_begin(&progress, "rows", options->common.quiet);
    const bool quiet = notice_quiet(true); // what one row goes beyond, its error says
    diagnose(diagnosis, &def);
    notice_quiet(quiet);
    progress_end(&progress);
    fits_release(&fits);
    return true;
}

static enum exit_code run_diagnose(struct command_line *line, struct error *err)
{
    const struct diagnose_options *options = line->options;
    struct measured measured;
    struct diagnosis diagnosis = {0};
    struct report report = {line, &diagnosis};
    if (!check_files(line, err) || !check_tsv_kind(&options->common, KINDS, err) ||
        !load_measured(line, &options->judge, &measured, err))
        return err->code;
    const bool ok = diagnose_rows(&diagnosis, line, &measured, err) &&
                    check_any_row(&diagnosis, &measured, err) && output_diagnosis(&report, err);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
    return ok ? EXIT_DONE : err->code;
}

static const struct option_part diagnose_parts[] = {
    {&scenario_seed_options, AT(judge.seed)},
    {&engine_options, 0},
    {&judge_from_options, AT(judge)},
    {&judge_options, AT(judge)},
    {&presets_options, AT(common)},
    {&tsv_options, 0},
    {&result_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&help_options, AT(common)},
};

// clang-format off
static const char diagnose_page[] =
    "examples:\n"
    "  epsim diagnose deepep.log --cluster h100-cx7\n"
    "  epsim diagnose rows.csv --cluster h20-cx7:nics_per_node=4,ports_per_nic=2\n"
    "  epsim diagnose alltoall.txt --cluster 2x8:nvlink=450GB/s,nic=400Gbps,gpu=h100 --json\n"
    "\n"
    "usage: epsim diagnose LOG... [flags]\n"
    "{flags}\n"
    JUDGE_FILES_NOTES
    "\n"
    "--cluster: the cluster as it should be, healthy. A row is slower where it was measured above high_us. For such\n"
    "rows each cause is tried by predicting every row again with it; what explains all rows together is named, the\n"
    "likeliest first, single causes before pairs. Causes that predict the same are named together, with what to look\n"
    "at next to tell them apart. A rate of NICs or NVLinks that would do, but no cause has, is said as a symptom.\n"
    "Few ranks, or a node's, that are slow where all others agree are named. Exit code 0 whatever is found.\n"
    "\n"
    "columns of rows (--tsv diagnose):\n"
    "  low_us, high_us  the prediction's interval, widened by 10 % in quadrature: presets rest on other machines\n"
    "  slower           measured over predicted\n"
    "  rank_spread      slowest over fastest of the row's repeats, or ranks but for few (or a node's) that are slow\n"
    "                   where the others agree; above 2: noise, no cause is sought\n"
    "  ..._GBps         the times as users of DeepEP count: copies to nodes (RDMA) and to ranks (NVL), its own too\n"
    "columns of causes (--tsv diagnose-causes):\n"
    "  class            those of one class predict the same\n"
    "  error_pct        mean distance of slow rows from the prediction with the cause\n"
    "  near_pct         slow rows inside their intervals with the cause\n"
    "  changes          what the cause changes, as keys of --cluster and flags\n";
// clang-format on

const struct command command_diagnose = {
    .name = "diagnose",
    .summary = "is what was measured what it should be, and if not, which cause explains it",
    .page = diagnose_page,
    COMMAND_OPTIONS(diagnose_options, diagnose_parts,
                    {.judge.seed = SCENARIO_SEED, .engine = "estimate", .interval_pct = 90}),
    .opens_output = true,
    .run = run_diagnose,
};

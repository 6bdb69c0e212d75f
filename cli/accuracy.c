// epsim accuracy: predicted against measured, by group.
#include "cli/accuracy.h"

#include "cli/confidence.h"
#include "cli/command.h"
#include "cli/judge.h"
#include "cli/output.h"
#include "study/domains.h"

#include <math.h>
#include <string.h>

struct accuracy_options {
    char engine[FIELD_TEXT_BYTES];    // a list
    double tolerance_pct, median_pct; // of a row, of all rows
    char by[FIELD_TEXT_BYTES];        // columns that make a group
    char each[FIELD_TEXT_BYTES];      // columns that make groups by themselves
    uint32_t worst;                   // rows of each engine; 0: groups
    struct judge_options judge;
    double interval_pct; // 0: not asked
    struct common_options common;
};

#define AT(member) offsetof(struct accuracy_options, member)

static const struct option_row engine_rows[] = {
    {OPTION_TEXT("engine", AT(engine), "LIST", "simulate, estimate, naive, or several with commas"),
     .always_said = true},
    {OPTION_NUMBER("tolerance_pct", FIELD_NUMBER, AT(tolerance_pct), "PCT", 0, 1e6,
                   "exit 1 when a row is further off")},
    {OPTION_NUMBER("median_pct", FIELD_NUMBER, AT(median_pct), "PCT", 0, 1e6,
                   "exit 1 when an engine's median error is larger")},
};
static const struct option_group engine_options = {HEADING_JUDGED, OPTION_ROWS(engine_rows)};

static const struct option_row view_rows[] = {
    {OPTION_TEXT("by", AT(by), "COLUMNS",
                 "what makes a group: a list of family, cluster, dispatcher, nodes, phase, stage, "
                 "tokens, sms, dtype, overlap")},
    {OPTION_TEXT("each", AT(each), "COLUMNS",
                 "groups of each of those columns by itself, one after the other")},
    {OPTION_NUMBER("worst", FIELD_U32, AT(worst), "N", 1, 1e6,
                   "the N rows furthest off of each engine, and what binds there, not groups")},
};
static const struct option_group view_options = {HEADING_JUDGED, OPTION_ROWS(view_rows)};

TSV_OPTIONS(AT(common.tsv), "accuracy or accuracy-rows");

static void judged_release(struct judged *judged)
{
    for (size_t i = 0; i < judged->count; i++)
        accuracy_release(&judged->of[i]);
}

// What --engine lists.
struct engine_list {
    const struct engine *of[ENGINES];
    size_t count;
};

static bool parse_engines(const char *names, struct engine_list *engines, struct error *err)
{
    char list[FIELD_TEXT_BYTES], quoted[ERROR_QUOTE_BYTES], *save = NULL;
    strcpy(list, names);
    engines->count = 0;
    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        const struct engine *engine = engine_find(word);
        if (!engine)
            return error_set(err, EXIT_INPUT,
                             "--engine: '%s': expected simulate, estimate, naive, or a list",
                             error_quote(word, quoted));
        for (size_t i = 0; i < engines->count; i++)
            if (engines->of[i] == engine)
                return error_set(err, EXIT_INPUT, "--engine: '%s' stands twice", word);
        engines->of[engines->count++] = engine;
    }
    return engines->count > 0 || error_set(err, EXIT_INPUT,
                                           "--engine: empty: expected simulate, estimate, "
                                           "naive, or a list");
}

static bool output_accuracy(const struct command_line *line, const struct judged *judged,
                            struct error *err)
{
    struct accuracy_options *options = line->options;
    const char *tsv = options->common.tsv;
    const bool rows = judged->worst || !strcmp(tsv, "accuracy-rows");
    struct table *table =
        rows ? accuracy_rows_table(judged, !tsv[0]) : accuracy_groups_table(judged);
    table_head(table, options->judge.seed, line, NULL);
    accuracy_comment_totals(table, judged);
    json_t *document = json_head("epsim.accuracy/1", options->judge.seed, line);
    accuracy_json(judged, document);
    return output_table(&options->common, table, document, err);
}

static bool median_is_off(const struct accuracy *accuracy, double median_pct)
{
    if (accuracy->median_abs_pct <= median_pct || !isfinite(median_pct))
        return false;
    notice("%s: the median error is %.4g %%, over --median-pct %g", accuracy->engine->name,
           accuracy->median_abs_pct, median_pct);
    return true;
}

static bool rows_are_off(const struct accuracy *accuracy, double tolerance_pct)
{
    size_t off = 0, count;
    for (size_t r = 0; r < accuracy->count; r++)
        off += !accuracy->rows[r].skipped && fabs(accuracy->rows[r].error_pct) > tolerance_pct;
    size_t *worst = accuracy_worst(accuracy, 1, &count);
    if (off)
        notice("%s: %zu of %zu rows are further off than --tolerance-pct %g, by up to %.4g %%",
               accuracy->engine->name, off, accuracy->count - accuracy->skipped, tolerance_pct,
               fabs(accuracy->rows[worst[0]].error_pct));
    free(worst);
    return off > 0;
}

// Says why. Of no rows nothing is within what was asked.
static bool outside_tolerance(const struct judged *judged, double tolerance_pct, double median_pct)
{
    bool outside = false;
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        if (!isnan(accuracy->median_abs_pct)) {
            outside |= median_is_off(accuracy, median_pct);
            outside |= rows_are_off(accuracy, tolerance_pct);
        } else if (isfinite(median_pct) || isfinite(tolerance_pct)) {
            notice("%s predicts no row: none is within what was asked", accuracy->engine->name);
            outside = true;
        }
    }
    return outside;
}

// At most one of what is shown.
static bool check_one_view(const struct command_line *line, struct error *err)
{
    const struct accuracy_options *options = line->options;
    static const char *const views[] = {"by", "each", "worst"};
    const char *view = NULL;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (!options_given(line, views[i]))
            continue;
        if (view)
            return error_set(err, EXIT_INPUT, "--%s and --%s: expected one of them", view,
                             views[i]);
        view = views[i];
    }
    return !view || strcmp(view, "worst") != 0 || strcmp(options->common.tsv, "accuracy") != 0 ||
           error_set(err, EXIT_INPUT, "--worst with --tsv accuracy: expected --tsv accuracy-rows");
}

static bool parse_view(const struct command_line *line, struct judged *judged, struct error *err)
{
    const struct accuracy_options *options = line->options;
    if (!check_one_view(line, err))
        return false;
    judged->worst = options->worst;
    judged->each = options->each[0] != '\0';
    if (judged->each)
        return grouping_parse(&judged->grouping, options->each, err) || error_prefix(err, "--each");
    if (options->by[0])
        return grouping_parse(&judged->grouping, options->by, err) || error_prefix(err, "--by");
    return true;
}

// A file of which nothing could be predicted is no answer.
static bool check_any(const struct judged *judged, const struct measured *measured,
                      struct error *err)
{
    for (size_t i = 0; i < judged->count; i++)
        if (judged->of[i].skipped < judged->of[i].count)
            return true;
    return error_set(err, EXIT_INPUT,
                     "%s: none of %zu rows can be predicted: expected one at least; first: %s",
                     measured->path, measured->count, judged->of[0].rows[0].why);
}

static bool judge_engines(const struct accuracy_options *options, const struct measured *measured,
                          const struct engine_list *list, struct judged *judged, struct error *err)
{
    const struct row_overrides overrides = judge_overrides(&options->judge);
    struct fits fits = {0};
    judged->interval_pct = options->interval_pct;
    if (judged->interval_pct > 0 && !fits_load(&fits, err))
        return false;
    const struct accuracy_intervals intervals = {.fits = &fits, .pct = options->interval_pct};
    for (; judged->count < list->count; judged->count++) {
        struct accuracy *accuracy = &judged->of[judged->count];
        accuracy_judge(accuracy, measured, list->of[judged->count], &overrides,
                       judged->interval_pct > 0 ? &intervals : NULL);
        accuracy_group(accuracy, &judged->grouping);
    }
    fits_release(&fits);
    return true;
}

static enum exit_code run_accuracy(struct command_line *line, struct error *err)
{
    const struct accuracy_options *options = line->options;
    struct engine_list list;
    struct measured measured;
    struct judged judged = {.grouping = grouping_default()};
    if (!check_files(line, err) ||
        !check_tsv_kind(&options->common, "accuracy or accuracy-rows", err) ||
        !parse_view(line, &judged, err) || !parse_engines(options->engine, &list, err) ||
        !load_measured(line, &options->judge, &measured, err))
        return err->code;
    const struct row_overrides overrides = judge_overrides(&options->judge);
    domains_tell(&measured, &overrides);
    const bool quiet = notice_quiet(true); // what one row goes beyond, its error says
    const bool done = judge_engines(options, &measured, &list, &judged, err);
    notice_quiet(quiet);
    if (!done) {
        measured_release(&measured);
        return err->code;
    }
    const bool ok = check_any(&judged, &measured, err) && output_accuracy(line, &judged, err);
    const bool off = ok && outside_tolerance(&judged, options->tolerance_pct, options->median_pct);
    judged_release(&judged);
    measured_release(&measured);
    return !ok ? err->code : off ? EXIT_TOLERANCE : EXIT_DONE;
}

static const struct option_part accuracy_parts[] = {
    {&scenario_seed_options, AT(judge.seed)},
    {&engine_options, 0},
    {&judge_from_options, AT(judge)},
    {&view_options, 0},
    {&judge_options, AT(judge)},
    {&presets_options, AT(common)},
    {&tsv_options, 0},
    {&result_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&help_options, AT(common)},
};

// clang-format off
static const char accuracy_page[] =
    "examples:\n"
    "  epsim accuracy study/measured/h800-cx7.csv\n"
    "  epsim accuracy rows.csv --engine simulate,estimate,naive --tolerance-pct 10\n"
    "  epsim accuracy rows.csv --each nodes,phase,tokens,sms\n"
    "  epsim accuracy rows.csv --engine estimate --worst 10\n"
    "\n"
    "usage: epsim accuracy FILE... [flags]\n"
    "{flags}\n"
    JUDGE_FILES_NOTES
    "\n"
    "columns, one row an engine and group (errors: predicted over measured, less one):\n"
    "  n                rows of the group\n"
    "  median_abs_pct   median of the errors' absolute values, per cent\n"
    "  p90_abs_pct      element floor(0.9 (n - 1)) of them, sorted\n"
    "  worst_abs_pct    the largest\n"
    "  bias_pct         mean of the errors with their sign\n"
    "  parameters       distinct figures that these predictions read and that were fitted to rows, as their source says\n"
    "  fitted_rows      the fewest rows that one of those was fitted to\n"
    "  own_parameters   how many of them these rows may have fixed themselves: one fitted to N rows counts M/N where M\n"
    "                   of these read it, 1 at most, and 0 where --only or --except held these out\n"
    "  verdict          overfitted: fewer than three rows an own parameter\n"
    "rows (--worst, --tsv accuracy-rows):\n"
    "  error_pct        predicted over measured, less one\n"
    "  bottleneck       what binds the predicted phase, as simulate and estimate say it\n"
    "naive: the busiest port's bytes over its nominal rate, and 10 us.\n";
// clang-format on

const struct command command_accuracy = {
    .name = "accuracy",
    .summary = "predicted against measured, by family",
    .page = accuracy_page,
    COMMAND_OPTIONS(accuracy_options, accuracy_parts,
                    {.judge.seed = SCENARIO_SEED,
                     .engine = "simulate",
                     .tolerance_pct = INFINITY,
                     .median_pct = INFINITY}),
    .opens_output = true,
    .run = run_accuracy,
};

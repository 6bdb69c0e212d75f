// The front door: what every subcommand shares. Private to cli/.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/options.h"
#include "base/outfile.h"
#include "base/table.h"
#include "scenario/scenario.h"
#include "study/row.h"
#include "study/rows/measured.h"
#include "traces/import.h"

#include <stdbool.h>
#include <stdint.h>

enum command_bit {
    SIMULATE = 1 << 0,
    ESTIMATE = 1 << 1,
    COMPARE = 1 << 2,
    ACCURACY = 1 << 3,
    TRACE = 1 << 4,
    PLOT = 1 << 5,
    CALIBRATE = 1 << 6,
    REPLAY = 1 << 7,
    TRACE_IMPORT = 1 << 8,
    TRACE_EXPORT = 1 << 9,
    TRACE_MAKE = 1 << 10,
    LAYOUT = 1 << 11,
    EVERY = (1 << 12) - 1,
};

// TSV (and table) kinds of simulate and estimate.
enum tsv_kind {
    TSV_NONE,
    TSV_PHASES,
    TSV_RANKS,
    TSV_PORTS,
    TSV_LINKS,
    TSV_TRAFFIC,
    TSV_PATH,
    TSV_IMBALANCE
};
extern const char *const tsv_kind_names[];

// trace export: the phase whose bytes it writes instead of a trace.
enum matrix_kind { MATRIX_NONE, MATRIX_DISPATCH, MATRIX_COMBINE };
extern const char *const matrix_names[];

// What --show prints instead of running.
enum show_part { SHOW_NOTHING, SHOW_MODEL, SHOW_CLUSTER, SHOW_DISPATCHER, SHOW_ALL };
extern const char *const show_names[];

// Everything a command line can say; which rows a subcommand takes is in the option table.
struct invocation {
    struct scenario_def def;
    char tokens[FIELD_TEXT_BYTES];                          // a count; compare: a list
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES]; // compare, replay: lists
    char engine[FIELD_TEXT_BYTES];
    char measured[FIELD_TEXT_BYTES];
    char judged_cluster[FIELD_TEXT_BYTES]; // accuracy, calibrate: instead of the rows'
    char judged_model[FIELD_TEXT_BYTES];
    char judged_traffic[FIELD_TEXT_BYTES]; // the matrix of rows that do not hold theirs
    char presets[FIELD_TEXT_BYTES];        // folder that stands before the built-in ones
    char only[FIELD_TEXT_BYTES], except[FIELD_TEXT_BYTES]; // parts of the measured rows
    char by[FIELD_TEXT_BYTES];                             // columns that make a group
    char each[FIELD_TEXT_BYTES];                           // columns that make groups by themselves
    uint32_t worst;                                        // rows of each engine; 0: groups
    char fit[FIELD_TEXT_BYTES];
    char write[FIELD_TEXT_BYTES];
    char plan_on[FIELD_TEXT_BYTES], replay_on[FIELD_TEXT_BYTES]; // layout: shares of a trace
    char format[FIELD_TEXT_BYTES];
    uint32_t redundant, search_steps;
    char timeline[FIELD_TEXT_BYTES];
    char shape[FIELD_TEXT_BYTES], rows[FIELD_TEXT_BYTES];     // trace import; trace export
    char source[FIELD_TEXT_BYTES], licence[FIELD_TEXT_BYTES]; // trace import
    enum import_order order;
    enum matrix_kind matrix;
    char output[FIELD_TEXT_BYTES];
    char tsv[FIELD_TEXT_BYTES];
    double tolerance_pct, median_pct; // of a row, of all rows
    double from_us;                   // judged rows are measured at that or longer
    double interval_pct;              // 0: none asked
    enum show_part show;
    bool json, check, quiet, help, leave_out, between, imbalance, show_recipe;

    const char *command; // subcommand's name
    uint32_t bit;        // the same as an enum command_bit
    char **words;        // positional arguments
    size_t word_count;
    bool given[128];     // by row of cli_options
    struct outfile *out; // what -o names or standard output, opened before any work (not plot's)
};

// Every row: the question's, then the command line's own; filled once by main.
#define OUTPUT_GROUP "Output" // of rows that say where results go, and nothing of what is asked
extern struct option_row cli_options[];
extern const size_t cli_option_count;
void cli_options_init(void);

// Tokens of trace make: one step of 4,096 on each of 32 ranks.
#define MAKE_TOKENS 131072

struct invocation invocation_default(void);

// Whether the flag stood on the command line.
bool invocation_given(const struct invocation *invocation, const char *key);

// A subcommand: runs and returns an exit code, or EXIT_INPUT and above with err filled.
typedef enum exit_code command_run(struct invocation *invocation, struct error *err);
command_run run_simulate, run_estimate, run_compare, run_accuracy, run_calibrate, run_trace,
    run_replay, run_trace_import, run_trace_export, run_trace_make, run_plot, run_layout;

// What stands for a subcommand when --show names a part.
command_run run_show;

// --- flags ----------------------------------------------------------------------------------

// Flags that a byte matrix has no use for, a trace none for a rule, and the like.
bool check_together(const struct invocation *invocation, struct error *err);
// Refuses any positional argument.
bool check_no_words(const struct invocation *invocation, struct error *err);
// --tokens, one count, into the definition.
bool read_tokens(struct invocation *invocation, struct error *err);
// --engine of what runs the schedule of counted loads: simulate or estimate.
bool read_engine(const struct invocation *invocation, const struct engine **engine, struct error *err);
// Refuses a command line without files of measurements.
bool check_files(const struct invocation *invocation, struct error *err);
// The measured rows of all files that --only or --except leave.
bool load_measured(const struct invocation *invocation, struct measured *measured,
                   struct error *err);
// What stands in for columns that measured rows lack. Borrows from the invocation.
struct row_overrides row_overrides(const struct invocation *invocation);
// --tsv of a subcommand: one of its kinds, "one or another".
bool check_tsv_kind(const struct invocation *invocation, const char *kinds, struct error *err);

// --- the command line -----------------------------------------------------------------------

// The words and flags in force as sh takes them, without those of OUTPUT_GROUP. Freed by the
// caller.
char *command_line(const struct invocation *asked);

// Puts a flag in force among those that the command line says.
void invocation_say(struct invocation *asked, const char *key);

// The same with what was resolved, so that it asks this very question again.
char *setting_command(const struct invocation *invocation, const struct scenario *scenario);

// --- output ---------------------------------------------------------------------------------

// Writes to -o through the writer and commits.
typedef void output_writer(void *context, FILE *out);
bool output_write(const struct invocation *invocation, output_writer *writer, void *context,
                  struct error *err);
bool output_json(const struct invocation *invocation, json_t *json, struct error *err);

// --timeline: refuses standard output and the file that -o names; opens it, or leaves *file zeroed
// where it is not asked.
bool check_timeline(const struct invocation *invocation, struct error *err);
bool open_timeline(const struct invocation *invocation, struct outfile *file, struct error *err);

// Writes a table as --tsv or --json ask; json may be NULL (rows of the table then).
bool output_table(const struct invocation *invocation, const struct table *table, json_t *json,
                  struct error *err);

// Version, seed, command line and resolved cluster (NULL: none) above a table.
void table_head(struct table *table, const struct invocation *invocation, const char *command_line,
                const struct cluster *cluster);

// {"schema", "version", "seed", "command"}: the head of every JSON document.
json_t *json_head(const struct invocation *invocation, const char *schema,
                  const char *command_line);

// The resolved configuration.
json_t *json_config(const struct invocation *invocation, const struct scenario *scenario);

#endif

// What the commands share that ask of a workload on a cluster: simulate, estimate, compare, replay,
// layout and trace export. Private to cli/.
#ifndef CLI_WORKLOAD_H
#define CLI_WORKLOAD_H

#include "base/table.h"
#include "cli/common.h"
#include "study/row.h"
#include "scenario/scenario.h"

#include <jansson.h>

// What --show prints instead of running.
enum show_part { SHOW_NOTHING, SHOW_MODEL, SHOW_CLUSTER, SHOW_DISPATCHER, SHOW_KERNELS, SHOW_ALL };

// The groups of a scenario fill `def`.
struct workload_options {
    struct scenario_def def;
    char tokens[FIELD_TEXT_BYTES]; // a count; compare: a list
    enum show_part show;
};

// --tokens, one count. The offset counts from the text.
extern const struct option_group tokens_options;

// Refuses flags that a byte matrix has no use for, a trace none for a rule, and the like.
bool check_together(const struct command_line *line, const struct scenario_def *def,
                    struct error *err);

// --tokens, one count; "" leaves *tokens alone. shown: --show stands beside it. workload_tokens:
// into the definition.
bool read_tokens(const char *text, bool shown, uint32_t *tokens, struct error *err);
bool workload_tokens(struct workload_options *workload, struct error *err);

// A list of --layer, --step or the like, numbered from 0, freed by the caller; none where the text
// is
// "".
bool read_indices(const char *flag, const char *text, uint32_t **values, size_t *count,
                  struct error *err);

// --engine of what runs the schedule of counted loads: simulate or estimate.
bool read_engine(const char *name, const struct engine **engine, struct error *err);

// Puts what was resolved into the workload and among the flags of its command line, so that
// command_text asks the very same again: ranks, and of a layer its model, routing and tokens; the
// dispatcher, unless measured rows chose it.
void workload_say(struct command_line *line, struct workload_options *workload,
                  const struct scenario *scenario);
void workload_say_dispatcher(struct command_line *line, struct workload_options *workload,
                             const struct scenario *scenario);

// "# dispatcher: NAME: why", where none was asked.
void choice_comment(const struct choice *choice, struct table *table);
void choice_json(const struct choice *choice, json_t *document); // "dispatcher_choice": why

// "# layout: ...", of one that was planned on the loads at hand.
void planned_comment(const struct scenario *scenario, struct table *table);

// The resolved configuration.
json_t *json_config(const struct scenario_def *def, const struct scenario *scenario);

// --show. The offset counts from the enum show_part.
extern const struct option_group show_options;

// Prints the parts that workload->show names.
enum exit_code show_parts(const struct command_line *line, struct workload_options *workload,
                          struct common_options *common, struct error *err);

#endif

// What the verbs of epsim layout share. Private to cli/.
#ifndef CLI_LAYOUT_H
#define CLI_LAYOUT_H

#include "cli/command.h"
#include "cli/workload.h"
#include "study/layout_judge.h"
#include "study/layout_plan.h"
#include "study/layout_search.h"

struct layout_options {
    struct workload_options workload;
    char layers[FIELD_TEXT_BYTES]; // a list
    uint32_t redundant, search_steps;
    char plan_on[FIELD_TEXT_BYTES], replay_on[FIELD_TEXT_BYTES]; // shares of a trace
    char engine[FIELD_TEXT_BYTES];
    char format[FIELD_TEXT_BYTES];
    struct common_options common;
};

// Refuses a verb that plans without --trace.
bool layout_check_trace(const struct layout_options *options, const char *verb, struct error *err);

// Resolves the task: all of `asked` but its parts comes from the flags.
bool layout_task_read(struct layout_options *options, struct layout_task_def *def,
                      struct layout_task *task, struct error *err);

// Puts what was resolved into the options and their line, so that command_text asks the very same
// again.
void layout_say(struct command_line *line, const struct layout_task *task);

// Whether the word names a rule.
bool layout_rule(const char *word, enum placement_rule *rule);

command_run run_layout_compare;

#endif

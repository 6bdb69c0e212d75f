// What the verbs of epsim layout share. Private to cli/.
#ifndef CLI_LAYOUT_H
#define CLI_LAYOUT_H

#include "cli/cli.h"
#include "study/layout_judge.h"
#include "study/layout_plan.h"

// Resolves the task: all of `asked` but its parts comes from the flags.
bool layout_task_ask(struct invocation *invocation, struct layout_task_def *asked,
                     struct layout_task *task, struct error *err);

// Puts what was resolved into the flags, so that the command line asks the very same again.
void layout_say(struct invocation *asked, const struct layout_task *task);

// Whether the word names a rule.
bool layout_rule(const char *word, enum placement_rule *rule);

enum exit_code run_layout_compare(struct invocation *invocation, struct error *err);

#endif

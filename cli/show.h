// --show: what a run would have, instead of the run. Private to cli/.
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "cli/workload.h"

// --show. The offset counts from the enum show_part.
extern const struct option_group show_options;

// Prints the parts that workload->show names.
enum exit_code show_parts(const struct command_line *line, struct workload_options *workload,
                          struct common_options *common, struct error *err);

#endif

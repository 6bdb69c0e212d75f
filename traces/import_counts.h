// Counts of experts as a native trace: tokens drawn to have those very counts. Private to traces/.
#ifndef TRACES_IMPORT_COUNTS_H
#define TRACES_IMPORT_COUNTS_H

#include "traces/import_pieces.h"
#include "traces/writer.h"

// Judges every piece of the import, then draws and writes the folder; fills plan and report with
// what came of it. Refuses counts that no tokens can have, and those of more than 2^20 tokens a
// step where no fewer are asked.
bool import_write_counts(struct import *import, struct trace_plan *plan,
                         struct import_report *report, struct error *err);

#endif

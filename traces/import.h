// `epsim trace import`: what serving engines write about their routing, as a native trace.
#ifndef TRACES_IMPORT_H
#define TRACES_IMPORT_H

#include "base/error.h"
#include "traces/import_def.h"

#include <stdbool.h>

extern const char *const import_order_names[]; // by enum import_order

// Reads every input, all of one format that is told by content, and writes the folder, whole or not
// at all. Refuses (EXIT_INPUT, one line with the file and the offset, key or line): what no
// importer knows, a broken file, ids out of range or twice in a token, another number of experts,
// choices or layers than the model's, and what the format leaves unsaid and the ask does too.
bool trace_import(const struct import_def *def, struct import_report *report, struct error *err);

#endif

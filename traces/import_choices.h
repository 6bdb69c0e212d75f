// Recorded choices of tokens as a native trace. Private to traces/.
#ifndef TRACES_IMPORT_CHOICES_H
#define TRACES_IMPORT_CHOICES_H

#include "traces/import_pieces.h"
#include "traces/writer.h"

// Judges every piece of the import, then writes the folder; fills plan and report with what came of
// it. Refuses ids out of range or twice in a token, and an order of tokens that the input has not.
bool import_write_choices(struct import *import, struct trace_plan *plan,
                          struct import_report *report, struct error *err);

#endif

// The probe's table, and what it is written as: a table, TSV, JSON, or (to NAME.csv) the whole
// job's all-to-alls as measured CSV, with the table on standard output. On rank 0. Private to
// real/.
#ifndef REAL_PROBE_OUT_H
#define REAL_PROBE_OUT_H

#include "real/probe_state.h"
#include "real/statistic.h"

// Opens the output that is asked and makes the table.
bool probe_out_open(struct probe *probe, struct error *err);
// A row of the table, and of the measured CSV when it has a place for the trial.
void probe_out_add(struct probe *probe, const struct trial *trial,
                   const struct statistic *statistic);
bool probe_out_write(struct probe *probe, struct error *err);
// Due whatever came of it: removes an output that was not written.
void probe_out_close(struct probe *probe);

#endif

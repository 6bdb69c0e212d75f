// Runs of perftest (ib_write_bw and its like), from text or JSON. Private to their readers.
#ifndef STUDY_ROWS_PERFTEST_H
#define STUDY_ROWS_PERFTEST_H

#include "study/rows/log.h"

#define PERFTEST_MIN_BYTES 65536.0 // of messages that tell a rate: the default of ib_write_bw

struct perftest_runs {
    double *rates_Bps; // [count] of runs: the best of each
    size_t count;
    double best_Bps, max_bytes; // of the run in hand; of all
    bool both_ways;             // -b
    char device[64];
};

// A size's average, each way.
void perftest_add(struct perftest_runs *runs, double bytes, double rate_Bps);
void perftest_end_run(struct perftest_runs *runs);

// Says what the runs say of a NIC, and keeps it; or why they say nothing.
void perftest_tell(struct perftest_runs *runs, struct log *log);

#endif

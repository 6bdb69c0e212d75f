// What accuracy and calibrate share: measured rows of files, and what stands in for columns that
// they lack. Private to cli/.
#ifndef CLI_JUDGE_H
#define CLI_JUDGE_H

#include "cli/common.h"
#include "study/row.h"
#include "study/rows/measured.h"

struct judge_options {
    double from_us;                    // rows measured at that or longer
    char cluster[FIELD_TEXT_BYTES];    // instead of the rows'
    char dispatcher[FIELD_TEXT_BYTES]; // of logs that do not say whose kernels ran
    char traffic[FIELD_TEXT_BYTES];    // the matrix of rows that do not hold theirs
    char trace[FIELD_TEXT_BYTES];      // the routing of rows that ran a trace
    char slow[FIELD_TEXT_BYTES];       // slow parts of rows that ran beside another job
    char model[FIELD_TEXT_BYTES];
    char only[FIELD_TEXT_BYTES], except[FIELD_TEXT_BYTES]; // parts of the rows
    uint64_t seed;
};

// Offsets count from a struct judge_options.
extern const struct option_group judge_from_options; // from_us
extern const struct option_group
    judge_options; // cluster, dispatcher, traffic, trace, slow, model, only, except

// What stands below their flags.
// clang-format off
#define JUDGE_FILES_NOTES \
    "\n" \
    "files, one or more, each known by its text:\n" \
    "  measured CSV   published rows, and what epsim-real writes\n" \
    "  kernel CSV     times of compute kernels by themselves (column kernel)\n" \
    "  nccl-tests     what alltoall_perf, sendrecv_perf and alltoallv_perf print, or write with\n" \
    "                 -J; needs --cluster\n" \
    "  DeepEP, UCCL   what test_internode, test_intranode, test_low_latency and V2's test_ep print\n" \
    "  NCCL EP        what ep_bench prints, and Hybrid-EP's test_hybrid_ep\n" \
    "  epsim-real     the TSV of epsim-real probe; needs --cluster\n" \
    "  machine facts  ib_write_bw, nvbandwidth, nvidia-smi topo -m: no rows, but a cluster's keys\n"
// clang-format on

// Refuses a command line without files of measurements.
bool check_files(const struct command_line *line, struct error *err);

// The measured rows of all files that --from-us, --only or --except leave.
bool load_measured(const struct command_line *line, const struct judge_options *judge,
                   struct measured *measured, struct error *err);

// What stands in for columns that the rows lack. Borrows from the options.
struct row_overrides judge_overrides(const struct judge_options *judge);

#endif

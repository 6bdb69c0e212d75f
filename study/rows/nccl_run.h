// One run of nccl-tests as its text is read: what ran, where its ranks are. Private to the readers
// of nccl-tests.
#ifndef STUDY_ROWS_NCCL_RUN_H
#define STUDY_ROWS_NCCL_RUN_H

#include "study/rows/log.h"

enum nccl_test { NCCL_UNKNOWN, NCCL_ALLTOALL, NCCL_SENDRECV, NCCL_ALLTOALLV, NCCL_OTHER };

extern const struct nccl_program {
    const char *program, *family, *traffic;
} nccl_programs[]; // by enum nccl_test, of those that are read

// One run: a test's header, its ranks and its table.
struct nccl_run {
    enum nccl_test test;
    char program[64]; // of NCCL_OTHER, "all_reduce_perf"; "": not named
    // As lines "# Rank" say.
    char gpu[FIELD_TEXT_BYTES];
    char (*hosts)[FIELD_TEXT_BYTES]; // [listed]
    uint32_t listed;
    uint32_t next_rank;    // after the last one listed
    uint32_t max_device;   // of those listed
    bool elided, cut;      // lines of ranks are left out; the last of them
    uint32_t ranks, nodes; // 0: not placed yet
    uint32_t host_gpus;    // by the command line; 0: not said
    bool guessed;          // where ranks are is not all from the text, nor from --cluster NxG
    // The table.
    size_t columns;        // 0: its header has not come
    size_t time, in_place; // the columns of both times; in_place 0: one alone
    bool errors;           // a column `error`, of 2021 and before
    bool cpu_times;        // in place of times: -C 1
    bool stamped;          // rows end in a date and a time
};

// What begins a row, where another writer's line came between it and the rest. With less than size,
// count and type it may be another writer's own.
struct nccl_split {
    char cells[512]; // "": none
    size_t line;     // where it stands
};

// What the last command line says of a run to come.
struct nccl_command {
    enum nccl_test test;
    char program[64];   // of NCCL_OTHER
    uint32_t host_gpus; // 0: not said
};

// A text being read.
struct nccl_reader {
    struct nccl_run run;
    struct nccl_split split, head; // head: of size alone, or size and count
    struct nccl_command command;
    char tests[64]; // "nccl-tests 2.19.6"; "": not said
    char nccl[64];  // of NCCL itself, "2.29.7", likewise
};

// Ends the run in hand, if there is one, and begins another.
void nccl_run_begin(struct nccl_run *run, enum nccl_test test);
void nccl_run_release(struct nccl_run *run);

// The test of a program's name, "alltoall_perf" or "alltoall_perf_mpi"; its length in *length.
enum nccl_test nccl_test_of(const char *program, size_t *length);

// Notes NCCL's version by its NCCL_VERSION_CODE; 0: not said.
void nccl_name_version(struct nccl_reader *reader, unsigned code);

// Adds a rank of that host, GPU and device. Refuses ranks that stand twice, too many, and two kinds
// of GPU.
struct nccl_rank {
    unsigned rank, group, device;
    char host[FIELD_TEXT_BYTES];
    const char *name; // of its GPU
};
bool nccl_add_rank(struct nccl_run *run, const struct nccl_rank *rank, struct error *err);

// Reads what follows "# Rank".
bool nccl_read_rank(struct nccl_run *run, const char *text, struct error *err);

// Finds the run's ranks and nodes: as listed, or where lines are left out as the cluster that was
// named and `peers` say, the ranks that an all-to-all's size and count give (0: not known). Refuses
// ranks that cannot be known, ranks that the cluster does not have, and ranks that are not placed
// host after host in equal numbers.
bool nccl_place_ranks(struct nccl_run *run, const struct measured_shape *shape, uint32_t peers,
                      struct error *err);

#endif

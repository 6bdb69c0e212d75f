// One run of nccl-tests as its text is read: what ran, where its ranks are, what its table has.
// Private to the reader of nccl-tests.
#ifndef STUDY_ROWS_NCCL_RUN_H
#define STUDY_ROWS_NCCL_RUN_H

#include "study/rows/measured.h"

enum nccl_test { NCCL_UNKNOWN, NCCL_ALLTOALL, NCCL_SENDRECV, NCCL_ALLTOALLV, NCCL_OTHER };

extern const struct nccl_program {
    const char *program, *family, *traffic;
} nccl_programs[]; // by enum nccl_test, of those that are read

// One run: a test's header, its ranks and its table.
struct nccl_run {
    enum nccl_test test;
    char gpu[FIELD_TEXT_BYTES];
    char (*hosts)[FIELD_TEXT_BYTES]; // [ranks]
    uint32_t ranks, nodes;
    size_t columns;        // of the table; 0: its header has not come
    size_t time, in_place; // the columns of both times
    bool stamped;          // rows end in a date and a time
};

// A text being read. What is refused has no place in its message: whoever reads the lines adds it.
struct nccl_reader {
    struct measured *measured;
    const char *path;
    size_t line; // in hand, from 1
    struct nccl_run run;
    char version[64]; // of nccl-tests, " 2.19.6"; "": not said
    char nccl[64];    // of NCCL itself, "; NCCL 2.29.7", likewise
    size_t empty; // rows of 0 bytes
    struct error *err;
};

// Ends the run in hand, if there is one, and begins another.
void nccl_run_begin(struct nccl_reader *reader, enum nccl_test test);
void nccl_run_release(struct nccl_run *run);

// Reads what follows "# Rank". Refuses ranks that are missing, stand twice, or run on two kinds of
// GPU or in groups.
bool nccl_read_rank(struct nccl_reader *reader, const char *text);

// Once all are read: finds the run's nodes. Refuses no ranks, and ranks that are not placed host
// after host in equal numbers.
bool nccl_place_ranks(struct nccl_reader *reader);

// Past blanks; like strchr, of what may be written if the text may.
char *skip_blanks(const char *text);

#endif

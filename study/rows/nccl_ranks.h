// Where the ranks of a run of nccl-tests are. Private to the reader of nccl-tests.
#ifndef STUDY_ROWS_NCCL_RANKS_H
#define STUDY_ROWS_NCCL_RANKS_H

#include "study/rows/nccl_run.h"

// Reads what follows "# Rank". Refuses, with the place, ranks that are missing, stand twice, or run
// on two kinds of GPU or in groups.
bool nccl_read_rank(struct nccl_reader *reader, const char *text);

// Once all are read: finds the run's nodes. Refuses, without the place, no ranks, and ranks that
// are not placed host after host in equal numbers.
bool nccl_place_ranks(struct nccl_reader *reader);

#endif

// Whose kernels a log is of, where its text does not say: UCCL's tests, and others', began as
// copies of DeepEP's and print the same.
#ifndef STUDY_EP_WHOSE_H
#define STUDY_EP_WHOSE_H

#include "study/rows/collection.h"

// Makes rows of such logs those of a dispatcher on a cluster, both as flags name them: rows of
// low-latency kernels if it sends a message to each expert, else those of normal ones. Refuses one
// that no row can be of.
bool ep_rows_are_of(struct measured *measured, const char *dispatcher, const char *cluster,
                    struct error *err);

#endif

// Which figures of its cluster, dispatcher and kernels a measured row's prediction reads: those of
// the row's phase and of the links that it has.
#ifndef STUDY_READS_H
#define STUDY_READS_H

#include "model/cluster.h"
#include "model/dispatcher.h"
#include "model/measured_row.h"

#include <stdbool.h>

// A row and what it was resolved to; their figures may be any, their choices are what counts.
struct reads {
    const struct measured_row *row;
    const struct cluster *cluster;
    const struct dispatcher *dispatcher;
};

// Whether the row's prediction by simulate and estimate can change with a rate, time, number or
// FLOPS of cluster_fields or of the table of the dispatcher's cost model. False is sure: figures of
// another phase, of links between nodes with one node, of NVLink where NICs carry all, of
// datasheets. True where only the size of what moves decides.
bool reads_cluster(const struct reads *reads, const struct field *field);
bool reads_dispatcher(const struct reads *reads, const struct field *field);

// The same of kernels_fields, of a row of one compute kernel.
bool reads_kernels(const struct reads *reads, const struct field *field);

#endif

// What epsim-real probe found of a machine, as rows that the model predicts. Private to model/.
//
//     point-to-point  a matrix of one pair by dispatcher raw: latency + bytes / rate
//     all-to-all      nccl-alltoall over NCCL, raw over MPI; uniform, inside nodes or between them
//     copy, launch    phase rmsnorm: as many bytes are read and written by one kernel
//     gemm            phase shared: one dense expert of the shape that the file's comment says
#ifndef MODEL_PROBE_ROWS_H
#define MODEL_PROBE_ROWS_H

#include "model/measured.h"

// Whether the text's first line is that of an epsim.probe TSV, of any version.
bool probe_recognise(const char *text);

// Adds the rows of the text, which is changed. Refuses another version than 1, a missing comment
// "# machine:" or column, an unknown probe and a bad cell ("path:line: column: ...").
bool probe_read(struct measured *measured, const char *path, char *text, struct error *err);

#endif

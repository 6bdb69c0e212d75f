// Texts as nccl-tests print them, of wires whose rates a test knows.
#ifndef TESTS_NCCL_LOG_H
#define TESTS_NCCL_LOG_H

#include "tests/scratch.h"

#include <stdint.h>
#include <stdio.h>

// A test on so many nodes: large messages reach bus_GBps (as busbw counts it) after start_us; with
// `falls`, every message beyond the sixth takes 1.4 times as long as the link would.
struct wires {
    const char *file; // in the scratch folder
    uint32_t nodes, gpus;
    int to_next; // sendrecv_perf in place of alltoall_perf
    double bus_GBps, start_us;
    int falls;
    uint64_t first_bytes;
    uint32_t rows;
};

static inline void nccl_log_head(FILE *out, const struct wires *wires)
{
    fprintf(out,
            "# nccl-tests version 2.17.8 nccl-headers=22902 nccl-library=22902\n"
            "# Collective test starting: %s\n"
            "# nThread 1 nGpus 1 minBytes 1 maxBytes 2 step: 2(factor) warmup iters: 5 iters: 20 "
            "agg iters: 1 validation: 1 graph: 0\n#\n# Using devices\n",
            wires->to_next ? "sendrecv_perf" : "alltoall_perf");
    for (uint32_t rank = 0; rank < wires->nodes * wires->gpus; rank++)
        fprintf(out,
                "#  Rank %2u Group  0 Pid %6u on  rack-%02u device %2u [0000:1b:00] NVIDIA H100 "
                "80GB HBM3\n",
                rank, 500 + rank, rank / wires->gpus, rank % wires->gpus);
    fputs(
        "#\n#       size         count      type   redop    root     time   algbw   busbw  #wrong "
        "    time   algbw   busbw  #wrong \n",
        out);
}

// Off by half a per cent either way, in turn.
static inline void nccl_log_row(FILE *out, const struct wires *wires, uint32_t row)
{
    const uint64_t ranks = (uint64_t)wires->nodes * wires->gpus;
    const uint64_t peers = wires->to_next ? 1 : ranks;
    const uint64_t count = (wires->first_bytes << row) / peers / 4, size = count * peers * 4;
    const double share = wires->to_next ? 1 : (double)(ranks - 1) / (double)ranks;
    double us = wires->start_us + (double)size * share / wires->bus_GBps / 1e3;
    for (uint32_t beyond = 6; wires->falls && beyond <= row; beyond++)
        us *= 1.4;
    us *= row % 2 ? 1.005 : 0.995;
    const double alg = (double)size / us / 1e3;
    fprintf(out,
            "%12llu  %12llu     float  %6s      -1  %9.2f  %6.2f  %6.2f       0  %9.2f  %6.2f  "
            "%6.2f    N/A\n",
            (unsigned long long)size, (unsigned long long)count, wires->to_next ? "sum" : "none",
            us, alg, alg * share, us, alg, alg * share);
}

static inline void nccl_log_write(const struct wires *wires)
{
    FILE *out = fopen(scratch_path(wires->file), "w");
    nccl_log_head(out, wires);
    for (uint32_t row = 0; row < wires->rows; row++)
        nccl_log_row(out, wires, row);
    fputs("# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 1.0\n", out);
    fclose(out);
}

#endif

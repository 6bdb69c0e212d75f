// What nvbandwidth prints of pairs of GPUs, a fact of the machine:
//
//     memcpy CE GPU(row) -> GPU(column) bandwidth (GB/s)
//                0         1
//      0       N/A    391.02
//      1    390.88       N/A
//
// With "<->" both ways are counted: half of it is one. Copy engines (CE) reach more than kernels of
// dispatchers do; a matrix of kernels (SM) goes before theirs. Matrices of CPU and GPU are of PCIe
// or of a coherent link, which no exchange takes, and are passed over, as sums are.
#include "base/mem.h"
#include "study/rows/log.h"
#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nvbandwidth {
    bool in_matrix, both_ways, copy_engines;
    uint32_t columns, max_columns; // of the matrix in hand, 0: they have not come; of any
    struct pair_rates {
        double *rates_Bps;
        size_t count;
    } by_engines, by_kernels;
};

static bool is_matrix(const char *line)
{
    return strstr(line, "memcpy ") && strstr(line, "(column) bandwidth (GB/s)");
}

static bool is_nvbandwidth(const char *line)
{
    return is_matrix(line) || strstr(line, "nvbandwidth Version") ||
           (!strncmp(line, "SUM ", 4) && strstr(line, "_memcpy_"));
}

static void begin_matrix(struct nvbandwidth *state, const char *line)
{
    const char *gpu = strstr(line, "GPU(row)");
    state->in_matrix = gpu && strstr(gpu, "GPU(column)");
    state->both_ways = strstr(line, "<->") != NULL;
    state->copy_engines = strstr(line, "memcpy SM") == NULL;
    state->columns = 0;
}

static void keep_pair(struct nvbandwidth *state, double rate_Bps)
{
    struct pair_rates *pairs = state->copy_engines ? &state->by_engines : &state->by_kernels;
    if (!(rate_Bps > 0 && rate_Bps < 1e13))
        return;
    pairs->rates_Bps = mem_room(pairs->rates_Bps, pairs->count, sizeof *pairs->rates_Bps);
    pairs->rates_Bps[pairs->count++] = rate_Bps * (state->both_ways ? 0.5 : 1);
}

// "0  1  2  3": their number.
static uint32_t count_columns(const char *line)
{
    uint32_t columns = 0;
    for (line = skip_blanks(line); isdigit((unsigned char)*line); line = skip_blanks(line)) {
        if (strtoul(line, NULL, 10) != columns++)
            return 0;
        line += strspn(line, "0123456789");
    }
    return *line && *line != '\r' ? 0 : columns;
}

static void read_pairs(struct nvbandwidth *state, const char *line)
{
    line = skip_blanks(line);
    line += strspn(line, "0123456789"); // the row's own number
    for (line = skip_blanks(line); *line; line = skip_blanks(line)) {
        char *end;
        const double rate = strtod(line, &end);
        if (end > line)
            keep_pair(state, rate * 1e9);
        line += strcspn(line, " \t");
    }
}

static bool read_nvbandwidth_line(void *of, struct log *log, const char *line)
{
    struct nvbandwidth *state = of;
    (void)log;
    if (is_matrix(line)) {
        begin_matrix(state, line);
    } else if (state->in_matrix && !isdigit((unsigned char)*skip_blanks(line))) {
        state->in_matrix = false;
    } else if (state->in_matrix && !state->columns) {
        state->columns = count_columns(line);
        if (state->columns > state->max_columns)
            state->max_columns = state->columns;
        state->in_matrix = state->columns > 0;
    } else if (state->in_matrix) {
        read_pairs(state, line);
    }
    return true;
}

#define PCIE_BPS 64e9 // PCIe 5.0 x16, before headers

static bool tell_pairs(void *of, struct log *log)
{
    struct nvbandwidth *state = of;
    struct machine_facts *facts = &log->measured->facts;
    const bool kernels = state->by_kernels.count > 0;
    struct pair_rates *pairs = kernels ? &state->by_kernels : &state->by_engines;
    char rate[MACHINE_RATE_BYTES];
    if (!pairs->count)
        return true;
    facts->nvlink_Bps = machine_median(pairs->rates_Bps, pairs->count);
    facts->gpus_per_node = state->max_columns;
    facts->count++;
    notice("%s: nvbandwidth: nvlink_effective=%s between two of %u GPUs, each way (%s%s); pairs "
           "have %.4g to %.4g GB/s",
           log->path, machine_rate(facts->nvlink_Bps, rate), state->max_columns,
           kernels ? "kernels" : "copy engines: an upper bound",
           facts->nvlink_Bps < PCIE_BPS ? "; no more than PCIe, which pairs may share" : "",
           pairs->rates_Bps[0] / 1e9, pairs->rates_Bps[pairs->count - 1] / 1e9);
    return true;
}

static void release_nvbandwidth(void *of)
{
    struct nvbandwidth *state = of;
    free(state->by_engines.rates_Bps);
    free(state->by_kernels.rates_Bps);
}

const struct log_reader log_reader_nvbandwidth = {"what nvbandwidth prints",
                                                  sizeof(struct nvbandwidth),
                                                  is_nvbandwidth,
                                                  read_nvbandwidth_line,
                                                  tell_pairs,
                                                  release_nvbandwidth};

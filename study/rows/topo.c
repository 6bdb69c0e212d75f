// What nvidia-smi topo -m prints, a fact of the machine: how GPUs reach each other and NICs.
//
//             GPU0  GPU1  NIC0  NIC1  CPU Affinity  ...
//     GPU0     X    NV18  PXB   SYS   0-55          ...
//
// NV# between GPUs is that many NVLinks; PIX, PXB, PHB, NODE and SYS between all of them mean
// none. A NIC is near a GPU by PIX or PXB; NICs that are near no GPU are of the host, where rows of
// all GPUs stand.
#include "study/rows/log.h"
#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 128
#define CELL_BYTES 24

struct topo {
    uint32_t gpus, nics;       // columns; 0: the header has not come
    uint32_t rows;             // of GPUs
    uint32_t links, min_links; // NVLinks between two GPUs: the most, the fewest
    uint32_t pairs, unlinked;  // cells between GPUs; without NVLink
    bool near[MAX_COLUMNS];    // by NIC
};

static const char *next_cell(const char *line, char cell[CELL_BYTES])
{
    line = skip_blanks(line);
    const size_t length = strcspn(line, " \t");
    snprintf(cell, CELL_BYTES, "%.*s", (int)length, line);
    return line + length;
}

static bool is_gpu(const char *cell)
{
    return !strncmp(cell, "GPU", 3) && isdigit((unsigned char)cell[3]);
}

// "NIC0", "mlx5_2", "ibp12s0", "bnxt_re1", "rdmap16s27": whatever stands between GPUs and the
// affinities.
static bool is_header(const char *line, struct topo *topo)
{
    char cell[CELL_BYTES];
    uint32_t gpus = 0, nics = 0;
    if (!strstr(line, "GPU0") || !strstr(line, "Affinity"))
        return false;
    for (line = next_cell(line, cell); cell[0] && strcmp(cell, "CPU") && nics < MAX_COLUMNS;
         line = next_cell(line, cell))
        ++*(is_gpu(cell) ? &gpus : &nics);
    if (topo)
        *topo = (struct topo){.gpus = gpus, .nics = nics};
    return gpus > 0;
}

static bool is_topo(const char *line)
{
    return is_header(line, NULL);
}

static bool is_path(const char *cell)
{
    static const char *const names[] = {"PIX", "PXB", "PHB", "NODE", "SYS", "SOC"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(cell, names[i]))
            return true;
    return false;
}

static void add_pair_cell(struct topo *topo, const char *cell)
{
    unsigned links = 0;
    if (sscanf(cell, "NV%3u", &links) != 1 && !is_path(cell))
        return;
    topo->pairs++;
    topo->unlinked += links == 0;
    topo->links = links > topo->links ? links : topo->links;
    topo->min_links = topo->pairs == 1 || links < topo->min_links ? links : topo->min_links;
}

static void read_gpu_row(struct topo *topo, const char *line)
{
    char cell[CELL_BYTES];
    topo->rows++;
    for (uint32_t c = 0; c < topo->gpus; c++) {
        line = next_cell(line, cell);
        add_pair_cell(topo, cell);
    }
    for (uint32_t c = 0; c < topo->nics; c++) {
        line = next_cell(line, cell);
        topo->near[c] = topo->near[c] || !strcmp(cell, "PIX") || !strcmp(cell, "PXB");
    }
}

static bool read_topo_line(void *state, struct log *log, const char *line)
{
    struct topo *topo = state;
    char cell[CELL_BYTES];
    (void)log;
    if (is_header(line, topo))
        return true;
    const char *rest = next_cell(line, cell);
    if (topo->gpus && is_gpu(cell) && topo->rows < topo->gpus)
        read_gpu_row(topo, rest);
    return true;
}

// ---- what it says -------------------------------------------------------------------------------

// NVLink 2 to 4 (Volta to Hopper): 25 GB/s of a link each way; NVLink 5 (Blackwell): 50 GB/s.
#define LINK_BPS 25e9

static uint32_t exchange_nics(const struct topo *topo)
{
    uint32_t near = 0;
    for (uint32_t c = 0; c < topo->nics; c++)
        near += topo->near[c];
    return topo->rows == topo->gpus && near > 0 ? near : topo->nics;
}

static void describe_nics(const struct topo *topo, uint32_t nics, char *buffer, size_t bytes)
{
    buffer[0] = '\0';
    if (topo->nics)
        snprintf(buffer, bytes, "nics_per_node=%u", nics);
    if (nics < topo->nics)
        snprintf(buffer + strlen(buffer), bytes - strlen(buffer), " (%u more are near no GPU)",
                 topo->nics - nics);
}

static void describe_links(const struct topo *topo, char *buffer, size_t bytes)
{
    buffer[0] = '\0';
    if (topo->links)
        snprintf(buffer, bytes,
                 "nvlink=%.4gGB/s (%u NVLinks of 25 GB/s; Blackwell's have 50: %.4gGB/s%s)",
                 topo->links * LINK_BPS / 1e9, topo->links, 2 * topo->links * LINK_BPS / 1e9,
                 topo->min_links < topo->links ? "; not all pairs have as many" : "");
    else if (topo->pairs)
        snprintf(buffer, bytes, "inside=nic (no NVLink between GPUs)");
}

static bool tell_topo(void *state, struct log *log)
{
    const struct topo *topo = state;
    struct machine_facts *facts = &log->measured->facts;
    const uint32_t nics = exchange_nics(topo);
    char links[160], nic[64];
    if (!topo->gpus || !topo->rows)
        return true;
    facts->gpus_per_node = topo->gpus;
    facts->nics_per_node = nics;
    facts->nvlink_nominal_Bps = topo->links * LINK_BPS;
    facts->no_nvlink = topo->pairs && topo->unlinked == topo->pairs;
    facts->count++;
    describe_links(topo, links, sizeof links);
    describe_nics(topo, nics, nic, sizeof nic);
    notice("%s: nvidia-smi topo -m: %u GPUs of a node%s%s%s%s", log->path, topo->gpus,
           links[0] ? ", " : "", links, nic[0] ? ", " : "", nic);
    return true;
}

const struct log_reader log_reader_topo = {"what nvidia-smi topo -m prints",
                                           sizeof(struct topo),
                                           is_topo,
                                           read_topo_line,
                                           tell_topo,
                                           NULL};

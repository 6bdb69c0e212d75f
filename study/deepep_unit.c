#include "study/deepep_unit.h"

#include "model/loads.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// What the tests of a library count.
struct counting {
    const char *dispatcher; // and its variants: "deepep-ll-rdma", "deepep-ll@h800"
    const char *inter_name, *intra_name;
    bool by_choice;
    uint32_t out_bytes, out_choice_bytes, back_choice_bytes; // of a copy, beside its values
};

// clang-format off
static const struct counting countings[] = {
    {"deepep-normal", "RDMA", "NVL", false, 0, 0, 0},
    {"uccl-normal", "RDMA", "NVL", false, 0, 0, 0},
    {"deepep-v2", "SO", "SU", false, 0, 12, 4},
    {"deepep-ll", "", NULL, true, 16, 0, 0},
    {"uccl-ll", "", NULL, true, 16, 0, 0},
};
// clang-format on

static const struct counting *counting_of(const char *dispatcher)
{
    for (size_t c = 0; c < sizeof countings / sizeof countings[0]; c++) {
        const size_t length = strlen(countings[c].dispatcher);
        if (!strncmp(dispatcher, countings[c].dispatcher, length) &&
            (!dispatcher[length] || strchr("-@:", dispatcher[length])))
            return &countings[c];
    }
    return NULL;
}

static double copy_bytes(const struct counting *counting, const struct moe *moe, enum phase phase)
{
    const bool out = phase == PHASE_DISPATCH;
    const enum dtype dtype = out ? moe->dispatch_dtype : moe->combine_dtype;
    const double values = (double)moe_payload_bytes(moe_expert_hidden(moe), dtype);
    return out ? values + counting->out_bytes + (double)counting->out_choice_bytes * moe->topk
               : values + (double)counting->back_choice_bytes * moe->topk;
}

// Of a matrix [ranks * columns]: a rank's mean.
static double copies(const double *matrix, const struct loads *loads, size_t columns)
{
    return loads_sum(matrix, loads->ranks * columns) / loads->ranks;
}

bool deepep_unit_of(struct deepep_unit *unit, const struct schedule *schedule, enum phase phase)
{
    const struct counting *counting = counting_of(schedule->dispatcher.name);
    const struct loads *loads = schedule->loads;
    if (!counting || !schedule->layout || (phase != PHASE_DISPATCH && phase != PHASE_COMBINE) ||
        !schedule->present[phase])
        return false;
    const double bytes = copy_bytes(counting, &schedule->moe, phase);
    *unit = (struct deepep_unit){.inter_name = counting->inter_name,
                                 .intra_name = counting->intra_name};
    if (counting->by_choice) {
        unit->inter_bytes = bytes * copies(loads->expert_copies, loads, loads->ranks);
        return unit->inter_bytes > 0;
    }
    unit->inter_bytes = bytes * copies(loads->node_copies, loads, loads->nodes);
    unit->intra_bytes = bytes * copies(loads->rank_copies, loads, loads->ranks);
    if (loads->nodes == 1)
        unit->inter_name = NULL;
    return unit->intra_bytes > 0;
}

static double rate_GBps(const char *name, double bytes, double latency_us)
{
    return name && latency_us > 0 ? bytes / latency_us / 1e3 : NAN;
}

double deepep_unit_inter_GBps(const struct deepep_unit *unit, double latency_us)
{
    return rate_GBps(unit->inter_name, unit->inter_bytes, latency_us);
}

double deepep_unit_intra_GBps(const struct deepep_unit *unit, double latency_us)
{
    return rate_GBps(unit->intra_name, unit->intra_bytes, latency_us);
}

char *deepep_unit_text(const struct deepep_unit *unit, double latency_us, char *buffer)
{
    const double inter = deepep_unit_inter_GBps(unit, latency_us);
    const double intra = deepep_unit_intra_GBps(unit, latency_us);
    int length = 0;
    *buffer = '\0';
    if (!isnan(inter) && *unit->inter_name)
        length = snprintf(buffer, DEEPEP_UNIT_BYTES, "%.4g GB/s (%s)", inter, unit->inter_name);
    else if (!isnan(inter))
        length = snprintf(buffer, DEEPEP_UNIT_BYTES, "%.4g GB/s", inter);
    if (!isnan(intra))
        snprintf(buffer + length, DEEPEP_UNIT_BYTES - (size_t)length, "%s%.4g GB/s (%s)",
                 length ? ", " : "", intra, unit->intra_name);
    return buffer;
}

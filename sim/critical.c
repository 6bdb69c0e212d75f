#include "sim/critical.h"

#include <stdio.h>
#include <string.h>

// Where to go on: a phase and the rank that mattered in it.
struct place {
    int phase;
    uint32_t rank;
};

// Whether a phase starts for everybody when the last rank has come.
static bool meets(const struct schedule *schedule, const struct run *run, int phase)
{
    const struct transfer *transfer = schedule_transfer(schedule, (enum phase)phase);
    return run->aligned || phase == PHASE_NOTIFY || (transfer && transfer->barrier);
}

// The step before `place`: the rank whose start held it up, in the latest phase that ended by then.
static struct place before(const struct schedule *schedule, const struct run *run,
                           const struct timing *timing, struct place place, uint32_t last_sender)
{
    const struct phase_timing *phase = &timing->phases[place.phase];
    const uint32_t rank = meets(schedule, run, place.phase)
                              ? timing_last(phase->start_ps, timing->ranks)
                              : last_sender;
    struct place found = {.phase = -1, .rank = rank};
    uint64_t latest = 0;
    for (int p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *earlier = &timing->phases[p];
        if (p == place.phase || !earlier->present || earlier->end_ps[rank] > phase->start_ps[rank])
            continue;
        if (earlier->end_ps[rank] > latest) {
            latest = earlier->end_ps[rank];
            found.phase = p;
        }
    }
    return found;
}

// Why a step could not end earlier: the bottleneck of its phase, and whose data came last.
static void add_step(struct timing *timing, struct place place, uint32_t last_sender)
{
    const struct phase_timing *phase = &timing->phases[place.phase];
    struct critical_step *step = &timing->path[timing->path_count++];
    char bottleneck[sizeof phase->bottleneck];
    strcpy(bottleneck, phase->bottleneck);
    *step = (struct critical_step){.phase = (enum phase)place.phase,
                                   .rank = place.rank,
                                   .start_ps = phase->start_ps[place.rank],
                                   .end_ps = phase->end_ps[place.rank]};
    if (last_sender != place.rank)
        snprintf(step->cause, sizeof step->cause, "last data from gpu%u; %s binds", last_sender,
                 bottleneck);
    else
        snprintf(step->cause, sizeof step->cause, "%s", bottleneck);
}

// Where the layer ends: of phases that end together the later one.
static struct place last_place(const struct timing *timing)
{
    struct place place = {.phase = -1};
    uint64_t latest = 0;
    for (int p = 0; p < PHASE_COUNT; p++) {
        if (!timing->phases[p].present)
            continue;
        const uint32_t rank = timing_last(timing->phases[p].end_ps, timing->ranks);
        if (timing->phases[p].end_ps[rank] >= latest) {
            latest = timing->phases[p].end_ps[rank];
            place = (struct place){.phase = p, .rank = rank};
        }
    }
    return place;
}

// From the layer's last event backward: at each step to the rank whose data came last, or where all
// meet the one that came last, and to the phase that it had ended before. Then turned round.
void critical_path(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    const size_t room = sizeof timing->path / sizeof timing->path[0];
    struct place place = last_place(timing);
    timing->path_count = 0;
    while (place.phase >= 0 && timing->path_count < room) {
        const uint32_t last_sender = timing->phases[place.phase].last_sender[place.rank];
        add_step(timing, place, last_sender);
        place = before(schedule, run, timing, place, last_sender);
    }
    for (size_t i = 0; i < timing->path_count / 2; i++) {
        const struct critical_step step = timing->path[i];
        timing->path[i] = timing->path[timing->path_count - 1 - i];
        timing->path[timing->path_count - 1 - i] = step;
    }
}

#include "study/replay_timeline.h"

#include "sim/timeline.h"

void replay_timeline_begin(struct replay_timeline *timeline, FILE *out, uint64_t max_events)
{
    *timeline = (struct replay_timeline){.out = out, .max_events = max_events};
}

static void end_step(struct replay_timeline *timeline, uint64_t step)
{
    timeline->events++;
    timeline_layer(timeline->timeline, TIMELINE_STEP, step, timeline->step_ps, timeline->now_ps);
    timeline->step_ps = timeline->now_ps;
    timeline->layers = 0;
    timeline->steps++;
    // The next step may have as many events as the mean of those so far.
    const uint64_t next = timeline->events / timeline->steps;
    timeline->full = timeline->events + next > timeline->max_events;
}

void replay_timeline_add(struct replay_timeline *timeline, const struct replay_place *place,
                         uint32_t layers)
{
    if (timeline->full)
        return;
    if (!timeline->timeline)
        timeline->timeline = timeline_new(timeline->out, place->fabric, 1, TIMELINE_LAYERS);
    const uint64_t end_ps = timeline->now_ps + place->routed_ps[REPLAY_LAYER];
    timeline_layer(timeline->timeline, TIMELINE_LAYER, place->layer, timeline->now_ps, end_ps);
    timeline->events += 1 + timeline_phases(timeline->timeline, place->timing, timeline->now_ps);
    timeline->now_ps = end_ps;
    if (++timeline->layers == layers)
        end_step(timeline, place->step);
}

void replay_timeline_end(struct replay_timeline *timeline, const char *engine)
{
    if (timeline->timeline)
        timeline_finish(timeline->timeline, engine);
    timeline->timeline = NULL;
}

#include "scenario/planned.h"

#include "base/mem.h"
#include "model/placement/placement.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool find_rule(const char *what, enum placement_rule *rule)
{
    static const enum placement_rule rules[] = {PLACEMENT_GREEDY, PLACEMENT_EPLB,
                                                PLACEMENT_EPLB_GLOBAL};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (!strcmp(what, placement_rule_names[rules[i]])) {
            *rule = rules[i];
            return true;
        }
    return false;
}

bool planned_is_rule(const char *what)
{
    enum placement_rule rule;
    return find_rule(what, &rule);
}

static void count_row(const uint16_t *ids, uint32_t topk, double *load)
{
    for (uint32_t k = 0; k < topk; k++)
        if (ids[k] != ROUTING_DROPPED)
            load[ids[k]]++;
}

static void count_trace(const struct planned_def *def, double *load)
{
    uint16_t ids[MOE_MAX_TOPK];
    for (uint64_t t = 0; t < def->trace->tokens; t++) {
        trace_row(def->trace, t, def->layer_index, ids);
        count_row(ids, def->trace->moe.topk, load);
    }
}

static void count_drawn(const struct routing *routing, double *load)
{
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t rank = 0; rank < routing->ranks; rank++)
        for (uint32_t t = 0; t < routing->tokens[rank]; t++) {
            routing_row(routing, rank, t, ids);
            count_row(ids, routing->topk, load);
        }
}

bool planned_layout(struct layout *layout, const struct planned_def *def, struct error *err)
{
    const uint32_t experts = def->moe->experts;
    const struct placement_shape shape = {.experts = experts,
                                          .groups = def->moe->groups,
                                          .ranks = cluster_ranks(def->cluster),
                                          .nodes = def->cluster->nodes,
                                          .slots = experts + def->redundant};
    enum placement_rule rule = PLACEMENT_EPLB;
    find_rule(def->rule, &rule);
    if (!placement_check(&shape, err))
        return error_prefix(err, "--redundant %" PRIu32, def->redundant);
    double *load = mem_alloc(experts, sizeof *load);
    uint32_t *slot_expert = mem_alloc(shape.slots, sizeof *slot_expert);
    if (def->trace)
        count_trace(def, load);
    else
        count_drawn(def->routing, load);
    placement_make(rule, &shape, load, def->seed, slot_expert);
    const bool ok = layout_from_slots(layout, slot_expert, shape.slots, experts, shape.ranks, err);
    free(load);
    free(slot_expert);
    return ok || error_prefix(err, "--layout");
}

const char *planned_text(const struct scenario_def *def, const struct layout *layout, char *text)
{
    text[0] = '\0';
    if (!layout || def->unplaced || !planned_is_rule(def->layout))
        return text;
    if (def->trace[0])
        snprintf(text, PLANNED_TEXT_BYTES,
                 "%s, %" PRIu32 " slots, planned on all that the trace has of a layer, and judged "
                 "on that (epsim layout compare judges on another part)",
                 def->layout, layout->slots);
    else
        snprintf(text, PLANNED_TEXT_BYTES,
                 "%s, %" PRIu32 " slots, planned on the loads that --routing %s draws with seed "
                 "%" PRIu64,
                 def->layout, layout->slots, routing_rule_names[def->routing], def->seed);
    return text;
}

#include "study/ep/gather.h"

#include "base/mem.h"
#include "study/ep/rows.h"

#include <stdlib.h>

// A text may hold more groups than are worth a look at each line; lines of one run stand near.
#define GROUPS_SEEN 512

static bool is_none_or_within(double figure, double least, double most)
{
    return !(figure > 0) || (figure >= least && figure <= most);
}

static bool is_sound(const struct ep_result *result)
{
    const double times_us[] = {result->us, result->after_us, result->notify_us};
    for (size_t t = 0; t < 3; t++)
        if (!is_none_or_within(times_us[t], 1e-2, 1e9))
            return false;
    return is_none_or_within(result->GBps, 1e-4, 1e6) &&
           is_none_or_within(result->intra_GBps, 1e-4, 1e6) && result->rank < EP_MAX_RANKS;
}

static struct ep_group *new_group(struct ep_gather *gather)
{
    if (gather->count == gather->capacity) {
        gather->capacity = gather->capacity ? 2 * gather->capacity : 16;
        gather->groups = mem_grow(gather->groups, gather->capacity, sizeof *gather->groups);
    }
    return &gather->groups[gather->count++];
}

void ep_gather_add(struct ep_gather *gather, struct log *log, const struct ep_bench *bench,
                   const struct ep_config *config, const struct ep_result *result)
{
    if (!is_sound(result)) {
        log_leave_out(log, "left out: a time or a rate that no machine gives");
        return;
    }
    const size_t seen = gather->count < GROUPS_SEEN ? gather->count : GROUPS_SEEN;
    struct ep_group *group = NULL;
    for (size_t g = gather->count; !group && g-- > gather->count - seen;)
        if (ep_group_takes(&gather->groups[g], bench, config, result))
            group = &gather->groups[g];
    if (!group) {
        group = new_group(gather);
        *group = (struct ep_group){
            .bench = bench, .config = *config, .like = *result, .line = log->line};
    }
    ep_group_add(group, result);
}

void ep_gather_fill(struct ep_gather *gather, const struct ep_config *told)
{
    for (size_t g = 0; g < gather->count; g++) {
        struct ep_config *config = &gather->groups[g].config;
        config->nodes = config->nodes ? config->nodes : told->nodes;
        config->tokens = config->tokens ? config->tokens : told->tokens;
        config->hidden = config->hidden ? config->hidden : told->hidden;
        config->topk = config->topk ? config->topk : told->topk;
    }
}

void ep_gather_end(struct ep_gather *gather, struct log *log)
{
    const size_t last = log->line;
    for (size_t g = 0; g < gather->count; g++) {
        log->line = gather->groups[g].line;
        ep_group_rows(&gather->groups[g], log, &gather->mixes);
    }
    log->line = last;
}

void ep_gather_release(struct ep_gather *gather)
{
    for (size_t g = 0; g < gather->count; g++)
        free(gather->groups[g].rank_us);
    free(gather->groups);
    *gather = (struct ep_gather){0};
}

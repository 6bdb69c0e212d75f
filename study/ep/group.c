#include "study/ep/group.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

// Runs differ by nodes where their ratios of NVLink to RDMA do; those of one number of nodes are
// within 1 %.
#define SAME_RATIO 0.03

static void sum_add(struct ep_sum *sum, double figure)
{
    if (figure > 0) {
        sum->sum += figure;
        sum->count++;
    }
}

double ep_mean(struct ep_sum sum)
{
    return sum.count ? sum.sum / (double)sum.count : 0;
}

static double ratio_of(const struct ep_result *result)
{
    return result->GBps > 0 ? result->intra_GBps / result->GBps : 0;
}

static bool same_ratio(double a, double b)
{
    return fabs(a - b) <= SAME_RATIO * a;
}

bool ep_group_takes(const struct ep_group *group, const struct ep_bench *bench,
                    const struct ep_config *config, const struct ep_result *result)
{
    const struct ep_result *like = &group->like;
    return group->bench == bench && !memcmp(&group->config, config, sizeof *config) &&
           like->phase == result->phase && like->dtype == result->dtype &&
           like->hook == result->hook && like->sms == result->sms && like->count == result->count &&
           !strcmp(like->mode, result->mode) && same_ratio(ratio_of(like), ratio_of(result));
}

static void add_rank(struct ep_group *group, uint32_t rank, double us)
{
    while (group->rank_capacity <= rank) {
        const uint32_t more = group->rank_capacity ? 2 * group->rank_capacity : 16;
        group->rank_us = mem_grow(group->rank_us, more, sizeof *group->rank_us);
        memset(group->rank_us + group->rank_capacity, 0,
               (more - group->rank_capacity) * sizeof *group->rank_us);
        group->rank_capacity = more;
    }
    sum_add(&group->rank_us[rank], us);
    group->ranks = group->ranks > rank ? group->ranks : rank + 1;
}

void ep_group_add(struct ep_group *group, const struct ep_result *result)
{
    const double us = result->us;
    group->lines++;
    sum_add(&group->us, us);
    sum_add(&group->after_us, result->after_us);
    sum_add(&group->notify_us, result->notify_us);
    sum_add(&group->slowness, result->GBps > 0 ? 1 / result->GBps : 0);
    sum_add(&group->ratio, ratio_of(result));
    sum_add(&group->bytes, result->bytes);
    if (us > 0) {
        group->least_us = group->us.count == 1 ? us : fmin(group->least_us, us);
        group->most_us = fmax(group->most_us, us);
    }
    if (result->rank >= 0 && result->rank < EP_MAX_RANKS)
        add_rank(group, (uint32_t)result->rank, us + result->after_us * result->hook);
}

double *ep_group_rank_us(const struct ep_group *group, uint32_t ranks)
{
    double *us = mem_alloc(ranks, sizeof *us);
    for (uint32_t r = 0; r < ranks; r++)
        us[r] = r < group->ranks && group->rank_us[r].count ? ep_mean(group->rank_us[r]) : NAN;
    return us;
}

bool ep_group_is_whole(const struct ep_group *group)
{
    for (uint32_t r = 0; r < group->ranks; r++)
        if (!group->rank_us[r].count)
            return false;
    return group->ranks > 0;
}

#include "study/ep/rows.h"

#include "study/ep/place.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Ranks of one kernel differ by nodes and by their luck, but not so: their host was late, or
// another job ran.
#define NOISE 2.0

static bool is_timed(const struct ep_group *group)
{
    return group->us.count > 0;
}

// The kernel's time: as printed, or of the bytes at the rate that is printed alone.
static double kernel_us(const struct ep_group *group, const struct ep_run *run)
{
    const double us = ep_mean(group->us) + (group->like.hook ? ep_mean(group->after_us) : 0);
    if (is_timed(group))
        return us;
    const double copies = ep_mix_copies(&run->mix, &run->config, group->like.count);
    return run->config.tokens * copies * run->copy_bytes * ep_mean(group->slowness) / 1e3;
}

static void describe_source(const struct ep_group *group, const struct ep_run *run, char *source)
{
    snprintf(source, FIELD_TEXT_BYTES, "%s%s%s", group->bench->name,
             is_timed(group) ? "" : "; time derived from GB/s",
             run->tokens_told ? "; tokens by GB/s" : "");
}

// What rows say apart from their phase and time.
static struct measured_row *add_group_row(const struct ep_group *group, const struct ep_run *run,
                                          struct log *log, const char *what)
{
    const struct ep_config *config = &run->config;
    struct measured_row *row = measured_add(log->measured, log->line);
    snprintf(row->id, sizeof row->id, "%.180s:%zu:%s", log->path, log->line, what);
    snprintf(row->family, sizeof row->family, "%s%s%s", group->bench->dispatcher,
             group->like.mode[0] ? " " : "", group->like.mode);
    snprintf(row->dispatcher, sizeof row->dispatcher, "%s", group->bench->dispatcher);
    row->nodes = config->nodes;
    row->gpus_per_node = run->gpus_per_node;
    row->experts = config->experts;
    row->topk = config->topk;
    row->topk_groups = config->topk_groups;
    row->tokens_per_gpu = config->tokens;
    row->hidden = config->hidden;
    row->dtype = group->like.dtype;
    row->sms = group->like.sms;
    strcpy(row->stat, "mean");
    describe_source(group, run, row->source);
    return row;
}

// Of counts alone, kept from an exchange before: a kernel that no engine predicts.
static void add_notify_row(const struct ep_group *group, const struct ep_run *run, struct log *log)
{
    struct measured_row *row;
    if (!group->notify_us.count)
        return;
    row = add_group_row(group, run, log,
                        group->like.phase == PHASE_COMBINE ? "combine-notify" : "dispatch-notify");
    row->phase = PHASE_NOTIFY;
    strcpy(row->stat, "cached");
    row->latency_us = ep_mean(group->notify_us);
}

static void say_ranks_differ(const struct ep_group *group, struct log *log)
{
    if (group->us.count > 1 && group->most_us > NOISE * group->least_us)
        log_leave_out(
            log,
            "%s: ranks differ by more than a factor of %.0f: noise, such as launches that "
            "came late; its row is their mean",
            phase_names[group->like.phase], NOISE);
}

static void say_assumed(const struct ep_group *group, const struct ep_run *run, struct log *log)
{
    const struct ep_config *config = &run->config;
    if (run->tokens_told)
        log_leave_out(log,
                      "%s: taken as %u tokens per GPU: GB/s and us say so, at hidden %u and top-%u "
                      "of %u experts",
                      group->bench->name, config->tokens, config->hidden, config->topk,
                      config->experts);
    else if (!group->config.tokens || !group->config.hidden || !group->config.topk)
        log_leave_out(log,
                      "%s: does not say what it ran: taken as its defaults, %u tokens per GPU, "
                      "hidden %u, top-%u of %u experts",
                      group->bench->name, config->tokens, config->hidden, config->topk,
                      config->experts);
}

void ep_group_rows(const struct ep_group *group, struct log *log, struct ep_mixes *mixes)
{
    struct ep_run run;
    char what[64];
    if (!ep_run_of(group, log, mixes, &run))
        return;
    snprintf(what, sizeof what, "%s%s%.40s", phase_names[group->like.phase],
             group->like.mode[0] ? "-" : "", group->like.mode);
    struct measured_row *row = add_group_row(group, &run, log, what);
    row->phase = group->like.phase;
    row->latency_us = kernel_us(group, &run);
    if (group->like.hook)
        strcpy(row->stat, "hook");
    if (group->ranks) {
        double *us = ep_group_rank_us(group, run.config.ranks);
        measured_set_ranks(log->measured, row, us, run.config.ranks);
        free(us);
    }
    say_ranks_differ(group, log);
    say_assumed(group, &run, log);
    add_notify_row(group, &run, log);
}

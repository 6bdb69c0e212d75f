// Of the closed form, from expected loads: a rank waits for the last of those that send to it, and
// which one that is, and when it comes, is a matter of chance. MODEL.md section 6.
#include "model/engine/form.h"

static double normal_chance(double t)
{
    return erfc(-t / M_SQRT2) / 2;
}

// All have come by then, or never do: lanes take turns, so that one of them is the last in its
// sender's order, and one the first. Taken as so many at each of some places.
#define PLACES 8
static double chance_all_by(const struct form_arrivals *arrivals, double at)
{
    double all = 1;
    if (at > arrivals->mean + arrivals->half + 5 * arrivals->sd)
        return 1;
    const int places = arrivals->half > 0 ? PLACES : 1;
    for (int i = 0; i < places; i++) {
        const double place = arrivals->mean + arrivals->half * ((2 * i + 1.0) / places - 1);
        const double by =
            arrivals->sd > 0 ? normal_chance((at - place) / arrivals->sd) : place <= at;
        all *= 1 - arrivals->chance * (1 - by);
    }
    return pow(all, arrivals->count / places);
}

// The expected last of all: the integral of the chance that not all have come, by the midpoint
// rule. It is not before any group's earliest, or so seldom that it does not matter.
#define LAST_STEPS 32
static double last_of(const struct form_arrivals groups[FORM_GROUPS])
{
    double low = -INFINITY, high = -INFINITY;
    for (int g = 0; g < FORM_GROUPS; g++) {
        if (groups[g].count <= 0)
            continue;
        low = fmax(low, groups[g].mean - groups[g].half - 3 * groups[g].sd);
        high = fmax(high, groups[g].mean + groups[g].half + 4 * groups[g].sd);
    }
    const double step = (high - low) / LAST_STEPS;
    double last = low;
    for (int s = 0; s < LAST_STEPS && step > 0; s++) {
        double all = 1;
        for (int g = 0; g < FORM_GROUPS; g++)
            if (groups[g].count > 0)
                all *= chance_all_by(&groups[g], low + (s + 0.5) * step);
        last += step * (1 - all);
    }
    return last;
}

// By how much a rank starts later than its mean, as a normal does: what the unluckiest of all ranks
// is later by is z standard deviations, more where others have more to do on average. It is less
// where the unluckiest can be no later (all of its experts have a token): most are nearly as late
// as that, a share 1 - r of it, and vary the less, r being its part of z standard deviations.
struct lateness {
    double shift, sd;
};

static struct lateness lateness(const struct form *form, double late, double sd)
{
    const double z = loads_expected_max(0, 1, fmax(2, form->schedule->fabric.ranks));
    const double own = sd > 0 ? fmin(late, z * sd) : late;
    const double part = sd > 0 ? own / (z * sd) : 1;
    return (struct lateness){.shift = (1 - part) * own, .sd = part * own / z};
}

// When a sender's last comes depends on its place in the sender's order, on how much it has to
// send, and in a gather on when it has computed.
static struct form_arrivals arrivals_of(const struct form *form, uint32_t rank,
                                        enum form_reach reach, double sent_sd_ps)
{
    const struct form_senders *senders = &form->ranks[rank].senders[reach];
    const double count = senders->count;
    if (count <= 0)
        return (struct form_arrivals){0};
    const double mean = senders->arrivals / count;
    const struct lateness late = lateness(form, senders->delays / count, senders->sds / count);
    return (struct form_arrivals){.count = senders->lanes,
                                  .chance = count / senders->lanes,
                                  .mean = mean + late.shift,
                                  .half = fmax(0, senders->last - mean),
                                  .sd = hypot(late.sd, sent_sd_ps)};
}

// A rank is not done before all that it has to send has left.
static struct form_arrivals own_sending(const struct form *form, uint32_t rank, double sent_sd_ps)
{
    const struct form_rank *own = &form->ranks[rank];
    const struct lateness late = lateness(form, own->late, own->late_sd);
    double sent = own->start;
    for (enum port_kind kind = PORT_NIC_TX; kind <= PORT_NVLINK_TX; kind += 2)
        if (form->ports[kind][rank].count > 0)
            sent = fmax(sent, form_all_passed(form, kind, rank));
    return (struct form_arrivals){
        .count = 1, .chance = 1, .mean = sent + late.shift, .sd = hypot(late.sd, sent_sd_ps)};
}

// Less than a picosecond apart.
static bool are_alike(const struct form_arrivals *a, const struct form_arrivals *b)
{
    return fabs(a->mean - b->mean) < 1 && fabs(a->half - b->half) < 1 && fabs(a->sd - b->sd) < 1 &&
           fabs(a->count - b->count) < 1e-9 && fabs(a->chance - b->chance) < 1e-9;
}

double form_late_sender(const struct form *form, uint32_t rank, const double sent_sd_ps[REACHES],
                        struct form_awaited *before)
{
    struct form_awaited now;
    bool alike = true;
    for (enum form_reach reach = 0; reach < REACHES; reach++)
        now.groups[reach] = arrivals_of(form, rank, reach, sent_sd_ps[reach]);
    now.groups[REACHES] =
        own_sending(form, rank, fmax(sent_sd_ps[REACH_NODE], sent_sd_ps[REACH_OTHERS]));
    for (int g = 0; g < FORM_GROUPS; g++)
        alike = alike && are_alike(&now.groups[g], &before->groups[g]);
    if (!alike) {
        now.last = now.groups[REACH_NODE].count + now.groups[REACH_OTHERS].count > 0
                       ? last_of(now.groups)
                       : 0;
        *before = now;
    }
    return before->last;
}

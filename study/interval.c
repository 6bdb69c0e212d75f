#include "study/interval.h"

#include "base/mem.h"
#include "model/engine/estimate.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP 0.01 // of a logarithm: above the rounding of times, below what bends them

// ---- what the closed form says -----------------------------------------------------------------

// Logarithms of the times that a doubt may be asked of.
struct logs {
    double slowest[PHASE_COUNT], mean[PHASE_COUNT], layer;
};

static void ask(struct setting *trial, struct timing *timing)
{
    setting_schedule(trial);
    estimate(&trial->schedule, &trial->run, timing);
    schedule_release(&trial->schedule);
}

static struct logs logs_of(const struct timing *timing)
{
    struct logs logs = {.layer = log(timing_layer_ps(timing))};
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (!timing->phases[phase].present)
            continue;
        const struct phase_span span = timing_span(timing, phase);
        logs.slowest[phase] = log(span.latency_ps);
        logs.mean[phase] = log(span.latency_mean_ps);
    }
    return logs;
}

// d ln T / d ln value.
static struct logs slope(const struct setting *setting, const struct parameter *parameter,
                         uint8_t on, const struct logs *base)
{
    struct setting trial = *setting;
    struct timing timing;
    parameter_put(parameter, on, parameter->start * exp(STEP), &trial);
    ask(&trial, &timing);
    struct logs moved = logs_of(&timing);
    timing_release(&timing);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        moved.slowest[phase] = (moved.slowest[phase] - base->slowest[phase]) / STEP;
        moved.mean[phase] = (moved.mean[phase] - base->mean[phase]) / STEP;
    }
    moved.layer = (moved.layer - base->layer) / STEP;
    return moved;
}

// ---- constants in force -----------------------------------------------------------------------

// Keys of a parameter that have the very value that was found: a preset that says another is not
// what was fitted.
static uint8_t still(const struct parameter *parameter, uint8_t on, const struct setting *setting)
{
    const enum parameter_part part = parameter->part;
    if ((on & ON_KEY) && parameter_value(part, parameter->field, setting) != parameter->start)
        on &= (uint8_t)~ON_KEY;
    if ((on & ON_OTHER_KEY) && parameter_value(part, parameter->also, setting) != parameter->start)
        on &= (uint8_t)~ON_OTHER_KEY;
    return on;
}

static uint8_t keys_in_force(const struct parameter *parameter, const struct setting *setting)
{
    return still(parameter,
                 parameter_depends(parameter, setting, PHASE_DISPATCH) |
                     parameter_depends(parameter, setting, PHASE_COMBINE),
                 setting);
}

static bool same_keys(const struct parameter *a, const struct parameter *b)
{
    return a->part == b->part &&
           (a->field == b->field || a->field == b->also || (a->also && a->also == b->field) ||
            (a->also && a->also == b->also));
}

// Whether a fit that comes before has the same key in force.
static bool taken(const struct fits *fits, size_t before, const struct parameter *parameter,
                  const struct setting *setting)
{
    for (size_t i = 0; i < before; i++)
        for (size_t p = 0; p < fits->all[i].parameter_count; p++)
            if (same_keys(&fits->all[i].parameters[p], parameter) &&
                keys_in_force(&fits->all[i].parameters[p], setting))
                return true;
    return false;
}

// ---- the variance of constants -----------------------------------------------------------------

struct variances {
    double slowest[PHASE_COUNT], mean[PHASE_COUNT], layer;
};

static void add_pair(struct variances *sum, const struct logs *a, const struct logs *b,
                     double covariance)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        sum->slowest[phase] += a->slowest[phase] * b->slowest[phase] * covariance;
        sum->mean[phase] += a->mean[phase] * b->mean[phase] * covariance;
    }
    sum->layer += a->layer * b->layer * covariance;
}

static void add_fit(struct variances *sum, const struct fits *fits, size_t index,
                    const struct setting *setting, const struct logs *base)
{
    const struct fitted *fitted = &fits->all[index];
    const size_t n = fitted->parameter_count;
    struct logs *slopes = mem_alloc(n, sizeof *slopes);
    bool *used = mem_alloc(n, sizeof *used);
    for (size_t p = 0; p < n; p++) {
        const struct parameter *parameter = &fitted->parameters[p];
        const uint8_t on = keys_in_force(parameter, setting);
        used[p] = on && !taken(fits, index, parameter, setting);
        if (used[p])
            slopes[p] = slope(setting, parameter, on, base);
    }
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; used[a] && b < n; b++)
            if (used[b])
                add_pair(sum, &slopes[a], &slopes[b], fitted->covariance[a * n + b]);
    free(slopes);
    free(used);
}

// ---- the routing's draw -------------------------------------------------------------------------

// One rank's standard deviation by chance, picoseconds: the closed form's slowest rank is so many
// of them above the mean (loads_expected_max).
static double one_rank_ps(const struct phase_timing *phase, uint32_t ranks)
{
    const double quantile = ranks > 1 ? loads_expected_max(0, 1, ranks) : 0;
    double above = 0;
    for (uint32_t r = 0; r < ranks; r++)
        if (phase->late_ps[r] > phase->end_ps[r])
            above += (double)(phase->late_ps[r] - phase->end_ps[r]);
    return quantile > 0 ? above / ranks / quantile : 0;
}

// The largest of n normals spreads by about pi / sqrt(12 ln n) of one's (Gumbel's limit); their
// mean by 1 / sqrt(n), less where tokens only change places between ranks.
static void set_routing(struct doubts *doubts, const struct timing *timing)
{
    const double n = timing->ranks;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        if (!timing->phases[p].present || timing->ranks < 2)
            continue;
        const struct phase_span span = timing_span(timing, p);
        const double one = one_rank_ps(&timing->phases[p], timing->ranks);
        doubts->slowest[p].routing = one * fmin(1, M_PI / sqrt(12 * log(n))) / span.latency_ps;
        doubts->mean[p].routing = one / sqrt(n) / span.latency_mean_ps;
    }
}

// ---- all together ------------------------------------------------------------------------------

static void set_spread(struct doubt *doubt, const struct fitted_spread *spread, enum engine engine)
{
    const double own = spread->of[engine];
    doubt->known = true;
    doubt->rows = spread->rows;
    doubt->freedom = spread->freedom;
    doubt->spread = own > 0 ? own : spread->of[ENGINE_ESTIMATE];
}

static void set_spreads(struct doubts *doubts, const struct fits *fits,
                        const struct setting *setting, enum engine engine)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        const struct fitted_group *group = setting->schedule.present[phase]
                                               ? fits_group(fits, setting->dispatcher.name, phase)
                                               : NULL;
        if (!group)
            continue;
        const struct fitted_spread *spread = fitted_spread_at(group, setting->cluster.nodes);
        set_spread(&doubts->slowest[phase], spread, engine);
        set_spread(&doubts->mean[phase], spread, engine);
    }
}

static void set_layer(struct doubts *doubts, const struct setting *setting, const struct logs *base)
{
    struct doubt *layer = &doubts->layer;
    layer->known = true;
    layer->freedom = INFINITY;
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        const struct doubt *doubt = &doubts->slowest[phase];
        if (!setting->schedule.present[phase])
            continue;
        if (phase_moves(phase))
            layer->known = layer->known && doubt->known;
        const double share = exp(base->slowest[phase] - base->layer);
        layer->routing = hypot(layer->routing, share * doubt->routing);
        if (!doubt->known)
            continue;
        layer->spread = hypot(layer->spread, share * doubt->spread);
        layer->freedom = fmin(layer->freedom, doubt->freedom);
        layer->rows += doubt->rows;
    }
}

// The setting as the closed form best answers it: expected loads where routing is drawn, and the
// cluster by the name of the preset that it was changed from.
static struct setting asked_in_closed_form(const struct setting *setting)
{
    struct setting closed = *setting;
    dispatcher_cluster_name(&setting->cluster, closed.cluster.name);
    if (!setting->traffic && !setting->loads.expected && setting->routing.rule != ROUTING_TRACE) {
        closed.loads = (struct loads){0};
        loads_expect(&closed.loads, &closed.routing, &closed.layout, closed.cluster.nodes);
    }
    return closed;
}

void doubts_find(struct doubts *doubts, const struct fits *fits, const struct setting *setting,
                 enum engine engine)
{
    struct setting closed = asked_in_closed_form(setting);
    struct variances variances = {0};
    struct timing timing;
    *doubts = (struct doubts){0};
    ask(&closed, &timing);
    const struct logs base = logs_of(&timing);
    for (size_t i = 0; i < fits->count; i++)
        add_fit(&variances, fits, i, &closed, &base);
    set_spreads(doubts, fits, setting, engine);
    set_routing(doubts, &timing);
    set_layer(doubts, setting, &base);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        doubts->slowest[phase].constants = sqrt(fmax(variances.slowest[phase], 0));
        doubts->mean[phase].constants = sqrt(fmax(variances.mean[phase], 0));
    }
    doubts->layer.constants = sqrt(fmax(variances.layer, 0));
    timing_release(&timing);
    if (closed.loads.rank_copies != setting->loads.rank_copies)
        loads_release(&closed.loads);
}

struct interval interval_of(const struct doubt *doubt, double value, double pct)
{
    if (!doubt->known)
        return (struct interval){NAN, NAN};
    const double sd =
        sqrt(pow(doubt->constants, 2) + pow(doubt->spread, 2) + pow(doubt->routing, 2));
    const double tail = 0.5 + pct / 200;
    const double quantile = isinf(doubt->freedom) ? gsl_cdf_ugaussian_Pinv(tail)
                                                  : gsl_cdf_tdist_Pinv(tail, doubt->freedom);
    return (struct interval){value * exp(-quantile * sd), value * exp(quantile * sd)};
}

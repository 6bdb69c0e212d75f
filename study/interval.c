#include "study/interval.h"

#include "base/mem.h"
#include "model/engine/estimate.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP 0.01 // of a logarithm: above the rounding of times, below what bends them

// ---- what the closed form says -----------------------------------------------------------------

// A number for each time that an uncertainty may be asked of: each phase's of the slowest rank,
// each phase's mean, and the layer's.
enum { MEANS = PHASE_COUNT, LAYER = 2 * PHASE_COUNT, FIGURES };
struct figures {
    double of[FIGURES];
};

static struct figures logs_of(const struct timing *timing)
{
    struct figures logs = {.of[LAYER] = log(timing_layer_ps(timing))};
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (!timing->phases[phase].present)
            continue;
        const struct phase_span span = timing_span(timing, phase);
        logs.of[phase] = log(span.latency_ps);
        logs.of[MEANS + phase] = log(span.latency_mean_ps);
    }
    return logs;
}

// d ln T / d ln value. The scenario is afterwards what it was.
static struct figures slope(struct scenario *closed, const struct parameter *parameter, uint8_t on,
                            const struct figures *base)
{
    struct figures moved = *base;
    struct timing timing;
    struct error none;
    parameter_put(parameter, on, parameter->start * exp(STEP), closed);
    scenario_touch(closed);
    const bool ok = scenario_run(closed, &engine_estimate, &timing, &none);
    assert(ok); // its loads passed the check, which a change by hand does not repeat
    (void)ok;
    moved = logs_of(&timing);
    timing_release(&timing);
    parameter_put(parameter, on, parameter->start, closed); // keys_in_force: that very value
    scenario_touch(closed);
    for (int f = 0; f < FIGURES; f++)
        moved.of[f] = (moved.of[f] - base->of[f]) / STEP;
    return moved;
}

// ---- constants in force -----------------------------------------------------------------------

// Keys of a parameter that have the very value that was found: a preset that says another is not
// what was fitted.
static uint8_t keys_in_force(const struct parameter *parameter, const struct scenario *scenario)
{
    unsigned on = parameter_depends_moving(parameter, scenario);
    for (int k = 0; k < PARAMETER_KEYS; k++)
        if (on & 1u << k &&
            parameter_value(parameter->part, parameter->keys[k], scenario) != parameter->start)
            on &= ~(1u << k);
    return (uint8_t)on;
}

// Whether a fit that comes before has the same key in force.
static bool taken(const struct fits *fits, size_t before, const struct parameter *parameter,
                  const struct scenario *scenario)
{
    for (size_t i = 0; i < before; i++)
        for (size_t p = 0; p < fits->all[i].parameter_count; p++)
            if (parameter_same_key(&fits->all[i].parameters[p], parameter) &&
                keys_in_force(&fits->all[i].parameters[p], scenario))
                return true;
    return false;
}

// ---- the variance of constants -----------------------------------------------------------------

static void add_fit(struct figures *variances, const struct fits *fits, size_t index,
                    struct scenario *closed, const struct figures *base)
{
    const struct fitted *fitted = &fits->all[index];
    const size_t n = fitted->parameter_count;
    struct figures *slopes = mem_alloc(n, sizeof *slopes);
    bool *used = mem_alloc(n, sizeof *used);
    for (size_t p = 0; p < n; p++) {
        const struct parameter *parameter = &fitted->parameters[p];
        const uint8_t on = keys_in_force(parameter, closed);
        used[p] = on && !taken(fits, index, parameter, closed);
        if (used[p])
            slopes[p] = slope(closed, parameter, on, base);
    }
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            for (int f = 0; used[a] && used[b] && f < FIGURES; f++)
                variances->of[f] +=
                    slopes[a].of[f] * slopes[b].of[f] * fitted->covariance[a * n + b];
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
    for (uint32_t r = 0; r < ranks; r++) {
        const double late = (double)(phase->late_ps[r] - phase->late_start_ps[r]);
        above += fmax(0, late - (double)(phase->end_ps[r] - phase->start_ps[r]));
    }
    return quantile > 0 ? above / ranks / quantile : 0;
}

// The largest of n normals spreads by about pi / sqrt(12 ln n) of one's (Gumbel's limit); their
// mean by 1 / sqrt(n), less where tokens only change places between ranks.
static void set_routing(struct uncertainties *uncertainties, const struct timing *timing)
{
    const double n = timing->ranks;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        if (!timing->phases[p].present || timing->ranks < 2)
            continue;
        const struct phase_span span = timing_span(timing, p);
        const double one = one_rank_ps(&timing->phases[p], timing->ranks);
        uncertainties->slowest[p].routing =
            one * fmin(1, M_PI / sqrt(12 * log(n))) / span.latency_ps;
        uncertainties->mean[p].routing = one / sqrt(n) / span.latency_mean_ps;
    }
}

// ---- all together ------------------------------------------------------------------------------

// Constants are fitted by the closed form: where another engine's spread is not known, its is.
static void set_spreads(struct uncertainties *uncertainties, const struct fits *fits,
                        const struct scenario *scenario, const struct engine *engine)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        char name[FIELD_TEXT_BYTES];
        dispatcher_base_name(&scenario->dispatcher, name);
        const struct fitted_group *group =
            scenario->schedule->present[phase] ? fits_group(fits, name, phase) : NULL;
        if (!group)
            continue;
        const struct fitted_spread *spread = fitted_spread_at(group, scenario->cluster.nodes);
        const double own = spread->of[engine_index(engine)];
        uncertainties->slowest[phase] = uncertainties->mean[phase] = (struct uncertainty){
            .known = true,
            .spread = own > 0 ? own : spread->of[engine_index(&engine_estimate)],
            .freedom = spread->freedom,
            .rows = spread->rows};
    }
}

static void set_layer(struct uncertainties *uncertainties, const struct scenario *scenario,
                      const struct figures *base)
{
    struct uncertainty *layer = &uncertainties->layer;
    layer->known = true;
    layer->freedom = INFINITY;
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        const struct uncertainty *uncertainty = &uncertainties->slowest[phase];
        if (!scenario->schedule->present[phase])
            continue;
        if (phase_moves(phase))
            layer->known = layer->known && uncertainty->known;
        const double share = exp(base->of[phase] - base->of[LAYER]);
        layer->routing = hypot(layer->routing, share * uncertainty->routing);
        if (!uncertainty->known)
            continue;
        layer->spread = hypot(layer->spread, share * uncertainty->spread);
        layer->freedom = fmin(layer->freedom, uncertainty->freedom);
        layer->rows += uncertainty->rows;
    }
}

// A mean over ranks is above the busiest port's bound where ranks have the same to do.
static void set_floors(struct uncertainties *uncertainties, const struct scenario *closed,
                       const struct timing *timing)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (!phase_moves(phase) || !timing->phases[phase].present)
            continue;
        const double us = nominal_bound_ps(&closed->cluster, timing, phase) / 1e6;
        uncertainties->slowest[phase].floor_us = us;
        uncertainties->mean[phase].floor_us = closed->loads->expected ? us : 0;
        uncertainties->layer.floor_us = fmax(uncertainties->layer.floor_us, us);
    }
}

// The scenario as the closed form best answers it: the whole layer, expected loads where routing is
// drawn, and the cluster by the name of the preset that it was changed from.
static void clone_in_closed_form(struct scenario *closed, const struct scenario *scenario)
{
    scenario_clone(closed, scenario);
    dispatcher_variant_name(VARIANT_CLUSTER, &scenario->cluster, closed->cluster.name);
    dispatcher_base_name(&scenario->dispatcher, closed->dispatcher.name);
    closed->def.isolated = false;
    closed->def.loads = LOADS_EXPECTED;
}

static void set_constants_parts(struct uncertainties *uncertainties,
                                const struct figures *variances)
{
    for (int f = 0; f < FIGURES; f++) {
        struct uncertainty *uncertainty = f == LAYER  ? &uncertainties->layer
                                          : f < MEANS ? &uncertainties->slowest[f]
                                                      : &uncertainties->mean[f - MEANS];
        uncertainty->constants = sqrt(fmax(variances->of[f], 0));
    }
}

void uncertainties_find(struct uncertainties *uncertainties, const struct fits *fits,
                        const struct scenario *scenario, const struct engine *engine)
{
    struct scenario closed;
    struct figures variances = {0};
    struct timing timing;
    struct error none;
    *uncertainties = (struct uncertainties){0};
    clone_in_closed_form(&closed, scenario);
    if (!scenario_run(&closed, &engine_estimate, &timing, &none)) {
        scenario_release(&closed);
        return;
    }
    const struct figures base = logs_of(&timing);
    for (size_t i = 0; i < fits->count; i++)
        add_fit(&variances, fits, i, &closed, &base);
    set_spreads(uncertainties, fits, scenario, engine);
    set_routing(uncertainties, &timing);
    set_layer(uncertainties, scenario, &base);
    set_floors(uncertainties, &closed, &timing);
    set_constants_parts(uncertainties, &variances);
    timing_release(&timing);
    scenario_release(&closed);
}

struct interval interval_of(const struct uncertainty *uncertainty, double value, double pct)
{
    if (!uncertainty->known)
        return (struct interval){NAN, NAN};
    const double sd = sqrt(pow(uncertainty->constants, 2) + pow(uncertainty->spread, 2) +
                           pow(uncertainty->routing, 2));
    const double tail = 0.5 + pct / 200;
    const double quantile = isinf(uncertainty->freedom)
                                ? gsl_cdf_ugaussian_Pinv(tail)
                                : gsl_cdf_tdist_Pinv(tail, uncertainty->freedom);
    const double low = fmax(value * exp(-quantile * sd), fmin(uncertainty->floor_us, value));
    return (struct interval){low, value * exp(quantile * sd)};
}

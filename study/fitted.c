#include "study/fitted.h"

#include "base/mem.h"
#include "model/version.h"

#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const span_keys[] = {"gpus_per_node", "experts", "topk", "hidden", "sms", NULL};

#define NORMAL_90 1.6448536269514722 // nine in ten of a normal's absolute values are below

// ---- what a calibration's rows span ------------------------------------------------------------

static void widen(struct span *span, uint64_t value)
{
    span->min = span->max == 0 || value < span->min ? value : span->min;
    span->max = value > span->max ? value : span->max;
}

static void add_fitted_place(struct fitted_group *group, const struct measured_row *row)
{
    size_t at = 0;
    while (at < group->place_count && group->places[at].nodes < row->nodes)
        at++;
    if (at == group->place_count || group->places[at].nodes != row->nodes) {
        group->places = mem_grow(group->places, group->place_count + 1, sizeof *group->places);
        memmove(group->places + at + 1, group->places + at,
                (group->place_count++ - at) * sizeof *group->places);
        group->places[at] = (struct fitted_place){.nodes = row->nodes};
    }
    widen(&group->places[at].sizes,
          row->bytes_per_rank ? row->bytes_per_rank : row->tokens_per_gpu);
}

// Rows that name no version are of the preset's own.
static void add_fitted_version(struct fitted_group *group, const struct scenario *scenario)
{
    char version[FIELD_TEXT_BYTES];
    if (!version_release(scenario->dispatcher.version, version))
        return;
    struct fitted_version *of = (struct fitted_version *)fitted_version_of(group, version);
    if (!of) {
        group->versions =
            mem_grow(group->versions, group->version_count + 1, sizeof *group->versions);
        of = &group->versions[group->version_count++];
        *of = (struct fitted_version){0};
        strcpy(of->version, version);
    }
    names_add_once(&of->clusters, scenario->cluster.name);
}

static void span_row(struct fitted_group *group, const struct calibrate_row *row)
{
    const struct measured_row *measured = row->measured;
    const struct scenario *scenario = &row->scenario;
    const uint64_t values[SPAN_KEYS] = {
        [SPAN_GPUS] = measured->gpus_per_node,
        [SPAN_EXPERTS] = measured->experts,
        [SPAN_TOPK] = measured->topk,
        [SPAN_HIDDEN] = measured->hidden,
        [SPAN_SMS] = dispatcher_sms(&scenario->dispatcher, scenario->cluster.sms)};
    for (enum span_key key = 0; key < SPAN_KEYS; key++)
        widen(&group->spans[key], values[key]);
    names_add_once(&group->clusters, scenario->cluster.name);
    add_fitted_version(group, scenario);
    add_fitted_place(group, measured);
    group->dtypes |= 1u << measured->dtype;
}

// ---- how far off they are ----------------------------------------------------------------------

// The standard deviation of a normal whose nine in ten are as near as those of the errors: a tail
// of outliers stands outside an interval, as it should, and does not widen it for all.
static double errors_spread(double *errors, size_t n, double freedom)
{
    for (size_t i = 0; i < n; i++)
        errors[i] = fabs(errors[i]);
    gsl_sort(errors, 1, n);
    return gsl_stats_quantile_from_sorted_data(errors, 1, n, 0.9) / NORMAL_90 *
           sqrt((double)n / freedom);
}

static bool is_row_of(const struct fitted_group *group, const struct calibrate_row *row)
{
    return row->moved && row->measured->phase == group->phase &&
           !strcmp(row->measured->dispatcher, group->dispatcher);
}

// Adds the spread of the rows from..to nodes. A few rows may all be near by luck, or because the
// fit had a figure for each: they are as unsure as the fit's rows at large, at least.
static void add_spread(struct fitted_group *group, uint32_t from, uint32_t to,
                       const struct calibration *calibration)
{
    struct fitted_spread *spread = &group->spreads[group->spread_count++];
    double *errors[ENGINES];
    size_t seen = 0;
    *spread = (struct fitted_spread){.nodes = from};
    for (size_t e = 0; e < ENGINES; e++)
        errors[e] = mem_alloc(calibration->row_count, sizeof *errors[e]);
    for (size_t r = 0; r < calibration->row_count; r++) {
        const struct calibrate_row *row = &calibration->rows[r];
        const double leverage = row->moved ? calibration->fit.leverage[seen++] : 0;
        if (!is_row_of(group, row) || row->measured->nodes < from || row->measured->nodes > to)
            continue;
        for (size_t e = 0; e < ENGINES; e++)
            errors[e][spread->rows] = log(row->predicted_us / row->measured->latency_us) +
                                      (engine_table[e]->has_queues ? 2 * row->engine_bias : 0);
        spread->rows++;
        spread->freedom += 1 - leverage;
    }
    spread->freedom = fmax(spread->freedom, 1);
    for (size_t e = 0; e < ENGINES; e++) {
        if (engine_table[e]->is_calibrated &&
            (!engine_table[e]->has_queues || calibration->between))
            spread->of[e] = fmax(errors_spread(errors[e], spread->rows, spread->freedom),
                                 spread->rows < FITTED_ENOUGH ? calibration->fit.scatter : 0);
        free(errors[e]);
    }
}

static void set_group_spreads(struct fitted_group *group, const struct calibration *calibration)
{
    size_t one = 0, more = 0;
    for (size_t r = 0; r < calibration->row_count; r++)
        if (is_row_of(group, &calibration->rows[r]))
            ++*(calibration->rows[r].measured->nodes == 1 ? &one : &more);
    if (one >= FITTED_ENOUGH && more >= FITTED_ENOUGH) {
        add_spread(group, 1, 1, calibration);
        add_spread(group, 2, UINT32_MAX, calibration);
    } else {
        add_spread(group, 1, UINT32_MAX, calibration);
    }
}

static struct fitted_group *group_in(const struct fitted *fitted, const char *dispatcher,
                                     enum phase phase)
{
    for (size_t g = 0; g < fitted->group_count; g++)
        if (fitted->groups[g].phase == phase && !strcmp(fitted->groups[g].dispatcher, dispatcher))
            return &fitted->groups[g];
    return NULL;
}

static struct fitted_group *group_for(struct fitted *fitted, const struct measured_row *row)
{
    struct fitted_group *group = group_in(fitted, row->dispatcher, row->phase);
    if (group)
        return group;
    fitted->groups = mem_grow(fitted->groups, fitted->group_count + 1, sizeof *fitted->groups);
    group = &fitted->groups[fitted->group_count++];
    *group = (struct fitted_group){.phase = row->phase};
    strcpy(group->dispatcher, row->dispatcher);
    return group;
}

static void set_fitted_groups(struct fitted *fitted, const struct calibration *calibration)
{
    for (size_t r = 0; r < calibration->row_count; r++)
        if (calibration->rows[r].moved && calibration->rows[r].measured->phase != PHASE_KERNEL)
            span_row(group_for(fitted, calibration->rows[r].measured), &calibration->rows[r]);
    for (size_t g = 0; g < fitted->group_count; g++)
        set_group_spreads(&fitted->groups[g], calibration);
}

// ---- what was found ----------------------------------------------------------------------------

// The value as a preset has it: what was fitted is written there rounded (parameter_format).
static double written(const struct parameter *parameter, double value)
{
    char text[FIELD_TEXT_BYTES];
    const double back =
        parameter_parse(parameter->keys[0], parameter_format(parameter, value, text));
    return isnan(back) ? value : back;
}

static struct parameter copy_of(const struct parameter *parameter, double value)
{
    struct parameter copy = *parameter;
    copy.start = value;
    copy.words = copy.presets = (struct names){0};
    for (size_t i = 0; i < parameter->presets.count; i++)
        names_add(&copy.presets, parameter->presets.of[i]);
    return copy;
}

// A parameter that was not found is left in its preset as it was: it is as unsure as what was held
// of it, and where nothing was, nobody says.
static void set_parameters(struct fitted *fitted, const struct calibration *calibration)
{
    const struct fit *fit = &calibration->fit;
    const size_t n = fit->parameters;
    size_t *kept = mem_alloc(n, sizeof *kept), count = 0;
    fitted->parameters = mem_alloc(n, sizeof *fitted->parameters);
    for (size_t p = 0; p < n; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        const bool found = calibration_found(calibration, p);
        if (!found && !(parameter->prior > 0))
            continue;
        fitted->parameters[count] =
            copy_of(parameter, found ? written(parameter, fit->values[p]) : parameter->start);
        kept[count++] = p;
    }
    fitted->parameter_count = count;
    fitted->covariance = mem_alloc(count * count, sizeof *fitted->covariance);
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < count; b++)
            fitted->covariance[a * count + b] = fit->covariance[kept[a] * n + kept[b]];
    free(kept);
}

void fitted_of(struct fitted *fitted, const struct calibration *calibration)
{
    *fitted = (struct fitted){0};
    set_parameters(fitted, calibration);
    set_fitted_groups(fitted, calibration);
}

void fitted_release(struct fitted *fitted)
{
    for (size_t p = 0; p < fitted->parameter_count; p++)
        parameter_release(&fitted->parameters[p]);
    for (size_t g = 0; g < fitted->group_count; g++) {
        names_release(&fitted->groups[g].clusters);
        for (size_t v = 0; v < fitted->groups[g].version_count; v++)
            names_release(&fitted->groups[g].versions[v].clusters);
        free(fitted->groups[g].versions);
        free(fitted->groups[g].places);
    }
    free(fitted->parameters);
    free(fitted->covariance);
    free(fitted->groups);
    *fitted = (struct fitted){0};
}

void fits_release(struct fits *fits)
{
    for (size_t i = 0; i < fits->count; i++)
        fitted_release(&fits->all[i]);
    free(fits->all);
    *fits = (struct fits){0};
}

const struct fitted_spread *fitted_spread_at(const struct fitted_group *group, uint32_t nodes)
{
    size_t at = group->spread_count - 1;
    while (at > 0 && group->spreads[at].nodes > nodes)
        at--;
    return &group->spreads[at];
}

const struct fitted_version *fitted_version_of(const struct fitted_group *group,
                                               const char *version)
{
    for (size_t v = 0; v < group->version_count; v++)
        if (!strcmp(group->versions[v].version, version))
            return &group->versions[v];
    return NULL;
}

char *fitted_dtypes(uint32_t dtypes)
{
    struct names names = {0};
    for (size_t d = 0; dtype_names[d]; d++)
        if (dtypes & 1u << d)
            names_add(&names, dtype_names[d]);
    char *text = names_join(&names, ", ");
    names_release(&names);
    return text;
}

// Whether it has a key of the dispatcher, or of a variant of it.
static bool moves(const struct fitted *fitted, const char *dispatcher)
{
    for (size_t p = 0; p < fitted->parameter_count; p++)
        if (fitted->parameters[p].part == PART_DISPATCHER &&
            parameter_is_of(&fitted->parameters[p], dispatcher))
            return true;
    return false;
}

const struct fitted_group *fits_group(const struct fits *fits, const char *dispatcher,
                                      enum phase phase)
{
    const struct fitted_group *found = NULL;
    for (size_t i = 0; i < fits->count; i++) {
        const struct fitted_group *group = group_in(&fits->all[i], dispatcher, phase);
        if (i == fits->own && found)
            break;
        if (group && moves(&fits->all[i], dispatcher))
            return group;
        found = found ? found : group;
    }
    return found;
}

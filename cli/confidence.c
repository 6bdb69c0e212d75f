#include "cli/confidence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct option_row interval_rows[] = {
    {OPTION_NUMBER("interval", FIELD_NUMBER, 0, "PCT", 1, 99.9,
                   "bounds between which so many of 100 measurements should lie, as 90")},
};
const struct option_group interval_options = {HEADING_UNCERTAINTY, OPTION_ROWS(interval_rows)};

bool confidence_find(struct confidence *confidence, double interval_pct,
                     const struct scenario *scenario, const struct engine *engine,
                     struct error *err)
{
    struct fits fits;
    *confidence = (struct confidence){.pct = interval_pct};
    if (!fits_load(&fits, err))
        return false;
    extrapolation_find(&confidence->extrapolation, &fits, scenario, 1);
    if (confidence->pct > 0)
        uncertainties_find(&confidence->uncertainties, &fits, scenario, engine);
    fits_release(&fits);
    return true;
}

void confidence_release(struct confidence *confidence)
{
    extrapolation_release(&confidence->extrapolation);
}

struct interval confidence_interval(const struct confidence *confidence,
                                    const struct timing *timing, enum phase phase)
{
    if (phase == PHASE_COUNT)
        return interval_of(&confidence->uncertainties.layer, timing_layer_ps(timing) / 1e6,
                           confidence->pct);
    return interval_of(&confidence->uncertainties.slowest[phase],
                       timing_span(timing, phase).latency_ps / 1e6, confidence->pct);
}

// ---- in words ----------------------------------------------------------------------------------

void extrapolation_comment(const struct extrapolation *extrapolation, struct table *table)
{
    char *text = extrapolation_text(extrapolation);
    if (text)
        table_comment(table, "extrapolates: %s", text);
    free(text);
}

static void comment_uncertainty(struct table *table, const char *what,
                                const struct uncertainty *uncertainty)
{
    table_comment(table,
                  "interval: %s: standard deviations of %.2g %% by constants, %.2g %% by %zu rows' "
                  "own spread, %.2g %% by the routing's draw",
                  what, 100 * uncertainty->constants, 100 * uncertainty->spread, uncertainty->rows,
                  100 * uncertainty->routing);
}

// Phases that no row was measured of.
static void comment_unknown(const struct confidence *confidence, const struct schedule *schedule,
                            struct table *table)
{
    struct names unknown = {0};
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (schedule->present[phase] && !confidence->uncertainties.slowest[phase].known)
            names_add(&unknown, phase_names[phase]);
    char *names = names_join(&unknown, ", ");
    names_release(&unknown);
    if (*names)
        table_comment(table, "interval: no measurement stands behind %s%s", names,
                      confidence->uncertainties.layer.known ? ": taken as exact in the layer's"
                                                            : "");
    free(names);
}

void confidence_comment(const struct confidence *confidence, const struct schedule *schedule,
                        struct table *table)
{
    extrapolation_comment(&confidence->extrapolation, table);
    if (!(confidence->pct > 0))
        return;
    table_comment(table,
                  "interval: %g %% of measurements of such a case should lie between low_us "
                  "and high_us",
                  confidence->pct);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (schedule->present[phase] && confidence->uncertainties.slowest[phase].known)
            comment_uncertainty(table, phase_names[phase],
                                &confidence->uncertainties.slowest[phase]);
    comment_unknown(confidence, schedule, table);
}

// ---- in JSON -----------------------------------------------------------------------------------

void extrapolation_json(const struct extrapolation *extrapolation, json_t *document)
{
    struct names reasons;
    json_t *texts = json_array();
    extrapolation_reasons(extrapolation, &reasons);
    for (size_t i = 0; i < reasons.count; i++)
        json_array_append_new(texts, json_string(reasons.of[i]));
    names_release(&reasons);
    json_object_set_new(document, "extrapolates", texts);
    if (extrapolation->predictions > 1) {
        json_object_set_new(document, "predictions",
                            json_integer((json_int_t)extrapolation->predictions));
        json_object_set_new(document, "extrapolated",
                            json_integer((json_int_t)extrapolation->outside));
    }
}

static json_t *uncertainty_json(const struct uncertainty *uncertainty)
{
    json_t *json = json_object();
    json_object_set_new(json, "constants_pct", table_json_real(100 * uncertainty->constants));
    json_object_set_new(json, "spread_pct", table_json_real(100 * uncertainty->spread));
    json_object_set_new(json, "routing_pct", table_json_real(100 * uncertainty->routing));
    json_object_set_new(json, "rows", json_integer((json_int_t)uncertainty->rows));
    return json;
}

void confidence_json(const struct confidence *confidence, const struct timing *timing,
                     json_t *document)
{
    extrapolation_json(&confidence->extrapolation, document);
    if (!(confidence->pct > 0))
        return;
    const struct interval layer = confidence_interval(confidence, timing, PHASE_COUNT);
    json_t *json = json_object(), *parts = json_object();
    json_object_set_new(json, "pct", table_json_real(confidence->pct));
    json_object_set_new(json, "layer_low_us", table_json_real(layer.low));
    json_object_set_new(json, "layer_high_us", table_json_real(layer.high));
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (confidence->uncertainties.slowest[phase].known)
            json_object_set_new(parts, phase_names[phase],
                                uncertainty_json(&confidence->uncertainties.slowest[phase]));
    json_object_set_new(json, "standard_deviations", parts);
    json_object_set_new(document, "interval", json);
}

#include "cli/print.h"

#include "cli/output.h"
#include "study/deepep_unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const tsv_kind_names[] = {"",        "phases", "ranks",     "ports", "links",
                                      "traffic", "path",   "imbalance", NULL};

#define US(ps) ((double)(ps) / 1e6)

// Queueing, of which the closed form knows nothing.
static struct cell wait_cell(const struct timing *timing, double wait_ps)
{
    return cell_real(timing->events ? US(wait_ps) : NAN);
}

static struct cell bytes_cell(double bytes)
{
    return cell_count((uint64_t)llround(bytes));
}

static struct table *phases_table(const struct timing *timing, const struct confidence *confidence)
{
    const bool asked = confidence->pct > 0;
    struct table *table = table_new("phases", "phase start_us end_us latency_us");
    table_columns(table, asked ? "low_us high_us" : "");
    table_columns(table, "latency_mean_us bytes bound_us bottleneck");
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *phase = &timing->phases[p];
        if (!phase->present)
            continue;
        const struct phase_span span = timing_span(timing, p);
        TABLE_ADD(table, cell_text(phase_names[p]), cell_real(US(span.start_ps)),
                  cell_real(US(span.end_ps)), cell_real(US(span.latency_ps)));
        if (asked) {
            const struct interval interval = confidence_interval(confidence, timing, p);
            TABLE_ADD(table, cell_real(interval.low), cell_real(interval.high));
        }
        TABLE_ADD(table, cell_real(US(span.latency_mean_ps)), bytes_cell(phase->bytes),
                  cell_real(US(phase->bound_ps)), cell_text(phase->bottleneck));
    }
    return table;
}

static struct table *ranks_table(const struct timing *timing)
{
    struct table *table = table_new("ranks", "rank phase start_us end_us latency_us");
    for (uint32_t r = 0; r < timing->ranks; r++)
        for (enum phase p = 0; p < PHASE_COUNT; p++) {
            const struct phase_timing *phase = &timing->phases[p];
            if (phase->present)
                TABLE_ADD(table, cell_count(r), cell_text(phase_names[p]),
                          cell_real(US(phase->start_ps[r])), cell_real(US(phase->end_ps[r])),
                          cell_real(US(phase->end_ps[r] - phase->start_ps[r])));
        }
    return table;
}

static double utilisation(const struct timing *timing, const struct port_timing *port)
{
    const double latency = timing_span(timing, port->phase).latency_ps;
    return latency > 0 ? port->busy_ps / latency : 0;
}

static struct table *ports_table(const struct schedule *schedule, const struct timing *timing)
{
    struct table *table =
        table_new("ports", "phase port link bytes busy_us utilisation wait_us longest_wait_us");
    char name[48];
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        fabric_port_name(&schedule->fabric, port->kind, port->port, name);
        TABLE_ADD(table, cell_text(phase_names[port->phase]), cell_text(name),
                  cell_text(port_kind_names[port->kind]), bytes_cell(port->bytes),
                  cell_real(US(port->busy_ps)), cell_real(utilisation(timing, port)),
                  wait_cell(timing, port->wait_ps), wait_cell(timing, port->longest_wait_ps));
    }
    return table;
}

// The ports of one kind in one phase, added up; busiest NULL: nothing moved.
struct link {
    double bytes, longest_wait_ps;
    const struct port_timing *busiest;
};

static struct link link_of(const struct timing *timing, enum phase phase, enum port_kind kind)
{
    struct link link = {0};
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        if (port->phase != phase || port->kind != kind)
            continue;
        link.bytes += port->bytes;
        link.longest_wait_ps = fmax(link.longest_wait_ps, port->longest_wait_ps);
        if (!link.busiest || port->busy_ps > link.busiest->busy_ps)
            link.busiest = port;
    }
    return link;
}

static struct table *links_table(const struct schedule *schedule, const struct timing *timing)
{
    struct table *table =
        table_new("links", "phase link busiest bytes utilisation longest_wait_us");
    char name[48];
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        for (enum port_kind kind = 0; kind < PORT_KINDS; kind++) {
            const struct link link = link_of(timing, p, kind);
            if (!link.busiest)
                continue;
            fabric_port_name(&schedule->fabric, kind, link.busiest->port, name);
            TABLE_ADD(table, cell_text(phase_names[p]), cell_text(port_kind_names[kind]),
                      cell_text(name), bytes_cell(link.bytes),
                      cell_real(utilisation(timing, link.busiest)),
                      wait_cell(timing, link.longest_wait_ps));
        }
    return table;
}

static void add_traffic(struct table *table, const struct schedule *schedule,
                        const struct transfer *transfer)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double *bytes = schedule_pair_bytes(schedule, transfer);
    for (uint32_t from = 0; from < ranks; from++)
        for (uint32_t to = 0; to < ranks; to++)
            TABLE_ADD(table, cell_text(phase_names[transfer->phase]), cell_count(from),
                      cell_count(to), bytes_cell(bytes[(size_t)from * ranks + to]));
    free(bytes);
}

static struct table *traffic_table(const struct schedule *schedule)
{
    struct table *table = table_new("traffic", "phase src dst bytes");
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (schedule->present[schedule->transfers[t].phase])
            add_traffic(table, schedule, &schedule->transfers[t]);
    return table;
}

static struct table *path_table(const struct timing *timing)
{
    struct table *table = table_new("path", "phase rank start_us end_us cause");
    for (size_t i = 0; i < timing->path_count; i++) {
        const struct critical_step *step = &timing->path[i];
        TABLE_ADD(table, cell_text(phase_names[step->phase]), cell_count(step->rank),
                  cell_real(US(step->start_ps)), cell_real(US(step->end_ps)),
                  cell_text(step->cause));
    }
    return table;
}

struct table *timing_table(const struct schedule *schedule, const struct timing *timing,
                           enum tsv_kind kind, const struct confidence *confidence)
{
    switch (kind) {
    case TSV_RANKS:
        return ranks_table(timing);
    case TSV_PORTS:
        return ports_table(schedule, timing);
    case TSV_LINKS:
        return links_table(schedule, timing);
    case TSV_TRAFFIC:
        return traffic_table(schedule);
    case TSV_PATH:
        return path_table(timing);
    default:
        return phases_table(timing, confidence);
    }
}

// ---- as users of DeepEP count -------------------------------------------------------------------

static double phase_us(const struct timing *timing, enum phase phase)
{
    return timing_span(timing, phase).latency_mean_ps / 1e6;
}

static void add_unit_json(json_t *rates, const struct deepep_unit *unit, enum phase phase,
                          double us)
{
    char text[DEEPEP_UNIT_BYTES];
    json_t *rate = json_object();
    json_object_set_new(rate, "phase", json_string(phase_names[phase]));
    json_object_set_new(rate, "inter_GBps", table_json_real(deepep_unit_inter_GBps(unit, us)));
    json_object_set_new(rate, "intra_GBps", table_json_real(deepep_unit_intra_GBps(unit, us)));
    json_object_set_new(rate, "text", json_string(deepep_unit_text(unit, us, text)));
    json_array_append_new(rates, rate);
}

static void unit_json(json_t *document, const struct schedule *schedule,
                      const struct timing *timing)
{
    json_t *rates = json_array();
    struct deepep_unit unit;
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        if (timing->phases[p].present && deepep_unit_of(&unit, schedule, p))
            add_unit_json(rates, &unit, p, phase_us(timing, p));
    if (json_array_size(rates))
        json_object_set(document, "as_deepep_counts", rates);
    json_decref(rates);
}

static void print_unit(FILE *out, const struct schedule *schedule, const struct timing *timing)
{
    const char *before = "\nas DeepEP counts: ";
    char text[DEEPEP_UNIT_BYTES];
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        struct deepep_unit unit;
        if (!timing->phases[p].present || !deepep_unit_of(&unit, schedule, p))
            continue;
        fprintf(out, "%s%s %s", before, phase_names[p],
                deepep_unit_text(&unit, phase_us(timing, p), text));
        before = "; ";
    }
}

void timing_json(json_t *document, const struct schedule *schedule, const struct timing *timing,
                 const struct confidence *confidence)
{
    json_t *copies = json_object();
    json_object_set_new(copies, "nodes_per_token", table_json_real(timing->nodes_per_token));
    json_object_set_new(copies, "ranks_per_token", table_json_real(timing->ranks_per_token));
    json_object_set_new(document, "engine", json_string(timing->engine));
    json_object_set_new(document, "phases", json_rows(phases_table(timing, confidence)));
    json_object_set_new(document, "layer_us", table_json_real(US(timing_layer_ps(timing))));
    confidence_json(confidence, timing, document);
    json_object_set_new(document, "links", json_rows(links_table(schedule, timing)));
    json_object_set_new(document, "copies", copies);
    unit_json(document, schedule, timing);
    json_object_set_new(document, "events", json_integer((json_int_t)timing->events));
    json_object_set_new(document, "path", json_rows(path_table(timing)));
}

// "layer_us 4067 (3840 to 4310)".
static void print_layer(FILE *out, const struct timing *timing, const struct confidence *confidence)
{
    char text[TABLE_NUMBER_BYTES];
    fprintf(out, "\nlayer_us %s", table_short(US(timing_layer_ps(timing)), text));
    if (confidence->pct > 0 && confidence->uncertainties.layer.known) {
        const struct interval interval = confidence_interval(confidence, timing, PHASE_COUNT);
        fprintf(out, " (%s to ", table_short(interval.low, text));
        fprintf(out, "%s)", table_short(interval.high, text));
    }
}

void timing_report(FILE *out, const struct schedule *schedule, const struct timing *timing,
                   const struct confidence *confidence, const struct table *head)
{
    char sentence[320];
    table_print(head, out);
    print_layer(out, timing, confidence);
    if (timing->nodes_per_token > 0)
        fprintf(out, "   nodes a token %.3f   ranks a token %.3f", timing->nodes_per_token,
                timing->ranks_per_token);
    if (timing->events)
        fprintf(out, "   events %llu", (unsigned long long)timing->events);
    print_unit(out, schedule, timing);
    fprintf(out, "\n\nwhat binds\n");
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        if (timing->phases[p].present && timing->phases[p].bound_ps > 0)
            fprintf(out, "  %s\n", timing_sentence(timing, p, sentence));
    print_part(out,
               "links (bytes of all ports; utilisation of the busiest over its phase; longest "
               "queueing of a chunk)",
               links_table(schedule, timing));
    print_part(out, "critical path", path_table(timing));
}

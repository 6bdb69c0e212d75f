#include "cli/print.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const tsv_kind_names[] = {"",        "phases", "ranks",     "ports", "links",
                                      "traffic", "path",   "imbalance", NULL};

#define US(ps) ((double)(ps) / 1e6)

// Queueing, of which the closed form knows nothing.
static void table_wait(struct table *table, const struct timing *timing, double wait_ps)
{
    table_real(table, timing->events ? US(wait_ps) : NAN);
}

static struct table *phases_table(const struct timing *timing, const struct confidence *confidence)
{
    static const char *const plain[] = {"phase",      "start_us",        "end_us",
                                        "latency_us", "latency_mean_us", "bytes",
                                        "bound_us",   "bottleneck",      NULL};
    static const char *const between[] = {
        "phase",           "start_us", "end_us",   "latency_us", "low_us", "high_us",
        "latency_mean_us", "bytes",    "bound_us", "bottleneck", NULL};
    const bool asked = confidence->pct > 0;
    struct table *table = table_new("phases", asked ? between : plain);
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *phase = &timing->phases[p];
        if (!phase->present)
            continue;
        const struct phase_span span = timing_span(timing, p);
        table_text(table, phase_names[p]);
        table_real(table, US(span.start_ps));
        table_real(table, US(span.end_ps));
        table_real(table, US(span.latency_ps));
        if (asked) {
            const struct interval interval = confidence_interval(confidence, timing, p);
            table_real(table, interval.low);
            table_real(table, interval.high);
        }
        table_real(table, US(span.latency_mean_ps));
        table_count(table, (uint64_t)llround(phase->bytes));
        table_real(table, US(phase->bound_ps));
        table_text(table, phase->bottleneck);
    }
    return table;
}

static struct table *ranks_table(const struct timing *timing)
{
    static const char *const columns[] = {"rank",   "phase",      "start_us",
                                          "end_us", "latency_us", NULL};
    struct table *table = table_new("ranks", columns);
    for (uint32_t r = 0; r < timing->ranks; r++)
        for (enum phase p = 0; p < PHASE_COUNT; p++) {
            const struct phase_timing *phase = &timing->phases[p];
            if (!phase->present)
                continue;
            table_count(table, r);
            table_text(table, phase_names[p]);
            table_real(table, US(phase->start_ps[r]));
            table_real(table, US(phase->end_ps[r]));
            table_real(table, US(phase->end_ps[r] - phase->start_ps[r]));
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
    static const char *const columns[] = {"phase",   "port",        "link",    "bytes",
                                          "busy_us", "utilisation", "wait_us", "longest_wait_us",
                                          NULL};
    struct table *table = table_new("ports", columns);
    char name[48];
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        table_text(table, phase_names[port->phase]);
        table_text(table, fabric_port_name(&schedule->fabric, port->kind, port->port, name));
        table_text(table, port_kind_names[port->kind]);
        table_count(table, (uint64_t)llround(port->bytes));
        table_real(table, US(port->busy_ps));
        table_real(table, utilisation(timing, port));
        table_wait(table, timing, port->wait_ps);
        table_wait(table, timing, port->longest_wait_ps);
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
    static const char *const columns[] = {
        "phase", "link", "busiest", "bytes", "utilisation", "longest_wait_us", NULL};
    struct table *table = table_new("links", columns);
    char name[48];
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        for (enum port_kind kind = 0; kind < PORT_KINDS; kind++) {
            const struct link link = link_of(timing, p, kind);
            if (!link.busiest)
                continue;
            table_text(table, phase_names[p]);
            table_text(table, port_kind_names[kind]);
            table_text(table, fabric_port_name(&schedule->fabric, kind, link.busiest->port, name));
            table_count(table, (uint64_t)llround(link.bytes));
            table_real(table, utilisation(timing, link.busiest));
            table_wait(table, timing, link.longest_wait_ps);
        }
    return table;
}

static void add_traffic(struct table *table, const struct schedule *schedule,
                        const struct transfer *transfer)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double *bytes = schedule_pair_bytes(schedule, transfer);
    for (uint32_t from = 0; from < ranks; from++)
        for (uint32_t to = 0; to < ranks; to++) {
            table_text(table, phase_names[transfer->phase]);
            table_count(table, from);
            table_count(table, to);
            table_count(table, (uint64_t)llround(bytes[(size_t)from * ranks + to]));
        }
    free(bytes);
}

static struct table *traffic_table(const struct schedule *schedule)
{
    static const char *const columns[] = {"phase", "src", "dst", "bytes", NULL};
    struct table *table = table_new("traffic", columns);
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (schedule->present[schedule->transfers[t].phase])
            add_traffic(table, schedule, &schedule->transfers[t]);
    return table;
}

static struct table *path_table(const struct timing *timing)
{
    static const char *const columns[] = {"phase", "rank", "start_us", "end_us", "cause", NULL};
    struct table *table = table_new("path", columns);
    for (size_t i = 0; i < timing->path_count; i++) {
        const struct critical_step *step = &timing->path[i];
        table_text(table, phase_names[step->phase]);
        table_count(table, step->rank);
        table_real(table, US(step->start_ps));
        table_real(table, US(step->end_ps));
        table_text(table, step->cause);
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

static void set_timing_rows(json_t *document, const char *key, struct table *table)
{
    json_object_set_new(document, key, table_json(table));
    table_free(table);
}

void timing_json(json_t *document, const struct schedule *schedule, const struct timing *timing,
                 const struct confidence *confidence)
{
    json_t *copies = json_object();
    json_object_set_new(copies, "nodes_per_token", table_json_real(timing->nodes_per_token));
    json_object_set_new(copies, "ranks_per_token", table_json_real(timing->ranks_per_token));
    json_object_set_new(document, "engine", json_string(timing->engine));
    set_timing_rows(document, "phases", phases_table(timing, confidence));
    json_object_set_new(document, "layer_us", table_json_real(US(timing_layer_ps(timing))));
    confidence_json(confidence, timing, document);
    set_timing_rows(document, "links", links_table(schedule, timing));
    json_object_set_new(document, "copies", copies);
    json_object_set_new(document, "events", json_integer((json_int_t)timing->events));
    set_timing_rows(document, "path", path_table(timing));
}

static void print_timing_part(FILE *out, const char *title, struct table *table)
{
    if (table_rows(table)) {
        fprintf(out, "\n%s\n", title);
        table_print(table, out);
    }
    table_free(table);
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
    fprintf(out, "\n\nwhat binds\n");
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        if (timing->phases[p].present && timing->phases[p].bound_ps > 0)
            fprintf(out, "  %s\n", timing_sentence(timing, p, sentence));
    print_timing_part(
        out,
        "links (bytes of all ports; utilisation of the busiest over its phase; longest "
        "queueing of a chunk)",
        links_table(schedule, timing));
    print_timing_part(out, "critical path", path_table(timing));
}

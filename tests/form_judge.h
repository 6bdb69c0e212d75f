// What must hold between the closed form, the simulator and the ports of one question, whatever was
// asked: for test_form and check_form.
#ifndef TESTS_FORM_JUDGE_H
#define TESTS_FORM_JUDGE_H

#include "model/engine/check.h"
#include "model/engine/form.h"
#include "study/engines.h"
#include "tests/questions.h"

// Mean latency by simulate over that by estimate, on the same counted loads.
#define FORM_LEAST 0.97
#define FORM_MOST 1.15

enum { FORM_DISPATCH, FORM_COMBINE, FORM_LAYER, FORM_SPANS };
static const char *const form_span_names[] = {"dispatch", "combine", "layer"};

struct form_verdict {
    bool asked; // else the question was refused
    double estimated_us[FORM_SPANS], simulated_us[FORM_SPANS];
    char broken[160]; // what does not hold; empty: all does
};

static inline bool form_is_near(const struct form_verdict *verdict, int span)
{
    const double ratio = verdict->simulated_us[span] / verdict->estimated_us[span];
    return ratio >= FORM_LEAST && ratio <= FORM_MOST;
}

// No rank that receives from another ends before that one has started.
static inline void judge_senders(const struct transfer *transfer, const struct phase_timing *phase,
                                 uint32_t ranks, struct form_verdict *verdict)
{
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const uint32_t from = transfer->gather ? rank : home;
            const uint32_t to = transfer->gather ? home : rank;
            if (transfer->pair[(size_t)home * ranks + rank] > 0 &&
                phase->end_ps[to] < phase->start_ps[from])
                snprintf(verdict->broken, sizeof verdict->broken,
                         "%s: gpu%u ends before gpu%u, which sends to it, starts",
                         phase_names[transfer->phase], to, from);
        }
}

// No port's bytes have passed before all of those who use it are done: those that send and receive
// by it, of a spine's or bridge's all ranks.
static inline void judge_port(const struct fabric *fabric, const struct phase_timing *phase,
                              const struct port_timing *port, struct form_verdict *verdict)
{
    uint64_t first = UINT64_MAX;
    const bool trunk = port->kind >= PORT_SPINE_UP; // holds up who waits for what crosses it
    uint64_t last = 0;
    for (uint32_t r = 0; r < fabric->ranks; r++)
        first = phase->start_ps[r] < first ? phase->start_ps[r] : first;
    for (uint32_t r = 0; r < fabric->ranks; r++)
        if (trunk || sharers_of(fabric, port->kind, r).port == port->port)
            last = phase->end_ps[r] > last ? phase->end_ps[r] : last;
    const double least = port->bytes / fabric_rate(fabric, port->kind, port->port) * 1e12;
    char name[48];
    if ((double)(last - first) + 1 < least * (1 - 1e-9))
        snprintf(verdict->broken, sizeof verdict->broken,
                 "%s: %.3f us at %s, those who use it are done in %.3f us",
                 phase_names[port->phase], least / 1e6,
                 fabric_port_name(fabric, port->kind, port->port, name),
                 (double)(last - first) / 1e6);
}

static inline void judge_timing(const struct schedule *schedule, const struct timing *timing,
                                struct form_verdict *verdict)
{
    struct error err;
    if (!timing_check(schedule, timing, &err))
        snprintf(verdict->broken, sizeof verdict->broken, "%.150s", err.text);
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        judge_senders(&schedule->transfers[t], &timing->phases[schedule->transfers[t].phase],
                      timing->ranks, verdict);
    for (size_t p = 0; p < timing->port_count; p++)
        if (timing->ports[p].kind < PORT_LINKS)
            judge_port(&schedule->fabric, &timing->phases[timing->ports[p].phase],
                       &timing->ports[p], verdict);
}

static inline void judge_means(const struct timing *timing, double us[FORM_SPANS])
{
    us[FORM_DISPATCH] = timing_span(timing, PHASE_DISPATCH).latency_mean_ps / 1e6;
    us[FORM_COMBINE] = timing_span(timing, PHASE_COMBINE).latency_mean_ps / 1e6;
    us[FORM_LAYER] = timing_layer_span(timing).latency_mean_ps / 1e6;
}

static inline struct form_verdict form_judge(const struct question *question)
{
    struct form_verdict verdict = {0};
    struct scenario scenario;
    struct timing estimated, simulated;
    struct error err;
    if (!question_open(question, &scenario, &err))
        return verdict;
    scenario.def.loads = LOADS_COUNTED;
    if (scenario_run(&scenario, &engine_estimate, &estimated, &err)) {
        verdict.asked = true;
        judge_timing(scenario.schedule, &estimated, &verdict);
        judge_means(&estimated, verdict.estimated_us);
        timing_release(&estimated);
        engine_simulate.run(scenario.schedule, &scenario.run, &simulated);
        judge_means(&simulated, verdict.simulated_us);
        timing_release(&simulated);
    }
    scenario_release(&scenario);
    return verdict;
}

#endif

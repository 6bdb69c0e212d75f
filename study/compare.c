#include "study/compare.h"

#include "model/estimate.h"
#include "sim/simulate.h"

#include <string.h>

static bool belongs(const struct measured_row *row, const struct question *question,
                    const struct setting *setting, uint32_t tokens, enum phase phase)
{
    const struct moe *moe = &setting->moe;
    const enum dtype dtype = phase == PHASE_DISPATCH ? moe->dispatch_dtype : moe->combine_dtype;
    return row->phase == phase && row->tokens_per_gpu == tokens && row->dtype == dtype &&
           !row->other_dtype[0] && row->nodes == setting->cluster.nodes &&
           row->gpus_per_node == setting->cluster.gpus_per_node && row->experts == moe->experts &&
           row->topk == moe->topk && row->hidden == moe->hidden &&
           (row->sms ? row->sms == setting->dispatcher.sms : question->sms == 0) &&
           !row->stage[0] && (!row->stat[0] || !strcmp(row->stat, "mean")) &&
           !strcmp(row->cluster, setting->cluster.name) &&
           !strcmp(row->dispatcher, setting->dispatcher.name);
}

// The latest row wins: a library's newer measurement follows its older one in a file.
static const struct measured_row *find_row(const struct measured *measured,
                                           const struct question *question,
                                           const struct setting *setting, uint32_t tokens,
                                           enum phase phase)
{
    for (size_t i = measured ? measured->count : 0; i > 0; i--)
        if (belongs(&measured->rows[i - 1], question, setting, tokens, phase))
            return &measured->rows[i - 1];
    return NULL;
}

bool compare_tokens(const struct question *question, uint32_t tokens,
                    const struct measured *measured, struct compared rows[2], struct error *err)
{
    static const enum phase phases[2] = {PHASE_DISPATCH, PHASE_COMBINE};
    struct question sized = *question;
    struct answerable answerable;
    struct timing simulated, estimated;
    sized.tokens = tokens;
    sized.aligned = true;
    if (!ask(&answerable, &sized, LOADS_COUNTED, err))
        return false;
    const struct setting *setting = &answerable.setting;
    simulate(&setting->schedule, &setting->run, &simulated);
    estimate(&setting->schedule, &setting->run, &estimated);
    for (int i = 0; i < 2; i++) {
        rows[i] = (struct compared){
            .tokens = tokens,
            .phase = phases[i],
            .simulate_us = timing_span(&simulated, phases[i]).latency_mean_ps / 1e6,
            .estimate_us = timing_span(&estimated, phases[i]).latency_mean_ps / 1e6,
            .measured = find_row(measured, question, setting, tokens, phases[i])};
        strcpy(rows[i].dispatcher, setting->dispatcher.name);
    }
    timing_release(&simulated);
    timing_release(&estimated);
    ask_release(&answerable);
    return true;
}

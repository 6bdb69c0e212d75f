#include "real/backend.h"
#include "real/measure.h"

#include "base/mem.h"
#include "base/table.h"

#include <csv.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct statistic statistic_take(double *values_us, size_t count)
{
    gsl_sort(values_us, 1, count);
    return (struct statistic){.median_us = gsl_stats_median_from_sorted_data(values_us, 1, count),
                              .min_us = values_us[0],
                              .p99_us =
                                  gsl_stats_quantile_from_sorted_data(values_us, 1, count, 0.99)};
}

// Of a phase (stage STAGES: the whole) over iterations: of the slowest rank, or of the mean over
// ranks.
static struct statistic phase_statistic(const struct samples *samples, enum phase phase,
                                        uint32_t stage, bool slowest)
{
    double *values = mem_alloc(samples->iterations, sizeof *values);
    for (uint32_t i = 0; i < samples->iterations; i++) {
        double sum = 0, max = 0;
        for (uint32_t r = 0; r < samples->ranks; r++) {
            const struct layer_times *times = &samples->times[(size_t)i * samples->ranks + r];
            const double us = stage == STAGES ? times->phase_us[phase]
                                              : times->stage_us[phase == PHASE_COMBINE][stage];
            sum += us;
            max = fmax(max, us);
        }
        values[i] = slowest ? max : sum / samples->ranks;
    }
    const struct statistic statistic = statistic_take(values, samples->iterations);
    free(values);
    return statistic;
}

// --- measured CSV ---------------------------------------------------------------------------

// Host, process and time tell runs apart.
void row_ids_open(struct row_ids *ids)
{
    char host[64] = "";
    struct timespec now;
    uint64_t key = 0;
    gethostname(host, sizeof host - 1);
    timespec_get(&now, TIME_UTC);
    for (const char *c = host; *c; c++)
        key = value_mix(key ^ (uint64_t)(unsigned char)*c);
    key = value_mix(key ^ (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec);
    key = value_mix(key ^ (uint64_t)getpid());
    snprintf(ids->run, sizeof ids->run, "%08x", (unsigned)key);
    ids->next = 1;
}

void measure_write_csv_head(FILE *out)
{
    fprintf(out, "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                 "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source,stage,stat,"
                 "routing,layout,step,layer,min_us,p99_us,model,weight_dtype,overlap,without,"
                 "disturbed\n");
}

// The group limit of the choices: the router's own groups, or deepep's nodes.
static uint32_t group_limit(const struct measured_case *result)
{
    const struct routing *routing = &result->scenario->routing;
    const struct moe *moe = &result->scenario->moe;
    if (result->router)
        return moe->topk_groups < moe->groups ? moe->topk_groups : 0;
    return routing->topk_groups < routing->groups ? routing->topk_groups : 0;
}

static const char *routing_name(const struct measured_case *result)
{
    return result->router ? "router" : routing_rule_names[result->scenario->routing.rule];
}

char *measured_without(const struct measured_case *result, char buffer[MEASURED_WITHOUT_BYTES])
{
    buffer[0] = '\0';
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        if (result->without & 1u << phase)
            snprintf(buffer + strlen(buffer), MEASURED_WITHOUT_BYTES - strlen(buffer), "%s%s",
                     buffer[0] ? "+" : "", phase_names[phase]);
    return buffer;
}

// Rows of a case that differ in phase, stage and statistic.
struct row_kind {
    enum phase phase;
    uint32_t stage; // STAGES: whole phase
    bool slowest;
    const struct measured_graph *graph; // phase layer; NULL: a step's
};

static void write_text(FILE *out, const char *text)
{
    if (strpbrk(text, ",\"\n"))
        csv_fwrite(out, text, strlen(text));
    else
        fputs(text, out);
}

static struct statistic row_statistic(const struct measured_case *result,
                                      const struct row_kind *kind)
{
    return phase_statistic(kind->graph ? &kind->graph->samples : &result->samples, kind->phase,
                           kind->stage, kind->slowest);
}

static void write_measured_row(FILE *out, const struct real_options *options,
                               const struct measured_case *result, const struct row_kind *kind,
                               struct row_ids *ids)
{
    const struct scenario *scenario = result->scenario;
    const struct moe *moe = &scenario->moe;
    const struct statistic statistic = row_statistic(result, kind);
    char without[MEASURED_WITHOUT_BYTES];
    const uint32_t limit = group_limit(result);
    const char *asked = options->def.cluster, *cluster = asked[0] ? asked : scenario->cluster.name;
    fprintf(out, "%s-%s-%04u,%s,", options->family, ids->run, ids->next++, options->family);
    write_text(out, cluster);
    fprintf(out, ",%s,%u,%u,%u,%u,", scenario->dispatcher.name, scenario->cluster.nodes,
            scenario->cluster.gpus_per_node, moe->experts, moe->topk);
    if (limit)
        fprintf(out, "%u", limit);
    fprintf(out, ",%u,%u,%s,%s,%u,%.6g,0,epsim-real,%s,%s,%s,%s,%llu,%u,%.6g,%.6g,",
            routing_max_tokens(&scenario->routing), moe->hidden,
            dtype_names[kind->phase == PHASE_COMBINE ? moe->combine_dtype : moe->dispatch_dtype],
            phase_names[kind->phase], scenario->dispatcher.sms, statistic.median_us,
            kind->stage == STAGES ? "" : stage_names[kind->stage],
            kind->slowest ? "slowest" : "mean", routing_name(result), options->def.layout,
            (unsigned long long)options->def.step, options->def.layer, statistic.min_us,
            statistic.p99_us);
    write_text(out, moe->name);
    fprintf(out, ",%s,%s,%s,",
            result->activation == ROW_BF16 ? dtype_names[DTYPE_BF16] : dtype_names[DTYPE_FP32],
            kind->graph ? overlap_names[kind->graph->overlap] : "",
            kind->graph ? measured_without(result, without) : "");
    write_text(out, options->disturb);
    fputc('\n', out);
}

// Whether ranks of one node, or of several, meet at all.
static bool has_stage(const struct measured_case *result, enum phase phase, uint32_t stage)
{
    const struct cluster *cluster = &result->scenario->cluster;
    return stage == STAGES ||
           (result->backend->has_stages && phase_moves(phase) &&
            (stage == STAGE_INTER ? cluster->nodes : cluster->gpus_per_node) > 1);
}

static bool ran(const struct measured_case *result, enum phase phase)
{
    const struct scenario *scenario = result->scenario;
    if (result->graph_count)
        return false;
    if (phase == PHASE_NOTIFY) // choices also travel to where the job checks itself
        return scenario->dispatcher.counts == COUNTS_EXCHANGE;
    return phase < PHASE_ALLTOALL &&
           (phase != PHASE_SHARED || scenario->moe.shared_intermediate > 0);
}

void measure_write_csv(FILE *out, const struct real_options *options,
                       const struct measured_case *result, struct row_ids *ids)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        for (uint32_t stage = 0; ran(result, phase) && stage <= STAGES; stage++)
            for (int slowest = 0; has_stage(result, phase, stage) && slowest < 2; slowest++)
                write_measured_row(out, options, result,
                                   &(struct row_kind){phase, stage, slowest != 0, NULL}, ids);
    for (uint32_t g = 0; g < result->graph_count; g++)
        for (int slowest = 0; slowest < 2; slowest++)
            write_measured_row(
                out, options, result,
                &(struct row_kind){PHASE_LAYER, STAGES, slowest != 0, &result->graphs[g]}, ids);
}

// --- JSON -----------------------------------------------------------------------------------

static json_t *times_json(const struct samples *samples, enum phase phase)
{
    const struct statistic mean = phase_statistic(samples, phase, STAGES, false);
    const struct statistic slowest = phase_statistic(samples, phase, STAGES, true);
    return json_pack("{s:s s:o s:o s:o s:o}", "phase", phase_names[phase], "latency_mean_us",
                     table_json_real(mean.median_us), "latency_us",
                     table_json_real(slowest.median_us), "min_us", table_json_real(slowest.min_us),
                     "p99_us", table_json_real(slowest.p99_us));
}

static json_t *phase_json(const struct measured_case *result, enum phase phase)
{
    static const char *const keys[STAGES] = {"inter_us", "intra_us"};
    const struct samples *samples = &result->samples;
    json_t *json = times_json(samples, phase);
    for (uint32_t stage = 0; stage < STAGES; stage++)
        if (has_stage(result, phase, stage))
            json_object_set_new(
                json, keys[stage],
                table_json_real(phase_statistic(samples, phase, stage, true).median_us));
    return json;
}

static json_t *raw_json(const struct samples *samples, enum phase phase)
{
    json_t *iterations = json_array();
    for (uint32_t i = 0; i < samples->iterations; i++) {
        json_t *ranks = json_array();
        for (uint32_t r = 0; r < samples->ranks; r++)
            json_array_append_new(
                ranks,
                table_json_real(samples->times[(size_t)i * samples->ranks + r].phase_us[phase]));
        json_array_append_new(iterations, ranks);
    }
    return iterations;
}

// null: the library that moved them does not count.
static json_t *sent_json(const struct measured_case *result, enum stage stage)
{
    return result->backend->counts_bytes ? json_integer((json_int_t)result->sent_bytes[stage])
                                         : json_null();
}

static json_t *graph_json(const struct measured_case *result, const struct measured_graph *graph)
{
    char without[MEASURED_WITHOUT_BYTES];
    json_t *json = times_json(&graph->samples, PHASE_LAYER);
    json_object_set_new(json, "overlap", json_string(overlap_names[graph->overlap]));
    json_object_set_new(json, "without", json_string(measured_without(result, without)));
    return json;
}

static json_t *phases_json(const struct real_options *options, const struct measured_case *result)
{
    json_t *phases = json_array();
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (!ran(result, phase))
            continue;
        json_t *entry = phase_json(result, phase);
        if (options->raw)
            json_object_set_new(entry, "samples_us", raw_json(&result->samples, phase));
        json_array_append_new(phases, entry);
    }
    for (uint32_t g = 0; g < result->graph_count; g++) {
        json_t *entry = graph_json(result, &result->graphs[g]);
        if (options->raw)
            json_object_set_new(entry, "samples_us",
                                raw_json(&result->graphs[g].samples, PHASE_LAYER));
        json_array_append_new(phases, entry);
    }
    return phases;
}

json_t *measure_json(const struct real_options *options, const struct measured_case *result)
{
    const struct verified *verified = &result->verified;
    // clang-format off
    return json_pack("{s:I s:s s:s s:I s:I s:s s:o s:o s:o s:{s:I s:I s:o s:o s:o s:o s:o s:I s:I}}",
        "tokens_per_gpu", (json_int_t)routing_max_tokens(&result->scenario->routing),
        "dispatcher", result->scenario->dispatcher.name,
        "routing", routing_name(result),
        "layer", (json_int_t)options->def.layer,
        "step", (json_int_t)options->def.step,
        "disturbed", options->disturb,
        "phases", phases_json(options, result),
        "inter_bytes", sent_json(result, STAGE_INTER),
        "intra_bytes", sent_json(result, STAGE_INTRA),
        "verified",
            "rows", (json_int_t)verified->rows,
            "tokens", (json_int_t)verified->tokens,
            "relative_error", table_json_real(verified->relative_error),
            "full_error", table_json_real(verified->full_error),
            "tolerance", table_json_real(verified->tolerance),
            "worst_error", table_json_real(verified->worst_error),
            "worst_tolerance", table_json_real(verified->worst_tolerance),
            "worst_rank", (json_int_t)verified->worst_rank,
            "worst_token", (json_int_t)verified->worst_token);
    // clang-format on
}

// --- timeline -------------------------------------------------------------------------------

void measure_write_timeline(FILE *out, const struct measured_case *result)
{
    const struct samples *samples = &result->samples;
    const struct layer_times *last =
        samples->times + (size_t)(samples->iterations - 1) * samples->ranks;
    const uint32_t gpus = result->scenario->cluster.gpus_per_node;
    double start_us = 0;
    fprintf(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    for (uint32_t r = 0; r < samples->ranks; r++)
        fprintf(
            out,
            "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"args\":{\"name\":\"node%u\"}},\n"
            "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":"
            "\"gpu%u\"}},\n",
            r / gpus, r / gpus, r / gpus, r % gpus, r);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        double slowest = 0;
        for (uint32_t r = 0; ran(result, phase) && r < samples->ranks; r++) {
            const double us = last[r].phase_us[phase];
            fprintf(
                out,
                "{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%.6f,\"dur\":%.6f},\n",
                phase_names[phase], r / gpus, r % gpus, start_us, us);
            slowest = fmax(slowest, us);
        }
        start_us += slowest;
    }
    fprintf(out, "{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":0,\"args\":{\"labels\":\"epsim "
                 "real\"}}\n]}\n");
}

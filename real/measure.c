#include "real/measure.h"

#include "base/mem.h"
#include "real/memory.h"
#include "real/reference.h"
#include "real/trace_out.h"

#include <csv.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

// --- checks ---------------------------------------------------------------------------------

// Largest error that a format's rounding explains.
static double default_tolerance(const struct device_table *table, const struct moe *moe)
{
    if (moe->dispatch_dtype == DTYPE_FP8)
        return 1e-2;
    if (table->activation == ROW_BF16 || moe->dispatch_dtype == DTYPE_BF16 ||
        moe->combine_dtype == DTYPE_BF16)
        return 5e-3;
    return 1e-5;
}

// The tokens of this rank that are checked: an even share of what was asked, evenly spread.
static uint32_t pick_tokens(const struct world *world, uint32_t asked, uint32_t own,
                            uint32_t **tokens)
{
    const uint32_t share = (asked + world->ranks - 1) / world->ranks;
    const uint32_t count = share < own ? share : own;
    *tokens = mem_alloc((size_t)count + 1, sizeof **tokens);
    for (uint32_t i = 0; i < count; i++)
        (*tokens)[i] = (uint32_t)((uint64_t)i * own / count);
    return count;
}

// The sampled tokens of all ranks on every rank, twice: with A as it came off the wire, and as it
// was before. Each rank then makes the weights of its share of the experts alone.
struct sample {
    uint32_t total, first; // of all ranks; where this rank's begin
    float *hidden, *wire;  // [2 * total * hidden]
    uint16_t *ids;         // [2 * total * topk]
    float *weights;
    double *expected; // [2 * total * hidden]
};

// Joins every rank's part of an array, items of `width` values of `type`, into all of it.
static void join(const struct world *world, const int *counts, const void *part, void *all,
                 uint32_t width, MPI_Datatype type)
{
    int *sizes = mem_alloc(world->ranks, sizeof *sizes);
    int *places = mem_alloc(world->ranks, sizeof *places);
    for (uint32_t r = 0; r < world->ranks; r++) {
        sizes[r] = counts[r] * (int)width;
        places[r] = r ? places[r - 1] + sizes[r - 1] : 0;
    }
    MPI_Allgatherv(part, sizes[world->rank], type, all, sizes, places, type, MPI_COMM_WORLD);
    free(sizes);
    free(places);
}

static void sample_join(const struct world *world, const struct moe *moe,
                        const struct layer_tokens *own, struct sample *sample)
{
    int *counts = mem_alloc(world->ranks, sizeof *counts);
    const int mine = (int)own->count;
    MPI_Allgather(&mine, 1, MPI_INT, counts, 1, MPI_INT, MPI_COMM_WORLD);
    *sample = (struct sample){0};
    for (uint32_t r = 0; r < world->ranks; r++) {
        sample->first += r < world->rank ? (uint32_t)counts[r] : 0;
        sample->total += (uint32_t)counts[r];
    }
    const size_t values = (size_t)sample->total * moe->hidden;
    const size_t choices = (size_t)sample->total * moe->topk;
    sample->hidden = mem_alloc(2 * values + 1, sizeof *sample->hidden);
    sample->wire = mem_alloc(2 * values + 1, sizeof *sample->wire);
    sample->ids = mem_alloc(2 * choices + 1, sizeof *sample->ids);
    sample->weights = mem_alloc(2 * choices + 1, sizeof *sample->weights);
    sample->expected = mem_alloc(2 * values + 1, sizeof *sample->expected);
    join(world, counts, own->a, sample->hidden, moe->hidden, MPI_FLOAT);
    join(world, counts, own->ids, sample->ids, moe->topk, MPI_UINT16_T);
    join(world, counts, own->weights, sample->weights, moe->topk, MPI_FLOAT);
    memcpy(sample->hidden + values, sample->hidden, values * sizeof(float));
    memcpy(sample->wire, sample->hidden, 2 * values * sizeof(float));
    memcpy(sample->ids + choices, sample->ids, choices * sizeof(uint16_t));
    memcpy(sample->weights + choices, sample->weights, choices * sizeof(float));
    for (uint32_t t = 0; t < sample->total; t++)
        reference_round(sample->wire + (size_t)t * moe->hidden, moe->hidden,
                        memory_format(moe->dispatch_dtype));
    free(counts);
}

static void sample_release(struct sample *sample)
{
    free(sample->hidden);
    free(sample->wire);
    free(sample->ids);
    free(sample->weights);
    free(sample->expected);
}

static void compare_tokens(const struct world *world, struct layer *layer,
                           const struct layer_tokens *own, struct reference_error sums[2])
{
    const struct setting *setting = layer->setup.setting;
    const size_t hidden = setting->moe.hidden;
    const struct reference reference = {.moe = &setting->moe,
                                        .seed = setting->run.seed,
                                        .layer = setting->routing.layer,
                                        .activation = layer->setup.table->activation};
    struct sample sample;
    sample_join(world, &setting->moe, own, &sample);
    const struct reference_tokens tokens = {.count = 2 * sample.total,
                                            .hidden = sample.hidden,
                                            .wire = sample.wire,
                                            .ids = sample.ids,
                                            .weights = sample.weights};
    reference_part(&reference, &tokens, world->rank, world->ranks, sample.expected);
    MPI_Allreduce(MPI_IN_PLACE, sample.expected, (int)(2 * sample.total * hidden), MPI_DOUBLE,
                  MPI_SUM, MPI_COMM_WORLD);
    for (uint32_t i = 0; i < 2; i++)
        reference_compare(&sums[i],
                          sample.expected + (i * (size_t)sample.total + sample.first) * hidden,
                          own->c, own->count * hidden);
    sample_release(&sample);
}

static bool own_errors(const struct world *world, struct layer *layer, uint32_t asked,
                       struct reference_error sums[2], uint32_t *count, struct error *err)
{
    const struct setting *setting = layer->setup.setting;
    uint32_t *picked;
    *count = pick_tokens(world, asked, setting->routing.tokens[world->rank], &picked);
    const size_t values = (size_t)*count * setting->moe.hidden + 1;
    const size_t choices = (size_t)*count * setting->moe.topk + 1;
    const struct layer_tokens got = {.token = picked,
                                     .count = *count,
                                     .a = mem_alloc(values, sizeof(float)),
                                     .c = mem_alloc(values, sizeof(float)),
                                     .ids = mem_alloc(choices, sizeof(uint16_t)),
                                     .weights = mem_alloc(choices, sizeof(float))};
    const bool ok = world_agrees(world, layer_read(layer, &got, err), err);
    if (ok)
        compare_tokens(world, layer, &got, sums);
    free(picked);
    free(got.a);
    free(got.c);
    free(got.ids);
    free(got.weights);
    return ok;
}

static bool verify(const struct world *world, const struct real_invocation *invocation,
                   struct layer *layer, struct verified *verified, struct error *err)
{
    struct reference_error sums[2] = {{0}};
    uint32_t count = 0;
    double own[4], all[4];
    if (!own_errors(world, layer, invocation->verify, sums, &count, err))
        return false;
    for (int i = 0; i < 2; i++) {
        own[2 * i] = sums[i].error2;
        own[2 * i + 1] = sums[i].expected2;
    }
    MPI_Allreduce(own, all, 4, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(&count, &verified->tokens, 1, MPI_UINT32_T, MPI_SUM, MPI_COMM_WORLD);
    verified->relative_error =
        reference_relative(&(struct reference_error){.error2 = all[0], .expected2 = all[1]});
    verified->full_error =
        reference_relative(&(struct reference_error){.error2 = all[2], .expected2 = all[3]});
    verified->tolerance = invocation->tolerance > 0
                              ? invocation->tolerance
                              : default_tolerance(layer->setup.table, &layer->setup.setting->moe);
    if (verified->relative_error <= verified->tolerance)
        return true;
    if (world->rank == 0)
        return error_set(
            err, EXIT_TOLERANCE,
            "the output is off by %.3g (RMS over RMS, %u tokens): expected at most %.3g",
            verified->relative_error, verified->tokens, verified->tolerance);
    err->code = EXIT_TOLERANCE; // rank 0 says it for all
    return false;
}

// What the schedule says that this rank sends an iteration, by stage.
static void scheduled_bytes(const struct layer *layer, uint64_t bytes[STAGES])
{
    const struct fabric *fabric = &layer->schedule.fabric;
    const uint32_t rank = layer->setup.rank;
    for (uint32_t t = 0; t < layer->schedule.transfer_count; t++) {
        double *pairs = schedule_pair_bytes(&layer->schedule, &layer->schedule.transfers[t]);
        for (uint32_t to = 0; to < fabric->ranks; to++) {
            const bool inside = fabric_node(fabric, to) == fabric_node(fabric, rank);
            bytes[inside ? STAGE_INTRA : STAGE_INTER] +=
                (uint64_t)pairs[(size_t)rank * fabric->ranks + to];
        }
        free(pairs);
    }
}

static bool check_bytes(const struct world *world, const struct layer *layer,
                        const uint64_t before[STAGES], uint64_t sent[STAGES], struct error *err)
{
    uint64_t planned[STAGES] = {0}, own[STAGES];
    bool ok = true;
    scheduled_bytes(layer, planned);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        own[stage] = world->wires->bytes_sent(world->transport,
                                              stage == STAGE_INTER ? STREAM_INTER : STREAM_INTRA) -
                     before[stage];
        if (ok && own[stage] != planned[stage])
            ok = error_set(err, EXIT_RUNTIME, "rank %u sent %llu bytes %s, the schedule says %llu",
                           world->rank, (unsigned long long)own[stage],
                           stage == STAGE_INTER ? "between nodes" : "inside its node",
                           (unsigned long long)planned[stage]);
    }
    MPI_Allreduce(own, sent, STAGES, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    return world_agrees(world, ok, err);
}

// --- iterations -----------------------------------------------------------------------------

static bool run_counted(const struct world *world, struct layer *layer,
                        struct measured_case *result, struct error *err)
{
    struct samples *samples = &result->samples;
    struct layer_times own;
    uint64_t before[STAGES];
    if (world->rank == 0)
        samples->times = mem_alloc((size_t)samples->iterations * world->ranks, sizeof own);
    for (uint32_t i = 0; i < samples->iterations; i++) {
        before[STAGE_INTER] = world->wires->bytes_sent(world->transport, STREAM_INTER);
        before[STAGE_INTRA] = world->wires->bytes_sent(world->transport, STREAM_INTRA);
        if (!layer_run(layer, &own, err))
            return false;
        MPI_Gather(&own, (int)sizeof own, MPI_BYTE,
                   world->rank ? NULL : samples->times + (size_t)i * world->ranks, (int)sizeof own,
                   MPI_BYTE, 0, MPI_COMM_WORLD);
        if (i == 0 && !check_bytes(world, layer, before, result->sent_bytes, err))
            return false;
    }
    return true;
}

static bool run_layer(const struct world *world, const struct real_invocation *invocation,
                      struct layer *layer, struct measured_case *result, struct error *err)
{
    struct layer_times times;
    for (uint32_t i = 0; i < invocation->warmup; i++)
        if (!layer_run(layer, &times, err))
            return false;
    return run_counted(world, layer, result, err) &&
           (invocation->verify == 0 || verify(world, invocation, layer, &result->verified, err));
}

static void recorded_weights(const void *context, uint32_t rank, uint32_t token, float *weights)
{
    trace_view_weights(context, rank, token, weights);
}

bool measure_case(const struct world *world, const struct real_invocation *invocation,
                  const struct answerable *answerable, struct measured_case *result,
                  struct error *err)
{
    struct layer layer;
    struct layer_setup setup = {.setting = &answerable->setting,
                                .rank = world->rank,
                                .router = !real_given(invocation, "routing") &&
                                          !invocation->question.trace[0],
                                .table = world->table,
                                .device = world->device,
                                .wires = world->wires,
                                .transport = world->transport};
    if (answerable->view && answerable->trace.weights.data) {
        setup.weights = recorded_weights;
        setup.weights_context = answerable->view;
    }
    *result = (struct measured_case){
        .setting = &answerable->setting,
        .router = setup.router,
        .samples = {.iterations = invocation->iterations, .ranks = world->ranks}};
    bool ok = world_agrees(world, layer_open(&layer, &setup, err), err);
    ok = ok && run_layer(world, invocation, &layer, result, err) &&
         (!invocation->write_trace[0] || trace_out(world, &layer, invocation->write_trace, err));
    layer_close(&layer);
    return ok;
}

void measured_case_release(struct measured_case *result)
{
    free(result->samples.times);
    result->samples.times = NULL;
}

// --- statistics -----------------------------------------------------------------------------

static double time_of(const struct layer_times *times, enum phase phase, uint32_t stage)
{
    return stage == STAGES ? times->phase_us[phase]
                           : times->stage_us[phase == PHASE_COMBINE][stage];
}

struct statistic measure_statistic(const struct samples *samples, enum phase phase, uint32_t stage,
                                   bool slowest)
{
    double *values = mem_alloc(samples->iterations, sizeof *values);
    for (uint32_t i = 0; i < samples->iterations; i++) {
        double sum = 0, most = 0;
        for (uint32_t r = 0; r < samples->ranks; r++) {
            const double us =
                time_of(&samples->times[(size_t)i * samples->ranks + r], phase, stage);
            sum += us;
            most = fmax(most, us);
        }
        values[i] = slowest ? most : sum / samples->ranks;
    }
    gsl_sort(values, 1, samples->iterations);
    const struct statistic statistic = {
        .median_us = gsl_stats_median_from_sorted_data(values, 1, samples->iterations),
        .min_us = values[0],
        .p99_us = gsl_stats_quantile_from_sorted_data(values, 1, samples->iterations, 0.99)};
    free(values);
    return statistic;
}

// --- output ---------------------------------------------------------------------------------

void measure_write_csv_head(FILE *out)
{
    fprintf(out, "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                 "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source,stage,stat,"
                 "routing,layout,step,layer,min_us,p99_us\n");
}

static void write_cell(FILE *out, const char *text)
{
    if (strpbrk(text, ",\"\n"))
        csv_fwrite(out, text, strlen(text));
    else
        fputs(text, out);
}

// The group limit of the choices: the router's own groups, or deepep's nodes.
static uint32_t group_limit(const struct measured_case *result)
{
    const struct routing *routing = &result->setting->routing;
    const struct moe *moe = &result->setting->moe;
    if (result->router)
        return moe->topk_groups < moe->groups ? moe->topk_groups : 0;
    return routing->topk_groups < routing->groups ? routing->topk_groups : 0;
}

static const char *routing_name(const struct measured_case *result)
{
    return result->router ? "router" : routing_rule_names[result->setting->routing.rule];
}

// Rows of a case that differ in phase, stage and statistic.
struct row_kind {
    enum phase phase;
    uint32_t stage; // STAGES: whole phase
    bool slowest;
};

static void write_row(FILE *out, const struct real_invocation *invocation,
                      const struct measured_case *result, const struct row_kind *kind, uint32_t row)
{
    const struct setting *setting = result->setting;
    const struct moe *moe = &setting->moe;
    const struct statistic statistic =
        measure_statistic(&result->samples, kind->phase, kind->stage, kind->slowest);
    const uint32_t limit = group_limit(result);
    fprintf(out, "%s-%04u,%s,", invocation->family, row, invocation->family);
    write_cell(out, invocation->question.cluster[0] ? invocation->question.cluster
                                                    : setting->cluster.name);
    fprintf(out, ",%s,%u,%u,%u,%u,", setting->dispatcher.name, setting->cluster.nodes,
            setting->cluster.gpus_per_node, moe->experts, moe->topk);
    if (limit)
        fprintf(out, "%u", limit);
    fprintf(out, ",%u,%u,%s,%s,%u,%.6g,0,epsim-real,%s,%s,%s,%s,%llu,%u,%.6g,%.6g\n",
            routing_most_tokens(&setting->routing), moe->hidden,
            dtype_names[kind->phase == PHASE_COMBINE ? moe->combine_dtype : moe->dispatch_dtype],
            phase_names[kind->phase], setting->dispatcher.sms, statistic.median_us,
            kind->stage == STAGES ? "" : stage_names[kind->stage],
            kind->slowest ? "slowest" : "mean", routing_name(result), invocation->question.layout,
            (unsigned long long)invocation->question.step, invocation->question.layer,
            statistic.min_us, statistic.p99_us);
}

// Whether ranks of one node, or of several, meet at all.
static bool has_stage(const struct measured_case *result, enum phase phase, uint32_t stage)
{
    const struct cluster *cluster = &result->setting->cluster;
    return stage == STAGES ||
           (phase_moves(phase) &&
            (stage == STAGE_INTER ? cluster->nodes : cluster->gpus_per_node) > 1);
}

static bool ran(const struct measured_case *result, enum phase phase)
{
    return phase < PHASE_ALLTOALL &&
           (phase != PHASE_SHARED || result->setting->moe.shared_intermediate > 0);
}

void measure_write_csv(FILE *out, const struct real_invocation *invocation,
                       const struct measured_case *result, uint32_t *row)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        for (uint32_t stage = 0; ran(result, phase) && stage <= STAGES; stage++)
            for (int slowest = 0; has_stage(result, phase, stage) && slowest < 2; slowest++)
                write_row(out, invocation, result, &(struct row_kind){phase, stage, slowest != 0},
                          (*row)++);
}

static json_t *phase_json(const struct measured_case *result, enum phase phase)
{
    static const char *const names[] = {"latency_mean_us", "latency_us"};
    json_t *json = json_object();
    json_object_set_new(json, "phase", json_string(phase_names[phase]));
    for (int slowest = 0; slowest < 2; slowest++) {
        const struct statistic statistic =
            measure_statistic(&result->samples, phase, STAGES, slowest != 0);
        json_object_set_new(json, names[slowest], table_json_real(statistic.median_us));
        if (!slowest)
            continue;
        json_object_set_new(json, "min_us", table_json_real(statistic.min_us));
        json_object_set_new(json, "p99_us", table_json_real(statistic.p99_us));
    }
    for (uint32_t stage = 0; stage < STAGES; stage++)
        if (has_stage(result, phase, stage))
            json_object_set_new(
                json, stage == STAGE_INTER ? "inter_us" : "intra_us",
                table_json_real(measure_statistic(&result->samples, phase, stage, true).median_us));
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

json_t *measure_json(const struct real_invocation *invocation, const struct measured_case *result)
{
    json_t *json = json_object(), *phases = json_array(), *check = json_object();
    json_object_set_new(json, "tokens_per_gpu",
                        json_integer(routing_most_tokens(&result->setting->routing)));
    json_object_set_new(json, "dispatcher", json_string(result->setting->dispatcher.name));
    json_object_set_new(json, "routing", json_string(routing_name(result)));
    json_object_set_new(json, "layer", json_integer(invocation->question.layer));
    json_object_set_new(json, "step", json_integer((json_int_t)invocation->question.step));
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (!ran(result, phase))
            continue;
        json_t *entry = phase_json(result, phase);
        if (invocation->raw)
            json_object_set_new(entry, "samples_us", raw_json(&result->samples, phase));
        json_array_append_new(phases, entry);
    }
    json_object_set_new(json, "phases", phases);
    json_object_set_new(json, "inter_bytes",
                        json_integer((json_int_t)result->sent_bytes[STAGE_INTER]));
    json_object_set_new(json, "intra_bytes",
                        json_integer((json_int_t)result->sent_bytes[STAGE_INTRA]));
    json_object_set_new(check, "tokens", json_integer(result->verified.tokens));
    json_object_set_new(check, "relative_error", table_json_real(result->verified.relative_error));
    json_object_set_new(check, "full_error", table_json_real(result->verified.full_error));
    json_object_set_new(check, "tolerance", table_json_real(result->verified.tolerance));
    json_object_set_new(json, "verified", check);
    return json;
}

static void write_span(FILE *out, const struct measured_case *result, enum phase phase,
                       uint32_t rank, double start_us)
{
    const struct samples *samples = &result->samples;
    const size_t last = (size_t)(samples->iterations - 1) * samples->ranks;
    const uint32_t gpus = result->setting->cluster.gpus_per_node;
    fprintf(out, "{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%.6f,\"dur\":%.6f},\n",
            phase_names[phase], rank / gpus, rank % gpus, start_us,
            samples->times[last + rank].phase_us[phase]);
}

void measure_write_timeline(FILE *out, const struct measured_case *result)
{
    const struct samples *samples = &result->samples;
    const uint32_t gpus = result->setting->cluster.gpus_per_node;
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
        const size_t last = (size_t)(samples->iterations - 1) * samples->ranks;
        double slowest = 0;
        for (uint32_t r = 0; ran(result, phase) && r < samples->ranks; r++) {
            write_span(out, result, phase, r, start_us);
            slowest = fmax(slowest, samples->times[last + r].phase_us[phase]);
        }
        start_us += slowest;
    }
    fprintf(out, "{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":0,\"args\":{\"labels\":\"epsim "
                 "real\"}}\n]}\n");
}

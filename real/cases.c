#include "real/cases.h"

#include "base/mem.h"
#include "base/outfile.h"
#include "base/range.h"
#include "real/agree.h"
#include "real/disturb.h"
#include "real/measure.h"
#include "real/workload.h"

#include <stdlib.h>
#include <string.h>

// Results on rank 0, as they come.
struct results {
    struct outfile file;
    struct row_ids ids;
    json_t *cases;
    bool told; // the case in hand differs from the one before in layer or step: no more notices
    bool told_without;
};

// Of the last case when there are several: each replaces the one before.
static bool write_timeline(const struct world *world, const struct real_options *options,
                           const struct measured_case *result, struct error *err)
{
    struct outfile file;
    if (world->rank != 0)
        return true;
    if (!outfile_open(&file, options->timeline, err))
        return error_prefix(err, "--timeline");
    measure_write_timeline(file.stream, result);
    return outfile_commit(&file, err);
}

static void tell_verified(const struct real_options *options, const struct scenario *scenario,
                          const struct verified *verified)
{
    char place[64] = "";
    if (options->def.trace[0])
        snprintf(place, sizeof place, ", layer %u, step %llu", options->def.layer,
                 (unsigned long long)options->def.step);
    notice("%s, %u tokens a rank%s: output off by %.3g (RMS over RMS, %u tokens checked, at most "
           "%.3g), token %u of rank %u most, by %.3g (at most %.3g)",
           scenario->dispatcher.name, routing_max_tokens(&scenario->routing), place,
           verified->relative_error, verified->tokens, verified->tolerance, verified->worst_token,
           verified->worst_rank, verified->worst_error, verified->worst_tolerance);
}

// Once: what the host does is in no graph.
static void tell_without(struct results *results, const struct measured_case *result)
{
    char without[MEASURED_WITHOUT_BYTES];
    if (result->without && !results->told_without)
        notice("times of layers are without %s, in which the host takes part",
               measured_without(result, without));
    results->told_without = true;
}

// The invocation's own case: one count of tokens, layer and step.
static bool run_case(const struct world *world, const struct real_options *options,
                     struct results *results, struct error *err)
{
    struct scenario scenario;
    struct measured_case result = {0};
    const bool quiet = results->told && notice_quiet(true);
    const bool prepared = workload_open(world, options, &scenario, err);
    if (results->told)
        notice_quiet(quiet);
    if (!world_agrees(world, prepared, err))
        return false;
    const struct layer_setup setup = workload_setup(world, options, &scenario);
    bool ok =
        agree_setup(world, &setup, err) && measure_case(world, options, &scenario, &result, err);
    if (ok && options->timeline[0])
        ok = world_agrees(world, write_timeline(world, options, &result, err), err);
    if (ok && world->rank == 0) {
        if (options->json)
            json_array_append_new(results->cases, measure_json(options, &result));
        else
            measure_write_csv(results->file.stream, options, &result, &results->ids);
        tell_without(results, &result);
        if (options->verify)
            tell_verified(options, &scenario, &result.verified);
    }
    measured_case_release(&result);
    scenario_release(&scenario);
    return ok;
}

// What a flag lists; one 0, the default or what follows from the rest, where it does not.
struct list {
    uint32_t *values;
    size_t count;
};

typedef bool list_parser(const char *text, uint32_t **values, size_t *count, struct error *err);

static bool read_case_list(struct list *list, const char *flag, const char *text,
                           list_parser *parse, struct error *err)
{
    if (text[0])
        return parse(text, &list->values, &list->count, err) || error_prefix(err, "%s", flag);
    *list = (struct list){.values = mem_alloc(1, sizeof *list->values), .count = 1};
    return true;
}

// The cases of a job: every layer and step at every count of tokens.
struct cases {
    struct list tokens, layers, steps;
};

static bool read_cases(const struct real_options *options, struct cases *cases, struct error *err)
{
    const char *tokens = strchr(options->tokens, '/') ? "" : options->tokens;
    if (options->steps[0] && !options->def.trace[0])
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    return read_case_list(&cases->tokens, "--tokens", tokens, range_parse, err) &&
           read_case_list(&cases->layers, "--layer", options->layers, range_parse_indices, err) &&
           read_case_list(&cases->steps, "--step", options->steps, range_parse_indices, err);
}

// The invocation of one case, by places in the lists.
static struct real_options one_case(const struct real_options *options, const struct cases *cases,
                                    size_t tokens, size_t layer, size_t step)
{
    struct real_options one = *options;
    one.def.tokens = cases->tokens.values[tokens];
    one.def.layer = cases->layers.values[layer];
    one.def.step = cases->steps.values[step];
    return one;
}

// Lists ascend: what a trace lacks is found at their last, before anything runs.
static bool check_last(const struct world *world, const struct real_options *options,
                       const struct cases *cases, struct error *err)
{
    const bool quiet = notice_quiet(true);
    bool ok = true;
    for (size_t t = 0; ok && t < cases->tokens.count; t++) {
        const struct real_options one =
            one_case(options, cases, t, cases->layers.count - 1, cases->steps.count - 1);
        struct scenario scenario;
        ok = workload_open(world, &one, &scenario, err);
        if (ok)
            scenario_release(&scenario);
    }
    notice_quiet(quiet);
    return ok;
}

// Steps change fastest, counts of tokens slowest.
static bool run_listed(const struct world *world, const struct real_options *options,
                       const struct cases *cases, struct results *results, struct error *err)
{
    const size_t steps = cases->steps.count, places = cases->layers.count * steps;
    for (size_t i = 0; i < cases->tokens.count * places; i++) {
        const size_t place = i % places;
        const struct real_options one =
            one_case(options, cases, i / places, place / steps, place % steps);
        results->told = place > 0;
        if (!run_case(world, &one, results, err))
            return false;
    }
    return true;
}

static bool run_cases(const struct world *world, const struct real_options *options,
                      struct results *results, struct error *err)
{
    struct cases cases = {0};
    const bool known = read_cases(options, &cases, err) && check_last(world, options, &cases, err);
    const bool ok =
        world_agrees(world, known, err) && run_listed(world, options, &cases, results, err);
    free(cases.tokens.values);
    free(cases.layers.values);
    free(cases.steps.values);
    return ok;
}

static bool open_results(const struct world *world, const struct real_options *options,
                         struct results *results, struct error *err)
{
    const char *path = options->output[0] ? options->output : NULL;
    const bool ok = world->rank != 0 || outfile_open(&results->file, path, err);
    row_ids_open(&results->ids);
    if (world->rank == 0 && ok && options->json)
        results->cases = json_array();
    else if (world->rank == 0 && ok)
        measure_write_csv_head(results->file.stream);
    return world_agrees(world, ok, err);
}

static bool close_results(const struct world *world, struct results *results, struct error *err)
{
    bool ok = true;
    if (world->rank == 0) {
        if (results->cases)
            world_write_json(world, "epsim.measured/1", json_pack("{s:o}", "cases", results->cases),
                             results->file.stream);
        ok = outfile_commit(&results->file, err);
    }
    return world_agrees(world, ok, err);
}

bool cases_run(const struct world *world, const struct real_options *options, struct error *err)
{
    struct results results = {0};
    if (!measure_check_graphs(world, options, err) || !disturb_check(world, options, err) ||
        !open_results(world, options, &results, err))
        return false;
    if (run_cases(world, options, &results, err))
        return close_results(world, &results, err);
    if (world->rank == 0)
        outfile_abort(&results.file);
    return false;
}

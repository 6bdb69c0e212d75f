#include "real/cases.h"

#include "base/mem.h"
#include "base/outfile.h"
#include "base/range.h"
#include "base/table.h"
#include "base/embedded.h"
#include "real/environment.h"
#include "real/measure.h"
#include "real/measure_out.h"
#include "real/workload.h"

#include <stdlib.h>
#include <string.h>

// Results on rank 0, as they come.
struct results {
    struct outfile file;
    uint32_t rows;
    json_t *cases;
    bool told; // the case in hand differs from the one before in layer or step: no more notices
};

// Of the last case when there are several: each replaces the one before.
static bool write_timeline(const struct world *world, const struct real_invocation *invocation,
                           const struct measured_case *result, struct error *err)
{
    struct outfile file;
    if (world->rank != 0)
        return true;
    if (!outfile_open(&file, invocation->timeline, err))
        return error_prefix(err, "--timeline");
    measure_write_timeline(file.stream, result);
    return outfile_commit(&file, err);
}

static void tell_verified(const struct real_invocation *invocation, const struct scenario *scenario,
                          const struct verified *verified)
{
    char place[64] = "";
    if (invocation->def.trace[0])
        snprintf(place, sizeof place, ", layer %u, step %llu", invocation->def.layer,
                 (unsigned long long)invocation->def.step);
    notice("%s, %u tokens a rank%s: output off by %.3g (RMS over RMS, %u tokens checked, at most "
           "%.3g)",
           scenario->dispatcher.name, routing_most_tokens(&scenario->routing), place,
           verified->relative_error, verified->tokens, verified->tolerance);
}

// The invocation's own case: one count of tokens, layer and step.
static bool run_case(const struct world *world, const struct real_invocation *invocation,
                     struct results *results, struct error *err)
{
    struct scenario scenario;
    struct measured_case result = {0};
    const bool quiet = results->told && notice_quiet(true);
    const bool prepared = workload_open(world, invocation, &scenario, err);
    if (results->told)
        notice_quiet(quiet);
    if (!world_agrees(world, prepared, err))
        return false;
    bool ok = measure_case(world, invocation, &scenario, &result, err);
    if (ok && invocation->timeline[0])
        ok = world_agrees(world, write_timeline(world, invocation, &result, err), err);
    if (ok && world->rank == 0) {
        if (invocation->json)
            json_array_append_new(results->cases, measure_json(invocation, &result));
        else
            measure_write_csv(results->file.stream, invocation, &result, &results->rows);
        if (invocation->verify)
            tell_verified(invocation, &scenario, &result.verified);
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

static bool read_cases(const struct real_invocation *invocation, struct cases *cases,
                       struct error *err)
{
    const char *tokens = strchr(invocation->tokens, '/') ? "" : invocation->tokens;
    if (invocation->steps[0] && !invocation->def.trace[0])
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    return read_case_list(&cases->tokens, "--tokens", tokens, range_parse, err) &&
           read_case_list(&cases->layers, "--layer", invocation->layers, range_parse_indices,
                          err) &&
           read_case_list(&cases->steps, "--step", invocation->steps, range_parse_indices, err);
}

static void cases_release(struct cases *cases)
{
    free(cases->tokens.values);
    free(cases->layers.values);
    free(cases->steps.values);
}

// The invocation of one case.
static struct real_invocation one_case(const struct real_invocation *invocation, uint32_t tokens,
                                       uint32_t layer, uint32_t step)
{
    struct real_invocation one = *invocation;
    one.def.tokens = tokens;
    one.def.layer = layer;
    one.def.step = step;
    return one;
}

// Lists ascend: what a trace lacks is found at their last, before anything runs.
static bool check_last(const struct world *world, const struct real_invocation *invocation,
                       const struct cases *cases, struct error *err)
{
    const uint32_t layer = cases->layers.values[cases->layers.count - 1];
    const uint32_t step = cases->steps.values[cases->steps.count - 1];
    bool ok = true;
    for (size_t t = 0; ok && t < cases->tokens.count; t++) {
        const struct real_invocation one =
            one_case(invocation, cases->tokens.values[t], layer, step);
        struct scenario scenario;
        const bool quiet = notice_quiet(true);
        ok = workload_open(world, &one, &scenario, err);
        notice_quiet(quiet);
        if (ok)
            scenario_release(&scenario);
    }
    return ok;
}

// The i-th case: steps change fastest, counts of tokens slowest.
static bool run_listed(const struct world *world, const struct real_invocation *invocation,
                       const struct cases *cases, struct results *results, struct error *err)
{
    const size_t steps = cases->steps.count, places = cases->layers.count * steps;
    for (size_t i = 0; i < cases->tokens.count * places; i++) {
        const size_t place = i % places;
        const struct real_invocation one =
            one_case(invocation, cases->tokens.values[i / places],
                     cases->layers.values[place / steps], cases->steps.values[place % steps]);
        results->told = place > 0;
        if (!run_case(world, &one, results, err))
            return false;
    }
    return true;
}

static bool run_cases(const struct world *world, const struct real_invocation *invocation,
                      struct results *results, struct error *err)
{
    struct cases cases = {0};
    const bool ok = world_agrees(world,
                                 read_cases(invocation, &cases, err) &&
                                     check_last(world, invocation, &cases, err),
                                 err) &&
                    run_listed(world, invocation, &cases, results, err);
    cases_release(&cases);
    return ok;
}

static void write_results_json(const struct world *world, struct results *results)
{
    json_t *document = json_object();
    json_object_set_new(document, "schema", json_string("epsim.measured/1"));
    json_object_set_new(document, "version", json_string(version()));
    json_object_set_new(document, "environment", environment_json(world));
    json_object_set_new(document, "cases", results->cases);
    json_dumpf(document, results->file.stream, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    fputc('\n', results->file.stream);
    json_decref(document);
}

static bool open_results(const struct world *world, const struct real_invocation *invocation,
                         struct results *results, struct error *err)
{
    const char *path = invocation->output[0] ? invocation->output : NULL;
    const bool ok = world->rank != 0 || outfile_open(&results->file, path, err);
    results->rows = 1;
    if (world->rank == 0 && ok && invocation->json)
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
            write_results_json(world, results);
        ok = outfile_commit(&results->file, err);
    }
    return world_agrees(world, ok, err);
}

bool cases_run(const struct world *world, const struct real_invocation *invocation,
               struct error *err)
{
    struct results results = {0};
    if (!open_results(world, invocation, &results, err))
        return false;
    if (run_cases(world, invocation, &results, err))
        return close_results(world, &results, err);
    if (world->rank == 0)
        outfile_abort(&results.file);
    return false;
}

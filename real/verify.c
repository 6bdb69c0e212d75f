#include "real/verify.h"

#include "base/mem.h"
#include "real/memory.h"
#include "real/reference.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

// The worst token may be off by so many times what all together may. A row has as many rounding
// errors as values, so rows differ little in them but where sums cancel, or where the shared
// expert, which stays at home, has a smaller part in one: in 192 runs of 256 tokens (widths of 64
// to 7168, top-k of 1 to 8, every format, four dispatchers) the worst was 1.1 to 2.75 times as far
// off as all together. One wrong row among a token's top-k puts it off by about 1 / sqrt(top-k).
#define WORST_FACTOR 4

// Largest error that a format's rounding explains.
static double default_tolerance(const struct device *device, const struct moe *moe)
{
    if (moe->dispatch_dtype == DTYPE_FP8)
        return 1e-2;
    if (device->ops->activation == ROW_BF16 || moe->dispatch_dtype == DTYPE_BF16 ||
        moe->combine_dtype == DTYPE_BF16)
        return 5e-3;
    return 1e-5;
}

// How many tokens of a rank are checked: an even share of what was asked.
static uint32_t checked_tokens(const struct world *world, const struct real_options *options,
                               const struct layer *layer, uint32_t rank)
{
    const uint32_t share = (options->verify + world->ranks - 1) / world->ranks;
    const uint32_t own = layer->routing.tokens[rank];
    return share < own ? share : own;
}

// The sampled tokens of all ranks on every rank, twice: with A as it came off the wire, and as it
// was before. Each rank then makes the weights of its share of the experts alone.
struct sample {
    uint32_t total;       // of all ranks
    int *counts, *places; // [ranks] how many each has, and where they begin
    float *hidden, *wire; // [2 * total * hidden]
    uint16_t *ids;        // [2 * total * topk]
    float *weights;
    double *expected; // [2 * total * hidden]
};

// Joins every rank's rows of an array, each `width` values of a type, into all of them.
static void join_rows(const struct sample *sample, MPI_Datatype type, uint32_t width,
                      const void *part, void *all)
{
    MPI_Datatype row;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Type_contiguous((int)width, type, &row);
    MPI_Type_commit(&row);
    MPI_Allgatherv(part, sample->counts[rank], row, all, sample->counts, sample->places, row,
                   MPI_COMM_WORLD);
    MPI_Type_free(&row);
}

static void sample_join(const struct world *world, const struct real_options *options,
                        const struct layer *layer, const struct layer_tokens *own,
                        struct sample *sample)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    *sample = (struct sample){.counts = mem_alloc(world->ranks, sizeof *sample->counts),
                              .places = mem_alloc(world->ranks, sizeof *sample->places)};
    for (uint32_t r = 0; r < world->ranks; r++) {
        sample->counts[r] = (int)checked_tokens(world, options, layer, r);
        sample->places[r] = (int)sample->total;
        sample->total += (uint32_t)sample->counts[r];
    }
    const size_t values = (size_t)sample->total * moe->hidden;
    const size_t choices = (size_t)sample->total * moe->topk;
    sample->hidden = mem_alloc(2 * values + 1, sizeof *sample->hidden);
    sample->wire = mem_alloc(2 * values + 1, sizeof *sample->wire);
    sample->ids = mem_alloc(2 * choices + 1, sizeof *sample->ids);
    sample->weights = mem_alloc(2 * choices + 1, sizeof *sample->weights);
    sample->expected = mem_alloc(2 * values + 1, sizeof *sample->expected);
    join_rows(sample, MPI_FLOAT, moe->hidden, own->a, sample->hidden);
    join_rows(sample, MPI_UINT16_T, moe->topk, own->ids, sample->ids);
    join_rows(sample, MPI_FLOAT, moe->topk, own->weights, sample->weights);
    memcpy(sample->hidden + values, sample->hidden, values * sizeof(float));
    memcpy(sample->wire, sample->hidden, 2 * values * sizeof(float));
    memcpy(sample->ids + choices, sample->ids, choices * sizeof(uint16_t));
    memcpy(sample->weights + choices, sample->weights, choices * sizeof(float));
    for (uint32_t t = 0; t < sample->total; t++)
        reference_round(sample->wire + (size_t)t * moe->hidden, moe->hidden,
                        memory_format(moe->dispatch_dtype));
}

static void sample_release(struct sample *sample)
{
    free(sample->counts);
    free(sample->places);
    free(sample->hidden);
    free(sample->wire);
    free(sample->ids);
    free(sample->weights);
    free(sample->expected);
}

// What a rank's own tokens say: with A off the wire, and as it was before.
struct own_errors {
    struct reference_error sums[2];
    struct reference_worst worst; // with A off the wire; row: the token
};

static void compare_own(const struct world *world, const struct real_options *options,
                        const struct layer *layer, const struct layer_tokens *own,
                        struct own_errors *errors)
{
    const struct scenario *scenario = layer->setup.scenario;
    const size_t hidden = scenario->moe.hidden;
    const struct reference reference = {.moe = &scenario->moe,
                                        .seed = scenario->run.seed,
                                        .layer = scenario->routing.layer,
                                        .activation = layer->setup.device->ops->activation};
    struct sample sample;
    sample_join(world, options, layer, own, &sample);
    const struct reference_tokens tokens = {.count = 2 * sample.total,
                                            .hidden = sample.hidden,
                                            .wire = sample.wire,
                                            .ids = sample.ids,
                                            .weights = sample.weights};
    reference_layer(&reference, &tokens, world->rank, world->ranks, sample.expected);
    MPI_Allreduce(MPI_IN_PLACE, sample.expected, (int)(2 * sample.total * hidden), MPI_DOUBLE,
                  MPI_SUM, MPI_COMM_WORLD);
    const size_t first = (size_t)sample.places[world->rank];
    for (uint32_t i = 0; i < 2; i++)
        reference_compare(&errors->sums[i],
                          sample.expected + (i * (size_t)sample.total + first) * hidden, own->c,
                          own->count * hidden);
    errors->worst =
        reference_worst_row(sample.expected + first * hidden, own->c, own->count, (uint32_t)hidden);
    if (own->count)
        errors->worst.row = own->token[errors->worst.row];
    sample_release(&sample);
}

static bool find_errors(const struct world *world, const struct real_options *options,
                        struct layer *layer, struct own_errors *errors, struct error *err)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    const uint32_t count = checked_tokens(world, options, layer, world->rank);
    uint32_t *picked = mem_alloc((size_t)count + 1, sizeof *picked);
    for (uint32_t i = 0; i < count; i++) // evenly spread
        picked[i] = (uint32_t)((uint64_t)i * layer_own_tokens(layer) / count);
    const size_t values = (size_t)count * moe->hidden + 1, choices = (size_t)count * moe->topk + 1;
    const struct layer_tokens got = {.token = picked,
                                     .count = count,
                                     .a = mem_alloc(values, sizeof(float)),
                                     .c = mem_alloc(values, sizeof(float)),
                                     .ids = mem_alloc(choices, sizeof(uint16_t)),
                                     .weights = mem_alloc(choices, sizeof(float))};
    const bool ok = world_agrees(world, layer_read(layer, &got, err), err);
    if (ok)
        compare_own(world, options, layer, &got, errors);
    free(picked);
    free(got.a);
    free(got.c);
    free(got.ids);
    free(got.weights);
    return ok;
}

// All ranks' errors into one.
static void join_errors(const struct own_errors *own, struct verified *verified)
{
    struct reference_error all[2];
    struct {
        double error;
        int rank;
    } worst = {.error = own->worst.relative};
    MPI_Comm_rank(MPI_COMM_WORLD, &worst.rank);
    MPI_Allreduce(own->sums, all, 4, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_DOUBLE_INT, MPI_MAXLOC, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &verified->rows, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    verified->relative_error = reference_relative(&all[0]);
    verified->full_error = reference_relative(&all[1]);
    verified->worst_error = worst.error;
    verified->worst_rank = (uint32_t)worst.rank;
    verified->worst_token = own->worst.row;
    MPI_Bcast(&verified->worst_token, 1, MPI_UINT32_T, worst.rank, MPI_COMM_WORLD);
}

static bool judge_errors(const struct world *world, const struct verified *verified,
                         struct error *err)
{
    const bool whole = verified->relative_error <= verified->tolerance; // NaN is not
    if (whole && verified->worst_error <= verified->worst_tolerance)
        return true;
    if (world->rank == 0 && !whole)
        return error_set(
            err, EXIT_TOLERANCE,
            "the output is off by %.3g (RMS over RMS, %u tokens): expected at most %.3g",
            verified->relative_error, verified->tokens, verified->tolerance);
    if (world->rank == 0)
        return error_set(err, EXIT_TOLERANCE,
                         "the output of token %u of rank %u is off by %.3g (RMS over RMS of its "
                         "row, the worst of %u tokens): expected at most %.3g",
                         verified->worst_token, verified->worst_rank, verified->worst_error,
                         verified->tokens, verified->worst_tolerance);
    err->code = EXIT_TOLERANCE; // rank 0 says it for all
    return false;
}

bool verify_output(const struct world *world, const struct real_options *options,
                   struct layer *layer, struct verified *verified, struct error *err)
{
    struct own_errors own = {0};
    if (!find_errors(world, options, layer, &own, err))
        return false;
    join_errors(&own, verified);
    verified->tokens = 0;
    for (uint32_t r = 0; r < world->ranks; r++)
        verified->tokens += checked_tokens(world, options, layer, r);
    verified->tolerance = options->tolerance > 0
                              ? options->tolerance
                              : default_tolerance(layer->setup.device, &layer->setup.scenario->moe);
    verified->worst_tolerance = WORST_FACTOR * verified->tolerance;
    return judge_errors(world, verified, err);
}

#include "traces/import_write.h"

#include "base/mem.h"
#include "traces/sample.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Tokens of one step that are held at once: of a rank, or of all where counts are not by rank.
#define MAX_TOKENS (UINT64_C(1) << 20)

struct counting {
    const struct import *import;
    struct layer_map map;
    struct trace_writer writer;
    struct import_report *report;
    uint64_t *counts; // [map.count * experts] of the piece in hand
    uint16_t *ids;    // [map.count][tokens * topk] of the piece in hand
    uint64_t tokens;  // of the piece in hand
};

// --- what the pieces hold ----------------------------------------------------------------------

static bool refuse_count(const struct import *import, const struct piece *piece,
                         const uint32_t at[2], struct error *err, const char *expected)
{
    return error_set(err, EXIT_INPUT,
                     "%s: layer %" PRIu32 ", expert %" PRIu32 ": %" PRId64 ": expected %s",
                     piece->name, import->layer_ids ? import->layer_ids[at[0]] : at[0], at[1],
                     piece_int(piece, at[0], 0, at[1]), expected);
}

static bool survey_layer_counts(const struct import *import, const struct piece *piece,
                                uint32_t layer, bool *live, struct error *err)
{
    for (uint32_t e = 0; e < import->width; e++) {
        const int64_t count = piece_int(piece, layer, 0, e);
        if (count < 0 || count > INT64_C(1) << 40)
            return refuse_count(import, piece, (const uint32_t[]){layer, e}, err,
                                "a count from 0 to 2^40");
        *live = *live || count > 0;
    }
    return true;
}

// Counts that add up within 2^53, and which layers have any.
static bool survey_counts(const struct import *import, bool *live, struct error *err)
{
    for (size_t p = 0; p < import->count; p++)
        for (uint32_t l = 0; l < import->axis; l++)
            if (!survey_layer_counts(import, &import->pieces[p], l, &live[l], err))
                return false;
    return true;
}

static uint64_t layer_sum(const uint64_t *counts, uint32_t experts)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < experts; e++)
        sum += counts[e];
    return sum;
}

// The piece's counts of the layers kept, and its tokens: as many as the fullest of them takes, or,
// where there are any, as many as are asked.
static void take_counts(struct counting *counting, const struct piece *piece)
{
    const uint32_t experts = counting->import->moe.experts, topk = counting->import->moe.topk;
    uint64_t max = 0;
    for (uint32_t l = 0; l < counting->map.count; l++) {
        uint64_t *counts = counting->counts + (size_t)l * experts;
        for (uint32_t e = 0; e < experts; e++)
            counts[e] = (uint64_t)piece_int(piece, counting->map.axis[l], 0, e);
        const uint64_t sum = layer_sum(counts, experts);
        max = sum > max ? sum : max;
    }
    const struct import_def *def = counting->import->def;
    const uint64_t asked =
        (uint64_t)def->tokens * (counting->import->ranked ? 1 : counting->import->ranks);
    counting->tokens = max && asked ? asked : (max + topk - 1) / topk;
}

static bool check_counts(const struct counting *counting, const struct piece *piece,
                         struct error *err)
{
    const uint32_t experts = counting->import->moe.experts;
    char expected[96];
    snprintf(expected, sizeof expected,
             "at most %" PRIu64 ", one for each token of the step; or --tokens to draw from them",
             counting->tokens);
    for (uint32_t l = 0; !counting->import->def->tokens && l < counting->map.count; l++)
        for (uint32_t e = 0; e < experts; e++)
            if (counting->counts[(size_t)l * experts + e] > counting->tokens)
                return refuse_count(counting->import, piece,
                                    (const uint32_t[]){counting->map.axis[l], e}, err, expected);
    return counting->tokens <= MAX_TOKENS ||
           error_set(err, EXIT_INPUT,
                     "%s: %" PRIu64 " tokens in one step: expected at most 2^20; --tokens draws "
                     "fewer",
                     piece->name, counting->tokens);
}

// Experts of a layer that have any choices in any piece, and how many choices they have.
static uint32_t count_live(const struct import *import, uint32_t layer, uint64_t *choices)
{
    uint32_t live = 0;
    *choices = 0;
    for (uint32_t e = 0; e < import->width; e++) {
        uint64_t sum = 0;
        for (size_t p = 0; p < import->count; p++)
            sum += (uint64_t)piece_int(&import->pieces[p], layer, 0, e);
        *choices += sum;
        live += sum > 0;
    }
    return live;
}

// So many choices per expert that half of them are left out by no chance.
#define ENOUGH_CHOICES 4

// A rank that counts its own experts alone leaves the others without choices in every layer.
static void tell_one_rank(const struct import *import, const struct layer_map *map)
{
    uint32_t most = 0;
    for (uint32_t l = 0; l < map->count; l++) {
        uint64_t choices;
        const uint32_t live = count_live(import, map->axis[l], &choices);
        if (live > import->width / 2 || choices < (uint64_t)ENOUGH_CHOICES * import->width)
            return;
        most = live > most ? live : most;
    }
    notice("%s: no layer has choices of more than %" PRIu32 " of %" PRIu32 " experts: the counts "
           "of one rank's experts alone? Then sum those of all ranks",
           import->pieces[0].name, most, import->width);
}

// --- drawing -----------------------------------------------------------------------------------

// In place of the counts of a layer, as many drawn by their odds as the asked tokens take; a layer
// without any stays without.
static bool draw_layer(const struct counting *counting, struct rng *rng, uint64_t *counts)
{
    const struct moe *moe = &counting->import->moe;
    if (layer_sum(counts, moe->experts) == 0)
        return true;
    const struct count_odds odds = {.weights = counts,
                                    .experts = moe->experts,
                                    .total = counting->tokens * moe->topk,
                                    .max = counting->tokens};
    uint64_t *drawn = mem_alloc(moe->experts, sizeof *drawn);
    const bool ok = sample_counts(&odds, rng, drawn);
    memcpy(counts, drawn, moe->experts * sizeof *drawn);
    free(drawn);
    return ok;
}

static bool sample_layer(const struct counting *counting, const struct piece *piece, uint32_t layer)
{
    const struct import *import = counting->import;
    const struct moe *moe = &import->moe;
    // Apart from every routing rule's streams.
    struct rng rng = rng_stream(import->def->seed, (uint64_t)(piece - import->pieces),
                                counting->map.ids[layer], UINT64_C(0x636f756e74));
    uint64_t *counts = counting->counts + (size_t)layer * moe->experts;
    if (import->def->tokens && !draw_layer(counting, &rng, counts))
        return false;
    const struct sampling sampling = {.counts = counts,
                                      .experts = moe->experts,
                                      .topk = moe->topk,
                                      .groups = moe->groups,
                                      .topk_groups = moe->topk_groups,
                                      .tokens = (uint32_t)counting->tokens,
                                      .rng = {.key = rng_next(&rng), .counter = 0}};
    return sample_with_counts(&sampling,
                              counting->ids + (size_t)layer * counting->tokens * moe->topk);
}

// Layers side by side; each draws from a stream of its own.
static bool sample_piece(struct counting *counting, const struct piece *piece, struct error *err)
{
    const struct moe *moe = &counting->import->moe;
    const uint32_t layers = counting->map.count;
    uint32_t bad = UINT32_MAX;
#pragma omp parallel for schedule(dynamic) reduction(min : bad)
    for (uint32_t l = 0; l < layers; l++)
        if (!sample_layer(counting, piece, l) && l < bad)
            bad = l;
    return bad == UINT32_MAX ||
           error_set(err, EXIT_INPUT,
                     "%s: layer %" PRIu32 ": no choices of top-%" PRIu32 " in %" PRIu32
                     " of %" PRIu32 " groups have these counts: is it another --model?",
                     piece->name, counting->map.ids[bad], moe->topk, moe->topk_groups, moe->groups);
}

// --- writing -----------------------------------------------------------------------------------

static void write_tokens(struct counting *counting, const struct piece *piece, uint64_t step)
{
    const uint32_t layers = counting->map.count, topk = counting->import->moe.topk;
    uint16_t *row = mem_alloc((size_t)layers * topk, sizeof *row);
    for (uint64_t t = 0; t < counting->tokens; t++) {
        for (uint32_t l = 0; l < layers; l++)
            memcpy(row + (size_t)l * topk,
                   counting->ids + ((size_t)l * counting->tokens + t) * topk, topk * sizeof *row);
        for (size_t i = 0; i < (size_t)layers * topk; i++)
            counting->report->dropped += row[i] == UINT16_MAX;
        // Counts of all ranks together are shared out evenly, in the tokens' order.
        const uint64_t source =
            counting->import->ranked ? piece->rank : t * counting->import->ranks / counting->tokens;
        const uint32_t place[] = {(uint32_t)step, (uint32_t)source};
        trace_writer_add(&counting->writer, &(struct trace_token){.ids = row, .step = place});
    }
    counting->report->tokens += counting->tokens;
    free(row);
}

static bool write_piece(struct counting *counting, const struct piece *piece, uint64_t step,
                        struct error *err)
{
    counting->ids = mem_alloc(counting->map.count * counting->tokens * counting->import->moe.topk,
                              sizeof *counting->ids);
    const bool ok = sample_piece(counting, piece, err);
    if (ok)
        write_tokens(counting, piece, step);
    free(counting->ids);
    return ok;
}

static bool write_pieces(struct counting *counting, struct error *err)
{
    const struct import *import = counting->import;
    uint64_t steps = 0, last = 0;
    for (size_t p = 0; p < import->count; p++) {
        const struct piece *piece = &import->pieces[p];
        take_counts(counting, piece);
        if (counting->tokens == 0)
            continue; // a step, or a rank in one, without tokens
        if (steps == 0 || !import->placed || piece->step != last)
            steps++;
        last = piece->step;
        if (!write_piece(counting, piece, steps - 1, err))
            return false;
    }
    counting->report->steps = steps;
    return true;
}

// Whether some layer of the piece in hand will lack choices: the fullest one decides the tokens,
// and a rest of fewer than topk choices makes one more.
static bool lacks_choices(const struct counting *counting)
{
    const struct moe *moe = &counting->import->moe;
    for (uint32_t l = 0; counting->tokens && l < counting->map.count; l++) {
        const uint64_t *counts = counting->counts + (size_t)l * moe->experts;
        const uint64_t sum = layer_sum(counts, moe->experts);
        if (counting->import->def->tokens ? sum == 0 : sum != counting->tokens * moe->topk)
            return true;
    }
    return false;
}

// All steps before the first is written, so that no work is lost on what will be refused.
static bool check_pieces(struct counting *counting, bool *lacking, struct error *err)
{
    const struct import *import = counting->import;
    for (size_t p = 0; p < import->count; p++) {
        take_counts(counting, &import->pieces[p]);
        if (!check_counts(counting, &import->pieces[p], err))
            return false;
        *lacking = *lacking || lacks_choices(counting);
    }
    return true;
}

static bool check_counts_order(const struct import *import, struct error *err)
{
    if (import->def->order != IMPORT_REQUESTS)
        return error_set(err, EXIT_INPUT, "--order: %s has counts, whose steps are their own",
                         import->pieces[0].name);
    return import->ranked || import->ranks ||
           error_set(err, EXIT_INPUT,
                     "%s: counts of all ranks together: expected --ep, how many ranks share them",
                     import->pieces[0].name);
}

static bool write_counts(struct counting *counting, struct trace_plan *plan, struct error *err)
{
    const struct import *import = counting->import;
    plan->layers = counting->map.count;
    plan->layer_ids = counting->map.ids;
    plan->steps = true;
    counting->report->layers = counting->map.count;
    counting->report->left_out = import->axis - counting->map.count;
    counting->counts =
        mem_alloc((size_t)counting->map.count * import->moe.experts, sizeof *counting->counts);
    bool ok = check_pieces(counting, &plan->drops, err) &&
              trace_writer_open(&counting->writer, plan, import->def->folder, err);
    if (ok && !write_pieces(counting, err)) {
        trace_writer_abort(&counting->writer);
        ok = false;
    }
    ok = ok && trace_writer_commit(&counting->writer, err);
    free(counting->counts);
    return ok;
}

bool import_write_counts(struct import *import, struct trace_plan *plan,
                         struct import_report *report, struct error *err)
{
    struct counting counting = {.import = import, .report = report};
    if (!check_counts_order(import, err))
        return false;
    if (import->placed)
        import_sort(import);
    bool *live = mem_alloc(import->axis, sizeof *live);
    bool ok = survey_counts(import, live, err) && layer_map_init(&counting.map, import, live, err);
    if (ok) {
        tell_one_rank(import, &counting.map);
        ok = write_counts(&counting, plan, err);
    }
    free(live);
    layer_map_release(&counting.map);
    return ok;
}

#include "traces/import_write.h"

#include "base/mem.h"
#include "model/routing.h"

#include <inttypes.h>
#include <stdlib.h>

// What a row says.
enum row_kind {
    ROW_CHOICES,
    ROW_BLANK, // one value repeated: no MoE layer, or nothing recorded for the token
};

// Ids of a row as a trace has them; ROUTING_DROPPED for -1. Refuses ids out of range and an expert
// twice, but a row of one value alone is blank: engines fill dense layers with zeros.
static bool read_choice_row(const struct import *import, const struct piece *piece,
                            const uint64_t at[2], uint16_t *ids, enum row_kind *kind,
                            struct error *err)
{
    const uint32_t topk = import->width, layer = (uint32_t)at[1];
    int64_t row[MOE_MAX_TOPK];
    const char *wrong = NULL;
    bool same = topk > 1;
    for (uint32_t k = 0; k < topk; k++) {
        row[k] = piece_int(piece, layer, at[0], k);
        same = same && row[k] == row[0];
        ids[k] = row[k] == -1 ? ROUTING_DROPPED : (uint16_t)row[k];
        if (row[k] < -1 || row[k] >= import->moe.experts)
            wrong = "an id out of range";
        for (uint32_t j = 0; j < k; j++)
            if (row[j] == row[k] && row[k] != -1)
                wrong = wrong ? wrong : "an expert twice";
    }
    *kind = same && row[0] >= -1 && row[0] < import->moe.experts ? ROW_BLANK : ROW_CHOICES;
    if (!wrong || *kind == ROW_BLANK)
        return true;
    char list[MOE_MAX_TOPK * 21] = "";
    size_t length = 0;
    for (uint32_t k = 0; k < topk; k++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%" PRId64, k ? " " : "",
                                   row[k]);
    return error_set(err, EXIT_INPUT,
                     "%s: token %" PRIu64 ", layer %" PRIu32 ": %s: [%.200s]; expected distinct "
                     "ids below %" PRIu32 ", or -1",
                     piece->name, at[0], import->layer_ids ? import->layer_ids[layer] : layer,
                     wrong, list, import->moe.experts);
}

// What the whole input holds.
struct survey {
    bool *live;       // [axis]
    bool *varied;     // [axis] whether first ids differ
    uint16_t *last;   // [axis] the first id of the last row
    uint64_t *blanks; // [axis] blank rows
    uint64_t dropped; // single choices
    uint64_t tokens;
};

static bool survey_token(const struct import *import, const struct piece *piece, uint64_t token,
                         struct survey *survey, struct error *err)
{
    uint16_t ids[MOE_MAX_TOPK];
    enum row_kind kind;
    for (uint32_t l = 0; l < import->axis; l++) {
        if (!read_choice_row(import, piece, (const uint64_t[]){token, l}, ids, &kind, err))
            return false;
        if (kind == ROW_BLANK) {
            survey->blanks[l]++;
            continue;
        }
        survey->varied[l] = survey->varied[l] || (survey->live[l] && ids[0] != survey->last[l]);
        survey->last[l] = ids[0];
        survey->live[l] = true;
        for (uint32_t k = 0; k < import->width; k++)
            survey->dropped += ids[k] == ROUTING_DROPPED;
    }
    return true;
}

// Of one choice a token, no row repeats: the model says which layers are dense, and engines fill
// those with one id.
static void dense_by_model(const struct import *import, struct survey *survey)
{
    const struct moe *moe = &import->moe;
    if (import->width > 1 || import->layer_ids || import->axis != moe_model_layers(moe))
        return;
    for (uint32_t l = 0; l < import->axis; l++)
        survey->live[l] =
            survey->live[l] && (survey->varied[l] || moe_layer_of(moe, l) != MOE_NOT_AN_MOE_LAYER);
}

static bool survey_choices(const struct import *import, struct survey *survey, struct error *err)
{
    survey->live = mem_alloc(import->axis, sizeof *survey->live);
    survey->varied = mem_alloc(import->axis, sizeof *survey->varied);
    survey->last = mem_alloc(import->axis, sizeof *survey->last);
    survey->blanks = mem_alloc(import->axis, sizeof *survey->blanks);
    for (size_t p = 0; p < import->count; p++) {
        survey->tokens += import->pieces[p].rows;
        for (uint64_t t = 0; t < import->pieces[p].rows; t++)
            if (!survey_token(import, &import->pieces[p], t, survey, err))
                return false;
    }
    dense_by_model(import, survey);
    for (uint32_t l = 0; l < import->axis; l++)
        survey->dropped += survey->live[l] ? survey->blanks[l] * import->width : 0;
    return true;
}

// --- writing -----------------------------------------------------------------------------------

struct output {
    const struct import *import;
    const struct layer_map *map;
    struct trace_writer writer;
    uint16_t *ids; // of one token
};

static void copy_token(struct output *output, const struct piece *piece, uint64_t token,
                       const uint32_t step[2])
{
    const uint32_t topk = output->import->width;
    struct error ignored; // surveyed before
    enum row_kind kind;
    for (uint32_t l = 0; l < output->map->count; l++) {
        uint16_t *ids = output->ids + (size_t)l * topk;
        read_choice_row(output->import, piece, (const uint64_t[]){token, output->map->axis[l]}, ids,
                        &kind, &ignored);
        for (uint32_t k = 0; kind == ROW_BLANK && k < topk; k++)
            ids[k] = ROUTING_DROPPED;
    }
    trace_writer_add(&output->writer, &(struct trace_token){.ids = output->ids, .step = step});
}

static void write_requests(struct output *output)
{
    for (size_t p = 0; p < output->import->count; p++)
        for (uint64_t t = 0; t < output->import->pieces[p].rows; t++)
            copy_token(output, &output->import->pieces[p], t, NULL);
}

static uint64_t write_positions(struct output *output)
{
    const struct import *import = output->import;
    uint64_t position = 0;
    for (bool any = true; any; position += any) {
        any = false;
        for (size_t p = 0; p < import->count; p++) {
            const struct piece *piece = &import->pieces[p];
            if (position < piece->first || position - piece->first >= piece->rows)
                continue;
            any = true;
            copy_token(
                output, piece, position - piece->first,
                (const uint32_t[]){(uint32_t)position, (uint32_t)(piece->request % import->ranks)});
        }
    }
    return position;
}

// Tokens of the step that begins with the piece.
static uint64_t tokens_of_step(const struct import *import, size_t first)
{
    uint64_t tokens = 0;
    for (size_t p = first; p < import->count; p++) {
        if (import->pieces[p].step != import->pieces[first].step)
            break;
        tokens += import->pieces[p].rows;
    }
    return tokens;
}

// Steps as recorded, numbered anew without those that hold no token. Where source ranks are not
// known, a step's tokens are shared out evenly, in their order.
static uint64_t write_placed(struct output *output)
{
    const struct import *import = output->import;
    uint64_t steps = 0, last = 0, before = 0, tokens = 0;
    for (size_t p = 0; p < import->count; p++) {
        const struct piece *piece = &import->pieces[p];
        if (piece->rows && (steps == 0 || piece->step != last)) {
            last = piece->step;
            tokens = tokens_of_step(import, p);
            before = 0;
            steps++;
        }
        for (uint64_t t = 0; t < piece->rows; t++, before++) {
            const uint64_t rank = import->ranked ? piece->rank : before * import->ranks / tokens;
            copy_token(output, piece, t, (const uint32_t[]){(uint32_t)steps - 1, (uint32_t)rank});
        }
    }
    return steps;
}

static bool check_order(const struct import *import, struct error *err)
{
    const bool positions = import->def->order == IMPORT_POSITIONS;
    if (import->def->tokens)
        return error_set(err, EXIT_INPUT,
                         "--tokens: %s has choices, not counts to draw from: all are taken",
                         import->pieces[0].name);
    if (positions && import->placed)
        return error_set(err, EXIT_INPUT, "--order: %s has steps of its own",
                         import->pieces[0].name);
    if (positions && !import->ranks)
        return error_set(err, EXIT_INPUT, "--order positions: expected --ep, the number of ranks");
    return !import->placed || import->ranked || import->ranks ||
           error_set(err, EXIT_INPUT,
                     "%s: steps of all ranks together: expected --ep, how many ranks share them",
                     import->pieces[0].name);
}

static bool write_choices(struct import *import, const struct survey *survey,
                          struct trace_plan *plan, struct import_report *report, struct error *err)
{
    struct layer_map map;
    if (!layer_map_init(&map, import, survey->live, err))
        return false;
    const bool positions = import->def->order == IMPORT_POSITIONS;
    struct output output = {.import = import, .map = &map};
    plan->layers = map.count;
    plan->layer_ids = map.ids;
    plan->drops = survey->dropped > 0;
    plan->steps = positions || import->placed;
    report->layers = map.count;
    report->left_out = import->axis - map.count;
    report->tokens = survey->tokens;
    report->dropped = survey->dropped;
    bool ok = trace_writer_open(&output.writer, plan, import->def->folder, err);
    if (ok) {
        output.ids = mem_alloc((size_t)map.count * import->width, sizeof *output.ids);
        if (positions)
            report->steps = write_positions(&output);
        else if (import->placed)
            report->steps = write_placed(&output);
        else
            write_requests(&output);
        free(output.ids);
        ok = trace_writer_commit(&output.writer, err);
    }
    layer_map_release(&map);
    return ok;
}

bool import_write_choices(struct import *import, struct trace_plan *plan,
                          struct import_report *report, struct error *err)
{
    struct survey survey = {0};
    if (!check_order(import, err))
        return false;
    if (import->placed)
        import_sort(import);
    const bool ok =
        survey_choices(import, &survey, err) && write_choices(import, &survey, plan, report, err);
    free(survey.live);
    free(survey.varied);
    free(survey.last);
    free(survey.blanks);
    return ok;
}

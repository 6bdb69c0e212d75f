#include "model/layout_file.h"

#include "base/field.h"
#include "base/mem.h"
#include "model/formats/layout_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const layout_format_names[] = {"trtllm", "sglang", NULL};

// ---- whose layers the rows are -----------------------------------------------------------------

// Whether the ids are 0, 1, ... of all MoE layers, in any order.
static bool counts_moe_layers(const struct layout_rows *rows, const struct moe *moe)
{
    bool dense = false;
    if (rows->count != moe->layers)
        return false;
    for (uint32_t r = 0; r < rows->count; r++) {
        if (rows->ids[r] >= moe->layers)
            return false;
        dense = dense || moe_layer_of(moe, rows->ids[r]) == MOE_NOT_AN_MOE_LAYER;
    }
    return dense;
}

static void number_moe_layers(struct layout_rows *rows, const struct moe *moe)
{
    if (rows->count < moe_model_layers(moe))
        notice("%s: its %" PRIu32 " layers are taken as the MoE layers of %s: %s", rows->name,
               rows->count, moe->name, moe->moe_layers);
    for (uint32_t r = 0; r < rows->count; r++)
        rows->ids[r] = moe_layer_id(moe, rows->ids[r]);
}

static bool refuse_rows(const struct layout_rows *rows, const struct moe *moe, struct error *err)
{
    error_set(err, EXIT_INPUT,
              "%s: %" PRIu32 " rows; the model %s has %" PRIu32 " MoE layers and %" PRIu32
              " in all: is it another --model?",
              rows->key, rows->count, moe->name, moe->layers, moe_model_layers(moe));
    return layout_rows_blame(rows, 0, err);
}

// Ids of model layers in place of what the file has. A file by layer may count MoE layers too.
static bool align_rows(struct layout_rows *rows, const struct moe *moe, struct error *err)
{
    const bool all = rows->count == moe_model_layers(moe);
    switch (rows->numbering) {
    case LAYOUT_FOR_ALL:
        return true;
    case LAYOUT_BY_PLACE:
        if (!all && rows->count != moe->layers)
            return refuse_rows(rows, moe, err);
        if (!all)
            number_moe_layers(rows, moe);
        return true;
    case LAYOUT_BY_MOE_LAYER:
    case LAYOUT_BY_LAYER:
        if (counts_moe_layers(rows, moe))
            number_moe_layers(rows, moe);
        else if (rows->numbering == LAYOUT_BY_MOE_LAYER && !all && rows->count != moe->layers)
            return refuse_rows(rows, moe, err);
        return true;
    }
    return true;
}

static void tell_unaligned(const struct layout_rows *rows)
{
    if (rows->numbering == LAYOUT_BY_PLACE || rows->numbering == LAYOUT_BY_MOE_LAYER)
        notice("%s: no model says which layers its %" PRIu32
               " rows are: taken as model layers from "
               "0 on; --model tells",
               rows->name, rows->count);
}

// ---- slots that are wasted ---------------------------------------------------------------------

// Slots of a rank that hold an expert which the rank has already.
static uint32_t count_wasted(const struct layout_rows *rows, uint32_t row, uint32_t ranks)
{
    const uint32_t *cells = &rows->cells[(size_t)row * rows->slots];
    uint32_t wasted = 0, from = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const uint32_t to = from + rows->slots / ranks + (rank < rows->slots % ranks);
        for (uint32_t slot = from; slot < to; slot++)
            for (uint32_t before = from; before < slot; before++)
                if (cells[before] == cells[slot]) {
                    wasted++;
                    break;
                }
        from = to;
    }
    return wasted;
}

// A dense layer's row means nothing.
static bool is_dense(const struct layout_rows *rows, uint32_t row, const struct moe *moe)
{
    return moe && rows->numbering != LAYOUT_FOR_ALL &&
           moe_layer_of(moe, rows->ids[row]) == MOE_NOT_AN_MOE_LAYER;
}

static void tell_wasted(const struct layout_rows *rows, const struct layout_wanted *wanted)
{
    uint64_t wasted = 0;
    uint32_t layers = 0;
    for (uint32_t r = 0; r < rows->count; r++) {
        const uint32_t own =
            is_dense(rows, r, wanted->moe) ? 0 : count_wasted(rows, r, wanted->ranks);
        wasted += own;
        layers += own > 0;
    }
    if (wasted)
        notice("%s: %" PRIu64 " slots in %" PRIu32 " layers hold an expert that their rank has "
               "already: they are wasted",
               rows->name, wasted, layers);
}

static bool open_rows(struct layout_rows *rows, const char *path,
                      const struct layout_wanted *wanted, struct error *err)
{
    if (!layout_rows_load(rows, path, wanted->experts, wanted->moe, err))
        return false;
    if (!wanted->moe)
        tell_unaligned(rows);
    else if (!align_rows(rows, wanted->moe, err)) {
        layout_rows_release(rows);
        return false;
    }
    if (wanted->ranks)
        tell_wasted(rows, wanted);
    return true;
}

// ---- one layer ---------------------------------------------------------------------------------

static bool layout_from_row(struct layout *layout, const struct layout_rows *rows, uint32_t row,
                            const struct layout_wanted *wanted, struct error *err)
{
    if (layout_from_slots(layout, &rows->cells[(size_t)row * rows->slots], rows->slots,
                          wanted->experts, wanted->ranks, err))
        return true;
    error_prefix(err, "layer %" PRIu32, rows->ids[row]);
    return layout_rows_blame(rows, row, err);
}

static bool refuse_layer(const struct layout_rows *rows, int layer, struct error *err)
{
    const uint32_t first = rows->ids[0], last = rows->ids[rows->count - 1];
    error_set(err, EXIT_INPUT,
              "%s: no layer %d; expected one of the %" PRIu32 " listed, %" PRIu32 " to %" PRIu32,
              rows->key, layer, rows->count, first, last);
    return layout_rows_blame(rows, 0, err);
}

// The row of the wanted layer, or the first listed; false: there is none.
static bool find_row(const struct layout_rows *rows, const struct layout_wanted *wanted,
                     uint32_t *row)
{
    *row = 0;
    if (rows->numbering == LAYOUT_FOR_ALL)
        return true;
    for (uint32_t r = 0; r < rows->count; r++) {
        const bool wants =
            wanted->layer < 0
                ? wanted->moe && moe_layer_of(wanted->moe, rows->ids[r]) != MOE_NOT_AN_MOE_LAYER
                : rows->ids[r] == (uint32_t)wanted->layer;
        if (wants) {
            *row = r;
            return true;
        }
    }
    return wanted->layer < 0;
}

bool layout_from_file(struct layout *layout, const char *path, const struct layout_wanted *wanted,
                      struct error *err)
{
    struct layout_rows rows;
    uint32_t row;
    *layout = (struct layout){0};
    if (!open_rows(&rows, path, wanted, err))
        return false;
    const bool ok = find_row(&rows, wanted, &row) ? layout_from_row(layout, &rows, row, wanted, err)
                                                  : refuse_layer(&rows, wanted->layer, err);
    layout_rows_release(&rows);
    return ok;
}

#define LAYOUTS_TEXT "contiguous, round-robin, eplb, eplb-global, greedy or a file"
// The first two say themselves where experts go; the others need loads.
static const char *const layout_rules[] = {"contiguous", "round-robin", "eplb", "eplb-global",
                                           "greedy"};
#define LAYOUT_RULES (sizeof layout_rules / sizeof layout_rules[0])

static const char *layout_rule_name(const void *context, size_t index)
{
    return ((const char *const *)context)[index];
}

bool layout_is_rule(const char *what)
{
    return strcmp(what, layout_rules[0]) == 0 || strcmp(what, layout_rules[1]) == 0;
}

bool layout_load(struct layout *layout, const char *what, const struct layout_wanted *wanted,
                 struct error *err)
{
    *layout = (struct layout){0};
    if (strcmp(what, layout_rules[0]) == 0)
        return layout_contiguous(layout, wanted->experts, wanted->ranks, err);
    if (strcmp(what, layout_rules[1]) == 0)
        return layout_round_robin(layout, wanted->experts, wanted->ranks, err);
    if (strpbrk(what, "/.") || (*what && access(what, F_OK) == 0))
        return layout_from_file(layout, what, wanted, err);
    char quoted[ERROR_QUOTE_BYTES];
    const char *near = field_nearest(what, LAYOUT_RULES, layout_rule_name, layout_rules);
    error_quote(what, quoted);
    if (near)
        return error_set(err, EXIT_INPUT, "'%s': did you mean '%s'? Expected %s", quoted, near,
                         LAYOUTS_TEXT);
    return error_set(err, EXIT_INPUT, "'%s': expected %s", quoted, LAYOUTS_TEXT);
}

// ---- all layers --------------------------------------------------------------------------------

void layouts_release(struct layouts *layouts)
{
    for (uint32_t l = 0; l < layouts->count; l++)
        layout_release(&layouts->of[l]);
    free(layouts->of);
    free(layouts->layer_ids);
    *layouts = (struct layouts){0};
}

// One more than the highest id that any layer names.
static uint32_t count_named_experts(const struct layout_rows *rows)
{
    uint32_t experts = 0;
    for (size_t i = 0; i < (size_t)rows->count * rows->slots; i++)
        experts = rows->cells[i] >= experts ? rows->cells[i] + 1 : experts;
    return experts;
}

// Keeps the ids ascending; a file's keys may come in any order, but never twice.
static bool insert_layout(struct layouts *layouts, uint32_t layer, const struct layout *layout)
{
    uint32_t at = layouts->count;
    for (; at > 0 && layouts->layer_ids[at - 1] > layer; at--) {
        layouts->layer_ids[at] = layouts->layer_ids[at - 1];
        layouts->of[at] = layouts->of[at - 1];
    }
    layouts->layer_ids[at] = layer;
    layouts->of[at] = *layout;
    layouts->count++;
    return at == 0 || layouts->layer_ids[at - 1] != layer;
}

// A file's one row stands for each of the model's MoE layers.
static bool fill_layouts(const struct layout_rows *rows, struct layouts *layouts,
                         const struct layout_wanted *wanted, struct error *err)
{
    const bool all = rows->numbering == LAYOUT_FOR_ALL && wanted->moe;
    const uint32_t count = all ? wanted->moe->layers : rows->count;
    layouts->layer_ids = mem_alloc(count, sizeof *layouts->layer_ids);
    layouts->of = mem_alloc(count, sizeof *layouts->of);
    layouts->model_layers = wanted->moe ? moe_model_layers(wanted->moe) : 0;
    for (uint32_t l = 0; l < count; l++) {
        const uint32_t row = all ? 0 : l, id = all ? moe_layer_id(wanted->moe, l) : rows->ids[l];
        struct layout layout;
        if (is_dense(rows, row, wanted->moe))
            continue;
        if (!layout_from_row(&layout, rows, row, wanted, err))
            return false;
        if (!insert_layout(layouts, id, &layout)) {
            error_set(err, EXIT_INPUT, "layer %" PRIu32 " stands twice", id);
            return layout_rows_blame(rows, row, err);
        }
    }
    return layouts->count > 0 ||
           error_set(err, EXIT_INPUT, "%s: %s: no layer of the model's MoE layers %s", rows->name,
                     rows->key, wanted->moe->moe_layers);
}

bool layouts_load(struct layouts *layouts, const char *path, const struct layout_wanted *wanted,
                  struct error *err)
{
    struct layout_wanted counted = *wanted;
    struct layout_rows rows;
    *layouts = (struct layouts){0};
    if (!open_rows(&rows, path, wanted, err))
        return false;
    if (!counted.experts)
        counted.experts = count_named_experts(&rows);
    const bool ok = fill_layouts(&rows, layouts, &counted, err);
    layout_rows_release(&rows);
    if (!ok)
        layouts_release(layouts);
    return ok;
}

// ---- writing -----------------------------------------------------------------------------------

// The expert of each slot; `plain`: in id order, around again.
static void write_slots(const struct layout *layout, bool plain, FILE *out)
{
    for (uint32_t slot = 0; slot < layout->slots; slot++)
        fprintf(out, "%s%u", slot ? ", " : "[",
                plain ? slot % layout->experts : layout->slot_expert[slot]);
    fputc(']', out);
}

static void write_trtllm(const struct layouts *layouts, FILE *out)
{
    fprintf(out, "num_slots: %u\nlayer_updates_per_iter: 0\ninitial_global_assignments:\n",
            layouts->of[0].slots);
    for (uint32_t l = 0; l < layouts->count; l++) {
        fprintf(out, "  %u: ", layouts->layer_ids[l]);
        write_slots(&layouts->of[l], false, out);
        fputc('\n', out);
    }
}

static void write_sglang(const struct layouts *layouts, FILE *out)
{
    uint32_t next = 0;
    fputs("{\"physical_to_logical_map\": [\n", out);
    for (uint32_t l = 0; l < layouts->count; l++)
        for (; next <= layouts->layer_ids[l]; next++) {
            fputs(next ? ",\n " : " ", out);
            write_slots(&layouts->of[l], next < layouts->layer_ids[l], out);
        }
    for (; next < layouts->model_layers; next++) {
        fputs(",\n ", out);
        write_slots(&layouts->of[0], true, out);
    }
    fputs("\n]}\n", out);
}

void layouts_write(const struct layouts *layouts, enum layout_format format, const char *comment,
                   FILE *out)
{
    if (format == LAYOUT_SGLANG) {
        write_sglang(layouts, out);
        return;
    }
    if (comment)
        fputs(comment, out);
    write_trtllm(layouts, out);
}

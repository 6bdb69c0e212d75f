// Which measured rows a calibration saw, as a preset of kind "rows" (scenario/backing.h).
#include "study/fitted.h"

#include "base/mem.h"
#include "scenario/backing.h"

#include <stdlib.h>
#include <string.h>

static const char rows_about[] =
    "# Measured rows that a fit saw, by dispatcher, cluster and shape. A calibration wrote it: do "
    "not edit it by hand.\n";

struct seen_rows {
    struct backing_row *all;
    size_t count;
};

static bool is_same(const struct backing_row *a, const struct backing_row *b)
{
    return a->nodes == b->nodes && a->gpus_per_node == b->gpus_per_node &&
           !strcmp(a->dispatcher, b->dispatcher) && !strcmp(a->cluster, b->cluster);
}

static struct backing_row *seen_as(struct seen_rows *seen, const struct backing_row *shape)
{
    for (size_t i = 0; i < seen->count; i++)
        if (is_same(&seen->all[i], shape))
            return &seen->all[i];
    seen->all = mem_grow(seen->all, seen->count + 1, sizeof *seen->all);
    seen->all[seen->count] = *shape;
    return &seen->all[seen->count++];
}

// Of a dispatcher's dispatch or combine.
static void see_row(struct seen_rows *seen, const struct calibrate_row *row)
{
    const struct measured_row *measured = row->measured;
    const uint32_t tokens = measured->tokens_per_gpu;
    struct backing_row shape = {
        .nodes = measured->nodes, .gpus_per_node = measured->gpus_per_node, .min_tokens = tokens};
    strcpy(shape.dispatcher, measured->dispatcher);
    strcpy(shape.cluster, row->scenario.cluster.name);
    strcpy(shape.gpu, row->scenario.cluster.gpu);
    strcpy(shape.architecture, row->scenario.cluster.architecture);
    struct backing_row *of = seen_as(seen, &shape);
    of->dispatch += measured->phase == PHASE_DISPATCH;
    of->combine += measured->phase == PHASE_COMBINE;
    of->min_tokens = tokens < of->min_tokens ? tokens : of->min_tokens;
    of->max_tokens = tokens > of->max_tokens ? tokens : of->max_tokens;
}

static int by_shape(const void *first, const void *second)
{
    const struct backing_row *a = first, *b = second;
    const int dispatcher = strcmp(a->dispatcher, b->dispatcher);
    const int cluster = dispatcher ? dispatcher : strcmp(a->cluster, b->cluster);
    const int nodes = (a->nodes > b->nodes) - (a->nodes < b->nodes);
    const int gpus = (a->gpus_per_node > b->gpus_per_node) - (a->gpus_per_node < b->gpus_per_node);
    return cluster ? cluster : nodes ? nodes : gpus;
}

static void print_backing_row(FILE *out, const struct backing_row *row)
{
    char text[FIELD_TEXT_BYTES];
    for (size_t f = 0; f < backing_field_count; f++) {
        const struct field *field = &backing_fields[f];
        fprintf(out, "%s%s: ", f ? ", " : "  - {", field->key);
        field_format(field, row, text);
        if (field->kind == FIELD_TEXT)
            field_print_quoted(text, out);
        else
            fputs(text, out);
    }
    fputs("}\n", out);
}

void fitted_print_rows(FILE *out, const struct calibration *calibration)
{
    struct seen_rows seen = {0};
    for (size_t r = 0; r < calibration->row_count; r++) {
        const struct calibrate_row *row = &calibration->rows[r];
        if (row->moved &&
            (row->measured->phase == PHASE_DISPATCH || row->measured->phase == PHASE_COMBINE))
            see_row(&seen, row);
    }
    if (seen.count)
        qsort(seen.all, seen.count, sizeof *seen.all, by_shape);
    fprintf(out, "%srows:%s\n", rows_about, seen.count ? "" : " []");
    for (size_t i = 0; i < seen.count; i++)
        print_backing_row(out, &seen.all[i]);
    free(seen.all);
}

#include "traces/writer.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// --- the manifest ------------------------------------------------------------------------------

static void print_text(const char *key, const char *text, FILE *out)
{
    if (!*text)
        return;
    fprintf(out, "%s: ", key);
    field_print_quoted(text, out);
    fputc('\n', out);
}

static void print_field(const struct field *field, const struct moe *moe, FILE *out)
{
    const struct moe plain = moe_default();
    char value[FIELD_TEXT_BYTES], usual[FIELD_TEXT_BYTES];
    field_format(field, moe, value);
    field_format(field, &plain, usual);
    const bool needed = !strcmp(field->key, "experts") || !strcmp(field->key, "topk");
    if (!needed && (moe_key_follows(moe, field->key) || !strcmp(value, usual)))
        return;
    if (field->kind == FIELD_TEXT)
        print_text(field->key, value, out);
    else
        fprintf(out, "%s: %s\n", field->key, value);
}

void trace_manifest_print(const struct trace_plan *plan, FILE *out)
{
    for (size_t i = 0; i < moe_field_count; i++)
        print_field(&moe_fields[i], plan->moe, out);
    fputs("layer_ids: [", out);
    for (uint32_t l = 0; l < plan->layers; l++)
        fprintf(out, "%s%" PRIu32, l ? ", " : "", plan->layer_ids[l]);
    fputs("]\n", out);
    print_text("source", plan->source, out);
    print_text("licence", plan->licence, out);
}

// --- the arrays --------------------------------------------------------------------------------

bool trace_writer_open(struct trace_writer *writer, const struct trace_plan *plan,
                       const char *folder, struct error *err)
{
    const uint64_t shape[] = {0, plan->layers, plan->moe->topk}, pair[] = {0, 2};
    *writer = (struct trace_writer){.plan = plan};
    // In a byte 255 is a dropped choice where there are fewer experts, and else an expert.
    if (plan->moe->experts < UINT8_MAX || (!plan->drops && plan->moe->experts <= UINT8_MAX + 1u))
        writer->bytes = mem_alloc((size_t)plan->layers * plan->moe->topk, 1);
    if (outfolder_open(&writer->folder, folder, err) &&
        npy_out_open(&writer->ids, &writer->folder, "expert_ids.npy",
                     writer->bytes ? NPY_U8 : NPY_U16, shape, 3, err) &&
        (!plan->weights || npy_out_open(&writer->weights, &writer->folder, "weights.npy",
                                        plan->weight_type, shape, 3, err)) &&
        (!plan->steps ||
         npy_out_open(&writer->steps, &writer->folder, "steps.npy", NPY_U32, pair, 2, err)))
        return true;
    trace_writer_abort(writer);
    return false;
}

// A dropped choice's 65535 ends as 255.
static const void *narrowed(struct trace_writer *writer, const uint16_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        writer->bytes[i] = (uint8_t)ids[i];
    return writer->bytes;
}

void trace_writer_add(struct trace_writer *writer, const struct trace_token *token)
{
    const size_t count = (size_t)writer->plan->layers * writer->plan->moe->topk;
    npy_out_rows(&writer->ids, 1, writer->bytes ? narrowed(writer, token->ids, count) : token->ids);
    if (writer->plan->weights)
        npy_out_rows(&writer->weights, 1, token->weights);
    if (writer->plan->steps)
        npy_out_rows(&writer->steps, 1, token->step);
}

static bool write_trace_manifest(struct trace_writer *writer, struct error *err)
{
    struct outfile file;
    if (!outfolder_file(&writer->folder, "trace.yaml", &file, err))
        return false;
    trace_manifest_print(writer->plan, file.stream);
    return outfile_commit(&file, err);
}

bool trace_writer_commit(struct trace_writer *writer, struct error *err)
{
    const struct trace_plan *plan = writer->plan;
    if (npy_out_commit(&writer->ids, err) &&
        (!plan->weights || npy_out_commit(&writer->weights, err)) &&
        (!plan->steps || npy_out_commit(&writer->steps, err)) &&
        write_trace_manifest(writer, err) && outfolder_commit(&writer->folder, err)) {
        free(writer->bytes);
        return true;
    }
    trace_writer_abort(writer);
    return false;
}

void trace_writer_abort(struct trace_writer *writer)
{
    outfile_abort(&writer->ids.file);
    outfile_abort(&writer->weights.file);
    outfile_abort(&writer->steps.file);
    outfolder_abort(&writer->folder);
    free(writer->bytes);
    writer->bytes = NULL;
}

#include "traces/import.h"

#include "base/mem.h"
#include "traces/import_write.h"
#include "traces/records.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const import_order_names[] = {"requests", "positions", NULL};

const char *const import_axes_names[] = {"auto", "steps-first", "layers-first", NULL};

// The first that claims an input reads it: those that a magic number tells come before texts.
static const struct importer *const importers[] = {
    &importer_npy,      &importer_megatron, &importer_npz,     &importer_trtllm,   &importer_eplb,
    &importer_logger,   &importer_loads,    &importer_history, &importer_location, &importer_lines,
    &importer_response, &importer_requests, &importer_csv,     &importer_base64,   &importer_raw};
#define IMPORTERS (sizeof importers / sizeof importers[0])

// Those of one document, which JSON Lines have a line for each of.
static const struct importer *const document_importers[] = {&importer_history, &importer_location,
                                                            &importer_response, &importer_requests};

const struct importer *import_document_format(const struct input *input)
{
    for (size_t i = 0; i < sizeof document_importers / sizeof document_importers[0]; i++)
        if (document_importers[i]->recognise(input))
            return document_importers[i];
    return NULL;
}

// --- inputs ------------------------------------------------------------------------------------

static bool parse_json(struct input *input, struct error *err)
{
    json_error_t where;
    if (input->file.length > IMPORT_JSON_LIMIT)
        return error_set(err, EXIT_INPUT, "%s: JSON of more than %zu MiB: expected a smaller file",
                         input->path, IMPORT_JSON_LIMIT >> 20);
    input->json = json_loadb((const char *)input->file.bytes, input->file.length,
                             JSON_REJECT_DUPLICATES, &where);
    return input->json || error_set(err, EXIT_INPUT, "%s:%d: column %d: %s", input->path,
                                    where.line, where.column, where.text);
}

// Whether the first character that is no space opens a list or an object.
static bool looks_like_json(const struct mapped *file)
{
    for (size_t i = 0; i < file->length; i++)
        if (!strchr(" \t\r\n", file->bytes[i]) || !file->bytes[i])
            return file->bytes[i] == '{' || file->bytes[i] == '[';
    return false;
}

static bool open_text(struct input *input, struct error *err)
{
    if (!looks_like_json(&input->file))
        return true;
    input->lines = records_are_lines((const char *)input->file.bytes, input->file.length);
    return input->lines || parse_json(input, err);
}

static bool open_input(struct input *input, const struct import_def *def, const char *path,
                       struct error *err)
{
    struct stat status;
    *input = (struct input){.def = def, .path = path};
    if (stat(path, &status) != 0)
        return error_set(err, EXIT_INPUT, "%s: %s", path, strerror(errno));
    input->folder = S_ISDIR(status.st_mode);
    return input->folder || (mapped_open(&input->file, path, err) && open_text(input, err));
}

// --- which importer ----------------------------------------------------------------------------

static bool input_holds(const struct input *input, const char *text)
{
    return input->file.bytes && memmem(input->file.bytes, input->file.length, text, strlen(text));
}

bool import_folder_has(const char *folder, const char *name)
{
    char *path = mem_format("%s/%s", folder, name);
    const bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

#define PYTHON "python3 -c \"import pandas, pickle, numpy; "

// Files that another program has to unpack or convert first, by how they begin.
static const struct {
    const char *magic;
    size_t bytes;
    const char *what, *remedy;
} foreign_files[] = {
    {"PAR1", 4, "a Parquet file",
     "convert it, such as by " PYTHON "numpy.save('trace.npy', numpy.stack(pandas.read_parquet("
     "'FILE')['routed_experts']))\", or with a row a token by .to_csv('trace.csv', index=False)"},
    {"\x80", 1, "a pickle",
     "convert it: " PYTHON "numpy.save('trace.npy', pickle.load(open('FILE', 'rb')))\""},
    {"\x1f\x8b", 2, "gzip", "unpack it: gunzip FILE"},
    {"\x28\xb5\x2f\xfd", 4, "zstd", "unpack it: unzstd FILE"},
    {"BZh", 3, "bzip2", "unpack it: bunzip2 FILE"},
    {"\xfd"
     "7zXZ",
     5, "xz", "unpack it: unxz FILE"},
    {"\x89HDF", 4, "an HDF5 file", "convert it to .npy, such as by h5py and numpy.save"},
};

// Raw ids may begin like any of them; --shape says that they are raw.
static bool refuse_foreign(const struct input *input, struct error *err)
{
    if (input->def->shape[0])
        return true;
    for (size_t i = 0; i < sizeof foreign_files / sizeof foreign_files[0]; i++)
        if (input->file.length > foreign_files[i].bytes &&
            !memcmp(input->file.bytes, foreign_files[i].magic, foreign_files[i].bytes))
            return error_set(err, EXIT_INPUT, "%s: %s: %s", input->path, foreign_files[i].what,
                             foreign_files[i].remedy);
    return true;
}

static bool is_layout(const struct input *input)
{
    static const char *const keys[] = {"physical_to_logical_map", "model_maps", "layer_list",
                                       "initial_global_assignments"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(input->json, keys[i]))
            return true;
    const json_t *first = json_array_get(input->json, 0);
    return json_is_integer(first) || json_is_integer(json_array_get(first, 0)) ||
           input_holds(input, "\ninitial_global_assignments:");
}

// What people may well try that is no routing, or needs another way in.
static bool refuse_input(const struct input *input, struct error *err)
{
    if (import_folder_has(input->path, "trace.yaml"))
        return error_set(err, EXIT_INPUT, "%s: a native trace already: see epsim trace export",
                         input->path);
    if (input->folder)
        return error_set(err, EXIT_INPUT,
                         "%s: a folder without meta_info.json; expected TensorRT-LLM's expert "
                         "statistics",
                         input->path);
    if (input->file.length > 4 && !memcmp(input->file.bytes, "PK\3\4", 4) &&
        input_holds(input, "data.pkl"))
        return error_set(err, EXIT_INPUT,
                         "%s: a PyTorch file: convert it with python3 traces/sglang_pt.py",
                         input->path);
    if (is_layout(input))
        return error_set(err, EXIT_INPUT,
                         "%s: a layout, which says nothing of tokens: see --layout", input->path);
    return error_set(err, EXIT_INPUT,
                     "%s: no known format: expected what epsim help trace import lists: arrays, "
                     "JSON or CSV of choices or counts, or a folder of statistics",
                     input->path);
}

static const struct importer *find_importer(const struct input *input, struct error *err)
{
    if (!refuse_foreign(input, err))
        return NULL;
    for (size_t i = 0; i < IMPORTERS; i++)
        if (importers[i]->recognise(input))
            return importers[i];
    refuse_input(input, err);
    return NULL;
}

static bool read_inputs(struct import *import, const struct input *inputs,
                        struct import_report *report, struct error *err)
{
    const struct importer *importer = find_importer(&inputs[0], err);
    if (!importer)
        return false;
    report->format = importer->name;
    for (size_t i = 0; i < import->def->input_count; i++) {
        const struct importer *own = find_importer(&inputs[i], err);
        if (own && own != importer)
            return error_set(err, EXIT_INPUT, "%s: %s, but %s is %s: expected one format",
                             inputs[i].path, own->name, inputs[0].path, importer->name);
        if (!own || !importer->read(import, &inputs[i], err))
            return false;
    }
    return import->count > 0 || error_set(err, EXIT_INPUT, "%s: no routing in it", inputs[0].path);
}

// --- the shape ---------------------------------------------------------------------------------

static bool agrees_with_model(const struct import *import, const char *what, uint32_t found,
                              uint32_t model, struct error *err)
{
    return !found || found == model ||
           error_set(err, EXIT_INPUT, "%s: %s %" PRIu32 "; the model %s has %" PRIu32,
                     import->pieces[0].name, what, found, import->moe.name, model);
}

// The model's shape, or as much of one as the input states.
static bool resolve_import_shape(struct import *import, struct error *err)
{
    const struct import_def *def = import->def;
    assert(import->pieces != NULL);
    if (import->kind == IMPORT_COUNTS)
        import->experts = import->width;
    else
        import->topk = import->width;
    if (def->model[0])
        return agrees_with_model(import, "experts", import->experts, import->moe.experts, err) &&
               agrees_with_model(import, "topk", import->topk, import->moe.topk, err);
    if (!import->experts || !import->topk)
        return error_set(
            err, EXIT_INPUT, "%s: does not say %s: expected --model MODEL", import->pieces[0].name,
            import->experts ? "how many experts a token takes" : "how many experts there are");
    import->moe = moe_default();
    import->moe.experts = import->experts;
    import->moe.topk = import->topk;
    // Routing alone has no widths; moe_check wants some.
    struct moe whole = import->moe;
    whole.hidden = whole.intermediate = 1;
    return moe_check(&whole, err) || error_prefix(err, "%s", import->pieces[0].name);
}

// --- all of it ---------------------------------------------------------------------------------

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

// What was asked, or the format and the first input's name; and that it was drawn, if it was.
static char *import_source(const struct import *import, const char *format)
{
    const struct import_def *def = import->def;
    char others[40] = "", drawn[64] = "";
    if (def->input_count > 1)
        snprintf(others, sizeof others, " and %zu more", def->input_count - 1);
    if (import->kind == IMPORT_COUNTS)
        snprintf(drawn, sizeof drawn, "; synthesised from counts, seed %" PRIu64, def->seed);
    if (def->source[0])
        return mem_format("%s%s", def->source, drawn);
    return mem_format("%s: %s%s%s", format, base_name(def->inputs[0]), others, drawn);
}

static bool write_trace(struct import *import, struct import_report *report, struct error *err)
{
    if (!resolve_import_shape(import, err))
        return false;
    char *source = import_source(import, report->format);
    struct trace_plan plan = {
        .moe = &import->moe, .source = source, .licence = import->def->licence};
    report->experts = import->moe.experts;
    report->topk = import->moe.topk;
    report->synthesised = import->kind == IMPORT_COUNTS;
    const bool ok = import->kind == IMPORT_COUNTS
                        ? import_write_counts(import, &plan, report, err)
                        : import_write_choices(import, &plan, report, err);
    free(source);
    return ok;
}

static bool load_model(struct import *import, struct error *err)
{
    const char *model = import->def->model;
    return !model[0] || moe_load(model, &import->moe, NULL, err) || error_prefix(err, "--model");
}

bool trace_import(const struct import_def *def, struct import_report *report, struct error *err)
{
    assert(def->input_count > 0);
    struct import import = {.def = def, .ranks = def->ranks};
    struct input *inputs = mem_alloc(def->input_count, sizeof *inputs);
    *report = (struct import_report){0};
    bool ok = load_model(&import, err);
    for (size_t i = 0; ok && i < def->input_count; i++)
        ok = open_input(&inputs[i], def, def->inputs[i], err);
    ok = ok && read_inputs(&import, inputs, report, err) && write_trace(&import, report, err);
    import_release(&import);
    for (size_t i = 0; i < def->input_count; i++) {
        mapped_release(&inputs[i].file);
        json_decref(inputs[i].json);
    }
    free(inputs);
    return ok;
}

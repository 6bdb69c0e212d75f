// TensorRT-LLM's expert statistics: a folder with meta_info.json and one rank<N>.safetensors a
// rank, a tensor "<iteration>_<layer>" each: counts [experts] of the rank's own tokens; or
// rank<N>_raw.safetensors with the choices [tokens, k] themselves, which are taken where they are
// there.
#include "base/mem.h"
#include "traces/importer.h"
#include "traces/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct statistics {
    struct import *import;
    char *folder;
    uint32_t experts, topk;
    bool raw;
};

// A tensor with what its name says.
struct entry {
    const struct tensor *tensor;
    uint64_t iteration;
    uint32_t layer;
};

static bool recognise_trtllm(const struct input *input)
{
    return import_folder_has(input->path, "meta_info.json") ||
           (json_object_get(input->json, "num_experts") &&
            json_object_get(input->json, "num_experts_per_token"));
}

// --- meta_info.json ----------------------------------------------------------------------------

static bool read_meta_number(const json_t *meta, const char *path, const char *key, uint32_t max,
                             uint32_t *value, struct error *err)
{
    const json_t *number = json_object_get(meta, key);
    const int64_t found = json_integer_value(number);
    if (!json_is_integer(number) || found < 1 || found > max)
        return error_set(err, EXIT_INPUT, "%s: %s: expected a number from 1 to %" PRIu32, path, key,
                         max);
    *value = (uint32_t)found;
    return true;
}

static bool load_meta(struct statistics *statistics, struct error *err)
{
    json_error_t where;
    char *path = mem_format("%s/meta_info.json", statistics->folder);
    json_t *meta = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    const bool ok =
        (meta || error_set(err, EXIT_INPUT, "%s:%d: %s", path, where.line, where.text)) &&
        read_meta_number(meta, path, "num_experts", MOE_MAX_EXPERTS, &statistics->experts, err) &&
        read_meta_number(meta, path, "num_experts_per_token", MOE_MAX_TOPK, &statistics->topk, err);
    json_decref(meta);
    free(path);
    return ok;
}

// --- a rank's file -----------------------------------------------------------------------------

// "<iteration>_<layer>", digits alone.
static bool parse_name(const char *name, struct entry *entry)
{
    char *end;
    if (*name < '0' || *name > '9' || strlen(name) > 24)
        return false;
    errno = 0;
    entry->iteration = strtoull(name, &end, 10);
    if (errno || *end != '_' || end[1] < '0' || end[1] > '9')
        return false;
    const unsigned long layer = strtoul(end + 1, &end, 10);
    entry->layer = (uint32_t)layer;
    return *end == '\0' && layer <= 10000;
}

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->iteration != y->iteration)
        return x->iteration < y->iteration ? -1 : 1;
    return x->layer < y->layer ? -1 : x->layer > y->layer;
}

static bool check_tensor(const struct statistics *statistics, const char *path,
                         const struct tensor *tensor, struct error *err)
{
    const struct npy *array = &tensor->array;
    const uint64_t width = statistics->raw ? statistics->topk : statistics->experts;
    const size_t dims = statistics->raw ? 2 : 1;
    if (npy_is_integer(array->type) && array->dims == dims && array->shape[dims - 1] == width)
        return true;
    return error_set(err, EXIT_INPUT,
                     "%s: %s: %s of %zu dimensions; expected integers %s%" PRIu64 "]", path,
                     tensor->name, npy_types[array->type].name, array->dims,
                     statistics->raw ? "[tokens, " : "[", width);
}

// Every tensor of the file, in order of iteration and layer.
static bool list_entries(const struct statistics *statistics, const char *path,
                         const struct safetensors *file, struct entry *entries, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < file->count; i++) {
        entries[i].tensor = &file->tensors[i];
        if (!parse_name(file->tensors[i].name, &entries[i]))
            return error_set(err, EXIT_INPUT, "%s: '%s': expected <iteration>_<layer>", path,
                             error_quote(file->tensors[i].name, quoted));
        if (!check_tensor(statistics, path, &file->tensors[i], err))
            return false;
    }
    qsort(entries, file->count, sizeof *entries, entry_order);
    for (size_t i = 1; i < file->count; i++)
        if (entry_order(&entries[i - 1], &entries[i]) == 0)
            return error_set(err, EXIT_INPUT, "%s: %s and %s are one place", path,
                             entries[i - 1].tensor->name, entries[i].tensor->name);
    return true;
}

// The layers of every iteration are those of the first one read.
static bool take_entry_layers(struct import *import, const char *path, const struct entry *entries,
                              size_t count, struct error *err)
{
    if (!import->layer_ids) {
        import->layer_ids = mem_alloc(count, sizeof *import->layer_ids);
        for (size_t i = 0; i < count; i++)
            import->layer_ids[i] = entries[i].layer;
        return true;
    }
    bool same = count == import->axis;
    for (size_t i = 0; same && i < count; i++)
        same = entries[i].layer == import->layer_ids[i];
    return same || error_set(err, EXIT_INPUT,
                             "%s: iteration %" PRIu64 ": other layers than %s has: expected the "
                             "same",
                             path, entries[0].iteration, import->pieces[0].name);
}

// One iteration of one rank.
static bool add_iteration(const struct statistics *statistics, const char *path, uint32_t rank,
                          const struct entry *entries, size_t count, struct error *err)
{
    struct import *import = statistics->import;
    const struct npy *first = &entries[0].tensor->array;
    const uint64_t shape[2] = {count, statistics->raw ? statistics->topk : statistics->experts};
    if (!take_entry_layers(import, path, entries, count, err))
        return false;
    char *name = mem_format("%s: iteration %" PRIu64, path, entries[0].iteration);
    struct piece *piece =
        import_add(import, statistics->raw ? IMPORT_CHOICES : IMPORT_COUNTS, name, shape, err);
    free(name);
    if (!piece)
        return false;
    piece->type = first->type;
    piece->rows = statistics->raw ? first->shape[0] : 1;
    piece->stride = shape[1];
    piece->step = entries[0].iteration;
    piece->rank = rank;
    for (size_t i = 0; i < count; i++) {
        const struct npy *array = &entries[i].tensor->array;
        piece->layers[i] = array->data;
        if (array->type != first->type || (statistics->raw && array->shape[0] != first->shape[0]))
            return error_set(err, EXIT_INPUT,
                             "%s: %s: another type or number of tokens than %s has", path,
                             entries[i].tensor->name, entries[0].tensor->name);
    }
    return true;
}

static bool add_iterations(const struct statistics *statistics, const char *path, uint32_t rank,
                           const struct safetensors *file, struct error *err)
{
    struct entry *entries = mem_alloc(file->count, sizeof *entries);
    bool ok = list_entries(statistics, path, file, entries, err);
    for (size_t first = 0, end; ok && first < file->count; first = end) {
        end = first + 1;
        while (end < file->count && entries[end].iteration == entries[first].iteration)
            end++;
        ok = add_iteration(statistics, path, rank, entries + first, end - first, err);
    }
    free(entries);
    return ok;
}

static bool read_rank_file(const struct statistics *statistics, const char *path, uint32_t rank,
                           struct error *err)
{
    struct mapped mapped;
    struct safetensors file;
    if (!mapped_open(&mapped, path, err))
        return false;
    import_own_map(statistics->import, mapped);
    if (!safetensors_open(&file, path, mapped.bytes, mapped.length, err))
        return false;
    const bool ok = add_iterations(statistics, path, rank, &file, err);
    safetensors_release(&file);
    return ok;
}

// --- the folder --------------------------------------------------------------------------------

static bool is_rank_file(const char *name, bool raw)
{
    if (strncmp(name, "rank", 4) != 0)
        return false;
    const char *digits = name + 4;
    const size_t count = strspn(digits, "0123456789");
    return count > 0 && !strcmp(digits + count, raw ? "_raw.safetensors" : ".safetensors");
}

// Files of the folder that are ranks' of the kind that is read, whatever their numbers.
static bool count_files(const struct statistics *statistics, uint32_t *files, struct error *err)
{
    DIR *folder = opendir(statistics->folder);
    if (!folder)
        return error_set(err, EXIT_INPUT, "%s: %s", statistics->folder, strerror(errno));
    *files = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        *files += is_rank_file(entry->d_name, statistics->raw);
    closedir(folder);
    return true;
}

static bool read_ranks(struct statistics *statistics, struct error *err)
{
    uint32_t files = 0;
    statistics->raw = import_folder_has(statistics->folder, "rank0_raw.safetensors");
    if (!count_files(statistics, &files, err))
        return false;
    if (files == 0)
        return error_set(err, EXIT_INPUT, "%s: no rank0.safetensors or rank0_raw.safetensors",
                         statistics->folder);
    for (uint32_t rank = 0; rank < files; rank++) {
        char *path = mem_format("%s/rank%" PRIu32 "%s.safetensors", statistics->folder, rank,
                                statistics->raw ? "_raw" : "");
        const bool ok =
            access(path, F_OK) == 0
                ? read_rank_file(statistics, path, rank, err)
                : error_set(err, EXIT_INPUT, "%s: missing, of %" PRIu32 " ranks numbered from 0",
                            path, files);
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_folder(struct import *import, const struct input *input, struct error *err)
{
    const char *slash = strrchr(input->path, '/');
    struct statistics statistics = {.import = import};
    if (import->count)
        return error_set(err, EXIT_INPUT, "%s: a second folder of statistics: expected one",
                         input->path);
    statistics.folder = input->folder ? mem_copy_text(input->path)
                        : slash       ? mem_format("%.*s", (int)(slash - input->path), input->path)
                                      : mem_copy_text(".");
    const bool ok = load_meta(&statistics, err) && read_ranks(&statistics, err);
    import->placed = import->ranked = true;
    import->experts = statistics.experts;
    import->topk = statistics.topk;
    free(statistics.folder);
    return ok;
}

const struct importer importer_trtllm = {"TensorRT-LLM expert statistics", recognise_trtllm,
                                         read_folder};

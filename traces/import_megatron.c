// Megatron-Core's expert-load dumps, one .npz a rank: `loads` [layers, forwards, experts] of the
// rank's own tokens, `layer_numbers` of the model from 1, `forward_counts` of each layer, behind
// which loads are not filled, ep_rank and ep_size (its ExpertLoadRecorder writes them).
#include "base/mem.h"
#include "traces/importer.h"
#include "traces/npz.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct dump {
    struct import *import;
    struct zip zip;
    struct npy loads, layers, forwards; // layers, forwards: [layers]
    uint64_t steps;                     // forwards that all layers have
    int64_t rank, ranks;
};

static bool recognise_megatron(const struct input *input)
{
    const struct mapped *file = &input->file;
    return file->length > 4 && !memcmp(file->bytes, "PK\3\4", 4) &&
           memmem(file->bytes, file->length, "loads.npy", 9) &&
           memmem(file->bytes, file->length, "layer_numbers.npy", 17);
}

// A member of so many dimensions, of integers.
static bool read_dump_array(struct dump *dump, const char *key, size_t dims, struct npy *array,
                            struct error *err)
{
    char *file = mem_format("%s.npy", key);
    const struct zip_member *member = zip_find(&dump->zip, file);
    void *owned = NULL;
    free(file);
    if (!member)
        return error_set(err, EXIT_INPUT, "%s: %s: missing", dump->zip.name, key);
    if (!npz_open(array, &dump->zip, member, err))
        return false;
    if (array->dims != dims || !npy_is_integer(array->type))
        return error_set(err, EXIT_INPUT, "%s: %s of %zu dimensions; expected integers of %zu",
                         array->path, npy_types[array->type].name, array->dims, dims);
    const bool ok = npz_read(array, &dump->zip, member, &owned, err);
    if (owned)
        import_own(dump->import, owned);
    return ok;
}

static bool read_dump_number(struct dump *dump, const char *key, int64_t *value, struct error *err)
{
    struct npy array = {0};
    bool ok = read_dump_array(dump, key, 0, &array, err);
    if (ok) {
        *value = npy_int(&array, 0);
        ok = (*value >= 0 && *value <= 1024) ||
             error_set(err, EXIT_INPUT, "%s: %" PRId64 ": expected 0 to 1,024", array.path, *value);
    }
    npy_release(&array);
    return ok;
}

static bool check_dump(struct dump *dump, struct error *err)
{
    const uint64_t *shape = dump->loads.shape;
    uint64_t steps = shape[1];
    bool even = true;
    if (dump->layers.shape[0] != shape[0] || dump->forwards.shape[0] != shape[0] || !shape[0])
        return error_set(err, EXIT_INPUT,
                         "%s: %" PRIu64 " layer_numbers and %" PRIu64 " forward_counts of %" PRIu64
                         " layers of loads",
                         dump->zip.name, dump->layers.shape[0], dump->forwards.shape[0], shape[0]);
    for (uint64_t l = 0; l < shape[0]; l++) {
        const int64_t layer = npy_int(&dump->layers, l), count = npy_int(&dump->forwards, l);
        if (layer < 1 || layer > 10000 || (l && layer <= npy_int(&dump->layers, l - 1)))
            return error_set(err, EXIT_INPUT, "%s: %" PRId64 ": expected layers from 1, ascending",
                             dump->layers.path, layer);
        if (count < 1 || (uint64_t)count > shape[1])
            return error_set(err, EXIT_INPUT, "%s: %" PRId64 ": expected 1 to %" PRIu64,
                             dump->forwards.path, count, shape[1]);
        even = even && (uint64_t)count == shape[1];
        steps = (uint64_t)count < steps ? (uint64_t)count : steps;
    }
    if (!even)
        notice("%s: %" PRIu64 " forwards that all layers have; the rest is left out",
               dump->zip.name, steps);
    dump->steps = steps;
    return true;
}

// All files of an import have the same layers.
static bool take_dump_layers(struct dump *dump, struct error *err)
{
    struct import *import = dump->import;
    const uint64_t count = dump->loads.shape[0];
    const bool first = !import->layer_ids;
    bool same = first || count == import->axis;
    if (first)
        import->layer_ids = mem_alloc(count, sizeof *import->layer_ids);
    for (uint64_t l = 0; same && l < count; l++) {
        const uint32_t id = (uint32_t)npy_int(&dump->layers, l) - 1;
        if (first)
            import->layer_ids[l] = id;
        same = import->layer_ids[l] == id;
    }
    return same || error_set(err, EXIT_INPUT, "%s: other layers than %s has: expected the same",
                             dump->zip.name, import->pieces[0].name);
}

static bool add_forward(struct dump *dump, uint64_t step, struct error *err)
{
    const uint64_t *shape = dump->loads.shape;
    const size_t row = shape[2] * npy_types[dump->loads.type].bytes;
    char *name = mem_format("%s: loads[:, %" PRIu64 "]", dump->zip.name, step);
    struct piece *piece =
        import_add(dump->import, IMPORT_COUNTS, name, (const uint64_t[]){shape[0], shape[2]}, err);
    free(name);
    if (!piece)
        return false;
    piece->type = dump->loads.type;
    piece->rows = 1;
    piece->step = step;
    piece->rank = (uint32_t)dump->rank;
    for (uint64_t l = 0; l < shape[0]; l++)
        piece->layers[l] = (const char *)dump->loads.data + (l * shape[1] + step) * row;
    return true;
}

static bool check_dump_rank(const struct dump *dump, struct error *err)
{
    for (size_t p = 0; p < dump->import->count; p++)
        if (dump->import->pieces[p].rank == dump->rank)
            return error_set(err, EXIT_INPUT,
                             "%s: EP rank %" PRId64 ", as %s: expected one file a "
                             "rank, of one EP group",
                             dump->zip.name, dump->rank, dump->import->pieces[p].name);
    return dump->rank < dump->ranks ||
           error_set(err, EXIT_INPUT, "%s: ep_rank %" PRId64 " of ep_size %" PRId64, dump->zip.name,
                     dump->rank, dump->ranks);
}

static bool read_dump(struct dump *dump, struct error *err)
{
    bool ok = read_dump_number(dump, "ep_rank", &dump->rank, err) &&
              read_dump_number(dump, "ep_size", &dump->ranks, err) && check_dump_rank(dump, err) &&
              read_dump_array(dump, "layer_numbers", 1, &dump->layers, err) &&
              read_dump_array(dump, "forward_counts", 1, &dump->forwards, err) &&
              read_dump_array(dump, "loads", 3, &dump->loads, err) && check_dump(dump, err) &&
              take_dump_layers(dump, err);
    for (uint64_t step = 0; ok && step < dump->steps; step++)
        ok = add_forward(dump, step, err);
    return ok;
}

static bool read_megatron(struct import *import, const struct input *input, struct error *err)
{
    struct dump dump = {.import = import};
    if (!zip_open(&dump.zip, input->path, input->file.bytes, input->file.length, err))
        return false;
    const bool ok = read_dump(&dump, err);
    import->placed = import->ranked = true;
    if (ok && (uint64_t)dump.ranks != import->def->input_count)
        notice("files of %zu of %" PRId64 " ranks: tokens of the others are missing",
               import->def->input_count, dump.ranks);
    npy_release(&dump.loads);
    npy_release(&dump.layers);
    npy_release(&dump.forwards);
    zip_release(&dump.zip);
    return ok;
}

const struct importer importer_megatron = {"Megatron-Core expert loads", recognise_megatron,
                                           read_megatron};

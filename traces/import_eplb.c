// vLLM's EPLB statistics: records of kind eplb_load_stats, one a step, with the load of every
// physical expert (slot) in every MoE layer and p2l_map, the logical expert of each; before them a
// record eplb_load_meta. Either the record says its kind (record_type) or has it for a key.
#include "base/mem.h"
#include "traces/records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATS "eplb_load_stats"
#define META "eplb_load_meta"

// The body of a record of that kind; NULL of another.
static const json_t *body_of(const json_t *record, const char *kind)
{
    const char *type = json_string_value(json_object_get(record, "record_type"));
    if (type)
        return strcmp(type, kind) ? NULL : record;
    return json_object_get(record, kind);
}

static bool recognise_eplb(const struct input *input)
{
    struct records records;
    struct error none;
    bool known = false;
    if (!input->lines && !input->json)
        return false;
    records_begin(&records, input);
    for (int i = 0; i < 8 && !known && records_next(&records, &none) && records.record; i++)
        known = body_of(records.record, STATS) || body_of(records.record, META);
    records_end(&records);
    return known;
}

// What records before said.
struct eplb {
    struct import *import;
    json_t *map;       // the last p2l_map
    int64_t redundant; // of the metadata; -1: not said
    uint64_t others;   // records of other kinds
};

static bool read_eplb_matrix(const struct eplb *eplb, const json_t *list, const char *name,
                             struct npy *array, struct error *err)
{
    return import_json_array(eplb->import, list, name, array, err) &&
           (array->dims == 2 ||
            error_set(err, EXIT_INPUT, "%s: %zu dimensions; expected [MoE layers][slots]", name,
                      array->dims));
}

// The highest expert of a map, plus one; 0 with an error for one out of range.
static uint32_t count_logical(const struct npy *map, struct error *err)
{
    int64_t max = -1;
    for (uint64_t i = 0; i < npy_count(map); i++) {
        const int64_t expert = npy_int(map, i);
        if (expert < -1 || expert >= MOE_MAX_EXPERTS) {
            error_set(err, EXIT_INPUT, "%s: expert %" PRId64 ": expected one below %d, or -1",
                      map->path, expert, MOE_MAX_EXPERTS);
            return 0;
        }
        max = expert > max ? expert : max;
    }
    if (max < 0)
        error_set(err, EXIT_INPUT, "%s: no experts in it", map->path);
    return (uint32_t)(max + 1);
}

// Loads of slots summed into those of their experts, in memory that the import owns.
static struct npy fold_slots(struct import *import, const struct npy *load, const struct npy *map,
                             uint32_t experts)
{
    const uint64_t layers = load->shape[0], slots = load->shape[1];
    int64_t *counts = import_own(import, mem_alloc(layers * experts, sizeof *counts));
    for (uint64_t l = 0; l < layers; l++)
        for (uint64_t s = 0; s < slots; s++) {
            const int64_t expert = npy_int(map, l * slots + s);
            // A sum that wraps is negative, or too large, and refused with the counts.
            if (expert >= 0)
                counts[l * experts + (uint64_t)expert] =
                    (int64_t)((uint64_t)counts[l * experts + (uint64_t)expert] +
                              (uint64_t)npy_int(load, l * slots + s));
        }
    return (struct npy){
        .path = load->path, .type = NPY_I64, .dims = 2, .shape = {layers, experts}, .data = counts};
}

static bool add_mapped(const struct eplb *eplb, const char *name, const struct npy *load,
                       struct error *err)
{
    struct npy map;
    char *place = mem_format("%s: p2l_map", name);
    bool ok = read_eplb_matrix(eplb, eplb->map, place, &map, err);
    if (ok && (map.shape[0] != load->shape[0] || map.shape[1] != load->shape[1]))
        ok = error_set(err, EXIT_INPUT,
                       "%s: [%" PRIu64 "][%" PRIu64 "]; expected [%" PRIu64 "][%" PRIu64
                       "], as expert_load",
                       place, map.shape[0], map.shape[1], load->shape[0], load->shape[1]);
    const uint32_t experts = ok ? count_logical(&map, err) : 0;
    if (experts) {
        const struct npy counts = fold_slots(eplb->import, load, &map, experts);
        ok = import_add_array(eplb->import, IMPORT_COUNTS, &counts, err);
    }
    free(place);
    return ok && experts;
}

static bool add_stats(const struct eplb *eplb, const json_t *stats, const char *record,
                      struct error *err)
{
    const json_t *list = json_object_get(stats, "expert_load");
    struct npy load;
    char *name = mem_format("%s: expert_load", record);
    bool ok = list ? read_eplb_matrix(eplb, list, name, &load, err)
                   : error_set(err, EXIT_INPUT, "%s: missing; expected [MoE layers][slots]", name);
    if (ok && eplb->map)
        ok = add_mapped(eplb, record, &load, err);
    else if (ok && (eplb->redundant == 0 || load.shape[1] == eplb->import->moe.experts))
        ok = import_add_array(eplb->import, IMPORT_COUNTS, &load, err);
    else if (ok)
        ok = error_set(err, EXIT_INPUT,
                       "%s: p2l_map: missing; expected the logical expert of each of %" PRIu64
                       " slots",
                       record, load.shape[1]);
    free(name);
    return ok;
}

static void take_meta(struct eplb *eplb, const json_t *meta)
{
    const json_t *redundant = json_object_get(meta, "num_redundant_experts");
    const int64_t ranks = json_integer_value(json_object_get(meta, "num_ranks"));
    if (json_is_integer(redundant))
        eplb->redundant = json_integer_value(redundant);
    if (!eplb->import->ranks && ranks > 0 && ranks <= 1024)
        eplb->import->ranks = (uint32_t)ranks;
}

static bool take_record(struct eplb *eplb, const struct records *records, struct error *err)
{
    const json_t *stats = body_of(records->record, STATS), *meta = body_of(records->record, META);
    const json_t *body = stats ? stats : meta;
    json_t *map = json_object_get(body, "p2l_map");
    if (body)
        take_meta(eplb, body);
    if (map) {
        json_decref(eplb->map);
        eplb->map = json_incref(map);
    }
    eplb->others += !body;
    return !stats || add_stats(eplb, stats, records->name, err);
}

static bool read_eplb(struct import *import, const struct input *input, struct error *err)
{
    struct eplb eplb = {.import = import, .redundant = -1};
    struct records records;
    bool ok;
    records_begin(&records, input);
    while ((ok = records_next(&records, err)) && records.record)
        if (!(ok = take_record(&eplb, &records, err)))
            break;
    records_end(&records);
    json_decref(eplb.map);
    if (ok && eplb.others)
        notice("%s: %" PRIu64 " records of other kinds than " STATS " left out", input->path,
               eplb.others);
    return ok;
}

const struct importer importer_eplb = {"vLLM EPLB statistics", recognise_eplb, read_eplb};

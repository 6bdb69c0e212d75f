#include "model/slow.h"

#include "base/mem.h"
#include "base/units.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MIN_SHARE 0.001
#define LATEST_PS 1e15 // 1,000 s, as for --skew-us

const char *const slow_key_names[] = {"nic", "nvlink", "compute", "late", NULL};

// What is being read: parts go to `slow`, and trouble to `err`.
struct slow_reader {
    struct slow *slow;
    const struct slow_place *place;
    struct error *err;
};

static bool overlaps(const struct slow_part *part, uint32_t first, uint32_t count)
{
    return part->first < first + count && first < part->first + part->count;
}

// The first part of which the key is said and that has any of the ranks; NULL: none.
static const struct slow_part *find_slow(const struct slow *slow, enum slow_key key, uint32_t first,
                                         uint32_t count)
{
    for (uint32_t p = 0; p < slow->count; p++)
        if (slow->parts[p].said[key] && overlaps(&slow->parts[p], first, count))
            return &slow->parts[p];
    return NULL;
}

static bool read_slow_share(const char *text, double *share, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    struct error inner;
    if (units_parse(UNIT_NUMBER, text, share, &inner) && *share >= MIN_SHARE && *share <= 1)
        return true;
    return error_set(err, EXIT_INPUT, "'%s': expected %g to 1, a share of the healthy rate",
                     error_quote(text, quoted), MIN_SHARE);
}

static bool read_slow_late(const char *text, uint64_t *late_ps, struct error *err)
{
    double value;
    if (!units_parse(UNIT_TIME, text, &value, err))
        return false;
    *late_ps = (uint64_t)value;
    return value <= LATEST_PS || error_set(err, EXIT_INPUT, "%s: expected at most 1000 s", text);
}

// A link that the cluster lacks cannot be slow.
static bool check_slow_link(const struct slow_place *place, enum slow_key key, struct error *err)
{
    if (key == SLOW_NIC && !place->nics)
        return error_set(err, EXIT_INPUT,
                         "the cluster has no NICs; expected nvlink, compute or "
                         "late");
    if (key == SLOW_NVLINK && !place->nvlink)
        return error_set(err, EXIT_INPUT,
                         "the cluster has no NVLink in use; expected nic, compute or late");
    return true;
}

static bool read_slow_key(const struct slow_reader *reader, struct slow_part *part,
                          const char *name, const char *value)
{
    char quoted[ERROR_QUOTE_BYTES];
    int key = 0;
    while (slow_key_names[key] && strcmp(slow_key_names[key], name))
        key++;
    if (key == SLOW_KEYS)
        return error_set(reader->err, EXIT_INPUT,
                         "'%s': unknown; expected nic, nvlink, compute or late",
                         error_quote(name, quoted));
    if (part->said[key])
        return error_set(reader->err, EXIT_INPUT, "%s: given twice; expected once", name);
    part->said[key] = true;
    if (!check_slow_link(reader->place, (enum slow_key)key, reader->err) ||
        !(key == SLOW_LATE ? read_slow_late(value, &part->late_ps, reader->err)
                           : read_slow_share(value, &part->share[key], reader->err)))
        return error_prefix(reader->err, "%s", name);
    return true;
}

// "gpu=5", "node=1" or "all": the ranks that the part is about.
static bool read_slow_place(const struct slow_reader *reader, struct slow_part *part,
                            const char *text)
{
    const struct slow_place *place = reader->place;
    const bool node = !strncmp(text, "node=", 5), gpu = !strncmp(text, "gpu=", 4);
    const char *digits = strchr(text, '=');
    const uint32_t max = node ? place->nodes : place->nodes * place->gpus_per_node;
    char quoted[ERROR_QUOTE_BYTES], *end;
    if (!strcmp(text, "all")) {
        part->count = place->nodes * place->gpus_per_node;
        return true;
    }
    if (!node && !gpu)
        return error_set(
            reader->err, EXIT_INPUT,
            "'%s': expected gpu=N, node=N or all, then what is slow, as in gpu=5:nic=0.5",
            error_quote(text, quoted));
    const bool number = isdigit((unsigned char)*++digits);
    const unsigned long index = strtoul(digits, &end, 10);
    if (!number || *end || index >= max)
        return error_set(reader->err, EXIT_INPUT, "'%s': expected 0 to %u, the cluster's %s",
                         error_quote(text, quoted), max - 1, node ? "nodes" : "GPUs");
    part->count = node ? place->gpus_per_node : 1;
    part->first = (uint32_t)index * part->count;
    return true;
}

// The same part may not be said twice, nor a NIC have two shares by two GPUs that use it.
static bool check_key_apart(const struct slow_reader *reader, const struct slow_part *part,
                            const struct slow_part *other, enum slow_key key)
{
    const uint32_t each = reader->place->gpus_per_node / reader->place->nic_ports; // GPUs of a NIC
    const uint32_t first = part->first / each * each;
    const uint32_t last = (part->first + part->count + each - 1) / each * each;
    if (!part->said[key] || !other->said[key])
        return true;
    if (overlaps(other, part->first, part->count))
        return error_set(reader->err, EXIT_INPUT,
                         "%s: given twice, of gpu%u too; expected once of a GPU",
                         slow_key_names[key], other->first);
    if (key == SLOW_NIC && overlaps(other, first, last - first) &&
        part->share[key] != other->share[key])
        return error_set(reader->err, EXIT_INPUT,
                         "nic: %g, and %g by gpu%u, which shares it; expected one share",
                         part->share[key], other->share[key], other->first);
    return true;
}

static bool check_part_apart(const struct slow_reader *reader, const struct slow_part *part)
{
    for (uint32_t p = 0; p < reader->slow->count; p++)
        for (int key = 0; key < SLOW_KEYS; key++)
            if (!check_key_apart(reader, part, &reader->slow->parts[p], (enum slow_key)key))
                return false;
    return true;
}

static bool read_slow_keys(const struct slow_reader *reader, struct slow_part *part, char *keys)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!keys || !*keys)
        return error_set(reader->err, EXIT_INPUT,
                         "expected what is slow after it, as in gpu=5:nic=0.5");
    for (char *value; (value = strsep(&keys, ":"));) {
        const char *key = strsep(&value, "=");
        if (!value)
            return error_set(reader->err, EXIT_INPUT, "'%s': expected a name and a share, nic=0.5",
                             error_quote(key, quoted));
        if (!read_slow_key(reader, part, key, value))
            return false;
    }
    return true;
}

static bool read_slow_part(const struct slow_reader *reader, char *keys)
{
    struct slow_part part = {.share = {1, 1, 1}};
    const char *text = strsep(&keys, ":");
    if (!read_slow_place(reader, &part, text))
        return false;
    if (reader->slow->count == SLOW_PARTS)
        return error_set(reader->err, EXIT_INPUT, "expected at most %d parts", SLOW_PARTS);
    if (!read_slow_keys(reader, &part, keys) || !check_part_apart(reader, &part))
        return error_prefix(reader->err, "%s", text);
    reader->slow->parts[reader->slow->count++] = part;
    return true;
}

bool slow_parse(struct slow *slow, const char *text, const struct slow_place *place,
                struct error *err)
{
    const struct slow_reader reader = {.slow = slow, .place = place, .err = err};
    *slow = (struct slow){0};
    if (!*text)
        return true;
    char *copy = mem_copy_text(text), *rest = copy;
    bool ok = true;
    for (char *part; ok && (part = strsep(&rest, ",+"));)
        ok = read_slow_part(&reader, part);
    free(copy);
    return ok;
}

// The same key is said once of a rank at most (check_part_apart).
double slow_share(const struct slow *slow, enum slow_key key, uint32_t first, uint32_t count)
{
    const struct slow_part *part = find_slow(slow, key, first, count);
    return part ? part->share[key] : 1;
}

uint64_t slow_late_ps(const struct slow *slow, uint32_t rank)
{
    const struct slow_part *part = find_slow(slow, SLOW_LATE, rank, 1);
    return part ? part->late_ps : 0;
}

bool slow_says(const struct slow *slow, enum slow_key key)
{
    return find_slow(slow, key, 0, UINT32_MAX) != NULL;
}

#include "study/part.h"

#include "base/rng.h"

#include <stdio.h>
#include <string.h>

#define MAX_PARTS 1000

bool part_parse(struct part *part, const char *text, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    unsigned k, n;
    int end = 0;
    if (sscanf(text, "%4u/%4u%n", &k, &n, &end) == 2 && !text[end] && k >= 1 && k <= n &&
        n <= MAX_PARTS) {
        part->part = k;
        part->parts = n;
        return true;
    }
    return error_set(err, EXIT_INPUT, "'%s': expected a part such as 1/3, of at most %d",
                     error_quote(text, quoted), MAX_PARTS);
}

#define FNV_PRIME 0x100000001b3u // FNV-1a

static uint64_t add_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * FNV_PRIME;
    return hash;
}

static uint32_t part_of(const struct part *part, const struct measured_row *row)
{
    uint64_t hash = add_text(add_text(add_text(0xcbf29ce484222325u, row->cluster), row->dispatcher),
                             row->traffic);
    const uint64_t numbers[] = {row->nodes,  row->gpus_per_node,  row->experts,        row->topk,
                                row->hidden, row->tokens_per_gpu, row->bytes_per_rank, row->sms};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        hash = (hash ^ numbers[i]) * FNV_PRIME;
    if (row->phase == PHASE_KERNEL) // a point each
        hash = add_text(hash, row->id);
    struct rng rng = rng_stream(part->seed, (uint32_t)hash, (uint32_t)(hash >> 32), 0);
    return rng_below(&rng, part->parts) + 1;
}

static bool is_in_part(const struct measured_row *row, const void *context)
{
    const struct part *part = context;
    return (part_of(part, row) == part->part) != part->except;
}

bool part_keep(const struct part *part, struct measured *measured, struct error *err)
{
    return !part->part || measured_keep(measured, is_in_part, part) > 0 ||
           error_set(err, EXIT_INPUT, "%s: no row is in that part", measured->path);
}

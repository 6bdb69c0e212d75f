#include "real/agree.h"

#include <assert.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#define PARTS_MAX (OPTIONS_MAX + 16)

// What must be alike, by a hash of each part.
struct agreement {
    size_t count;
    char what[PARTS_MAX][OPTION_FLAG_BYTES];
    uint64_t hash[PARTS_MAX]; // 0 after the last
};

// --- hashes: FNV-1a ------------------------------------------------------------------------------

#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    return mix_bytes(hash, text, strlen(text) + 1);
}

static uint64_t mix_words(uint64_t hash, const uint32_t *words, size_t count)
{
    return mix_bytes(hash, words, count * sizeof *words);
}

static uint64_t hash_fields(const struct field *fields, size_t count, const void *object)
{
    char text[FIELD_TEXT_BYTES];
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < count; i++)
        hash = mix_text(mix_text(hash, fields[i].key), field_exact(&fields[i], object, text));
    return hash;
}

// --- comparing -----------------------------------------------------------------------------------

static void add_part(struct agreement *agreement, const char *what, uint64_t hash)
{
    assert(agreement->count < PARTS_MAX);
    snprintf(agreement->what[agreement->count], OPTION_FLAG_BYTES, "%s", what);
    agreement->hash[agreement->count++] = hash;
}

// All hashes travel, so that ranks of other parts exchange as many.
static bool hold_agreement(const struct world *world, const struct agreement *own,
                           struct error *err)
{
    uint64_t first[PARTS_MAX];
    size_t part = 0;
    memcpy(first, own->hash, sizeof first);
    MPI_Bcast(first, PARTS_MAX, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    while (part < PARTS_MAX && own->hash[part] == first[part])
        part++;
    if (part < PARTS_MAX)
        error_set(err, EXIT_INPUT,
                  "rank %u: %s differs from rank 0's: expected the same on all ranks", world->rank,
                  own->what[part]);
    return world_agrees(world, part == PARTS_MAX, err);
}

// --- the command line ----------------------------------------------------------------------------

// Flags that name a preset or a file, or follow from others.
static bool is_resolved_later(const char *key)
{
    static const char *const keys[] = {"model", "cluster", "dispatcher", "layout", "trace", "ep"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

// Files that all ranks help to write, wherever each says they go.
static bool is_shared_output(const char *key)
{
    return !strcmp(key, "write_trace") || !strcmp(key, "timeline");
}

static void add_option(struct agreement *agreement, const struct option_place *place,
                       const struct real_options *options)
{
    const struct field *field = &place->row->field;
    char flag[OPTION_FLAG_BYTES], text[FIELD_TEXT_BYTES];
    const bool shared = is_shared_output(field->key);
    if (is_resolved_later(field->key) ||
        (!strcmp(place->group->heading, HEADING_OUTPUT) && !shared))
        return;
    field_exact(field, (const char *)options + place->offset, text);
    add_part(agreement, options_flag(field->key, flag),
             mix_text(HASH_START, shared ? (text[0] ? "given" : "") : text));
}

bool agree_options(const struct world *world, const struct real_options *options, struct error *err)
{
    const struct option_table *table = options->line.table;
    struct agreement agreement = {0};
    struct option_place place;
    add_part(&agreement, "the command", mix_text(HASH_START, table->program));
    for (size_t i = 0; (place = options_at(table, i)).row; i++)
        add_option(&agreement, &place, options);
    return hold_agreement(world, &agreement, err);
}

// --- what was resolved ---------------------------------------------------------------------------

static uint64_t hash_layout(const struct layout *layout)
{
    const uint32_t sizes[] = {layout->experts, layout->ranks, layout->slots};
    uint64_t hash = mix_words(HASH_START, sizes, sizeof sizes / sizeof *sizes);
    hash = mix_words(hash, layout->slot_expert, layout->slots);
    return mix_words(hash, layout->slot_rank, layout->slots);
}

static uint64_t hash_routing(const struct layer_setup *setup)
{
    const struct routing *routing = &setup->scenario->routing;
    const uint32_t words[] = {setup->router,           routing->rule,
                              routing->experts,        routing->topk,
                              routing->groups,         routing->topk_groups,
                              routing->ranks,          routing->layer,
                              (uint32_t)routing->seed, (uint32_t)(routing->seed >> 32)};
    return mix_words(HASH_START, words, sizeof words / sizeof *words);
}

// Choices of each rank's first token: another trace of the same shape has others. All of them would
// make every rank read all that the job reads.
static uint64_t hash_trace(const struct layer_setup *setup)
{
    const struct routing *routing = &setup->scenario->routing;
    const uint32_t recorded = setup->weights != NULL;
    uint64_t hash = mix_words(HASH_START, &recorded, 1);
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t r = 0; setup->scenario->view && r < routing->ranks; r++) {
        if (routing->tokens[r] == 0)
            continue;
        routing_row(routing, r, 0, ids);
        hash = mix_bytes(hash, ids, routing->topk * sizeof *ids);
    }
    return hash;
}

// A difference in one often makes others of those below it.
bool agree_setup(const struct world *world, const struct layer_setup *setup, struct error *err)
{
    const struct scenario *scenario = setup->scenario;
    const struct cost_model *costs = scenario->dispatcher.cost_model;
    struct agreement agreement = {0};
    add_part(&agreement, "--cluster",
             hash_fields(cluster_fields, cluster_field_count, &scenario->cluster));
    add_part(&agreement, "--model", hash_fields(moe_fields, moe_field_count, &scenario->moe));
    add_part(&agreement, "--tokens",
             mix_words(HASH_START, scenario->routing.tokens, scenario->routing.ranks));
    add_part(&agreement, "--trace", hash_trace(setup));
    add_part(&agreement, "--routing", hash_routing(setup));
    add_part(&agreement, "--layout", hash_layout(scenario->layout));
    add_part(&agreement, "--dispatcher",
             hash_fields(costs->fields, costs->field_count, &scenario->dispatcher));
    return hold_agreement(world, &agreement, err);
}

bool agree_cluster(const struct world *world, const struct cluster *cluster, struct error *err)
{
    struct agreement agreement = {0};
    add_part(&agreement, "--cluster", hash_fields(cluster_fields, cluster_field_count, cluster));
    return hold_agreement(world, &agreement, err);
}

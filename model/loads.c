#include "model/loads.h"

#include "base/mem.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

const char *const loads_kind_names[] = {"auto", "counted", "expected", NULL};

double loads_sum(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

double loads_received(const double *copies, size_t ranks, size_t rank)
{
    double received = 0;
    for (size_t source = 0; source < ranks; source++)
        received += copies[source * ranks + rank];
    return received;
}

void loads_init(struct loads *loads, uint32_t ranks, uint32_t nodes, uint32_t slots)
{
    assert(nodes > 0 && ranks % nodes == 0);
    *loads = (struct loads){.ranks = ranks, .nodes = nodes, .slots = slots};
    loads->tokens = mem_alloc(ranks, sizeof(double));
    loads->expert_copies = mem_alloc((size_t)ranks * ranks, sizeof(double));
    loads->rank_copies = mem_alloc((size_t)ranks * ranks, sizeof(double));
    loads->node_copies = mem_alloc((size_t)ranks * nodes, sizeof(double));
    loads->slot_tokens = mem_alloc(slots, sizeof(double));
}

void loads_copy(struct loads *copy, const struct loads *loads)
{
    const size_t ranks = loads->ranks, pairs = ranks * ranks;
    *copy = *loads;
    copy->tokens = mem_copy(loads->tokens, ranks * sizeof(double));
    copy->expert_copies = mem_copy(loads->expert_copies, pairs * sizeof(double));
    copy->rank_copies = mem_copy(loads->rank_copies, pairs * sizeof(double));
    copy->node_copies = mem_copy(loads->node_copies, ranks * loads->nodes * sizeof(double));
    copy->slot_tokens = mem_copy(loads->slot_tokens, loads->slots * sizeof(double));
}

void loads_release(struct loads *loads)
{
    free(loads->tokens);
    free(loads->expert_copies);
    free(loads->rank_copies);
    free(loads->node_copies);
    free(loads->slot_tokens);
    *loads = (struct loads){0};
}

// What one source rank's tokens ask for; private to the thread that counts them.
struct source_count {
    uint32_t *experts, *ranks, *nodes, *slots; // counts
    uint64_t dropped;
    uint64_t *rank_stamp, *node_stamp; // last token that reached it
};

static struct source_count *source_count_new(const struct layout *layout, uint32_t nodes)
{
    struct source_count *count = mem_alloc(1, sizeof *count);
    count->experts = mem_alloc(layout->ranks, sizeof(uint32_t));
    count->ranks = mem_alloc(layout->ranks, sizeof(uint32_t));
    count->nodes = mem_alloc(nodes, sizeof(uint32_t));
    count->slots = mem_alloc(layout->slots, sizeof(uint32_t));
    count->rank_stamp = mem_alloc(layout->ranks, sizeof(uint64_t));
    count->node_stamp = mem_alloc(nodes, sizeof(uint64_t));
    return count;
}

static void source_count_free(struct source_count *count)
{
    free(count->experts);
    free(count->ranks);
    free(count->nodes);
    free(count->slots);
    free(count->rank_stamp);
    free(count->node_stamp);
    free(count);
}

static void count_token(struct source_count *count, const struct layout *layout,
                        uint32_t gpus_per_node, uint32_t token, const uint16_t *ids, uint32_t topk)
{
    const uint64_t stamp = (uint64_t)token + 1;
    for (uint32_t k = 0; k < topk; k++) {
        if (ids[k] == ROUTING_DROPPED) {
            count->dropped++;
            continue;
        }
        const uint32_t slot = layout_slot(layout, ids[k], token);
        const uint32_t rank = layout->slot_rank[slot], node = rank / gpus_per_node;
        count->slots[slot]++;
        count->experts[rank]++;
        count->ranks[rank] += count->rank_stamp[rank] != stamp;
        count->nodes[node] += count->node_stamp[node] != stamp;
        count->rank_stamp[rank] = count->node_stamp[node] = stamp;
    }
}

static void store_source(struct loads *loads, const struct source_count *count, uint32_t source)
{
    for (uint32_t r = 0; r < loads->ranks; r++) {
        loads->expert_copies[(size_t)source * loads->ranks + r] = count->experts[r];
        loads->rank_copies[(size_t)source * loads->ranks + r] = count->ranks[r];
    }
    for (uint32_t n = 0; n < loads->nodes; n++)
        loads->node_copies[(size_t)source * loads->nodes + n] = count->nodes[n];
}

static void add_served(struct loads *loads, const struct source_count *count)
{
    for (uint32_t s = 0; s < loads->slots; s++)
        loads->slot_tokens[s] += count->slots[s];
    loads->dropped += (double)count->dropped;
}

static struct source_count *count_source(const struct routing *routing, const struct layout *layout,
                                         uint32_t nodes, uint32_t source)
{
    struct source_count *count = source_count_new(layout, nodes);
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t t = 0; t < routing->tokens[source]; t++) {
        routing_row(routing, source, t, ids);
        count_token(count, layout, layout->ranks / nodes, t, ids, routing->topk);
    }
    return count;
}

void loads_count(struct loads *loads, const struct routing *routing, const struct layout *layout,
                 uint32_t nodes)
{
    assert(routing->ranks == layout->ranks && routing->experts == layout->experts);
    loads_init(loads, layout->ranks, nodes, layout->slots);
    loads->topk = routing->topk;
    // The rule balanced gives ranks of as many tokens the same: counted once.
    struct source_count *first =
        routing->rule == ROUTING_BALANCED ? count_source(routing, layout, nodes, 0) : NULL;
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(loads, routing, layout, nodes, first)
    for (uint32_t source = 0; source < loads->ranks; source++) {
        const bool known = first && routing->tokens[source] == routing->tokens[0];
        struct source_count *count = known ? first : count_source(routing, layout, nodes, source);
        loads->tokens[source] = routing->tokens[source];
        store_source(loads, count, source);
#pragma omp critical
        add_served(loads, count); // whole numbers: any order adds up the same
        if (!known)
            source_count_free(count);
    }
    if (first)
        source_count_free(first);
}

double loads_miss_probability(uint32_t experts, uint32_t topk, double group)
{
    if (group > (double)experts - topk)
        return 0;
    double miss = 1;
    for (uint32_t k = 0; k < topk; k++)
        miss *= (experts - group - k) / (double)(experts - k);
    return miss;
}

double loads_chance_of_any(const struct loads *loads, double copies, double tokens)
{
    if (!loads->expected || copies <= 0)
        return copies > 0;
    return copies < tokens ? 1 - exp(tokens * log1p(-copies / tokens)) : 1;
}

double loads_choices_variance(const struct loads *loads, uint32_t source, uint32_t rank)
{
    const size_t pair = (size_t)source * loads->ranks + rank;
    const double hits = loads->rank_copies[pair], tokens = loads->tokens[source];
    if (hits <= 0)
        return 0;
    const double each = loads->expert_copies[pair] / hits;
    return hits * (fmax(0, each - 1) + fmax(0, 1 - hits / tokens) * each * each);
}

static double chance_all_below(double at, const double *means, const double *sds, uint32_t count)
{
    double all = 1;
    for (uint32_t i = 0; i < count && all > 0; i++)
        all *= sds[i] > 0 ? gsl_cdf_ugaussian_P((at - means[i]) / sds[i]) : means[i] <= at;
    return all;
}

// No maximum is below the largest mean less 3 of its standard deviations, or so seldom that it does
// not matter, nor 5 of the widest above it. By the midpoint rule.
#define LATEST_STEPS 64
double loads_expected_latest(const double *means, const double *sds, uint32_t count)
{
    double low = -INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        low = fmax(low, means[i] - 3 * sds[i]);
        high = fmax(high, means[i] + 5 * sds[i]);
    }
    const double step = (high - low) / LATEST_STEPS;
    double latest = low;
    for (int s = 0; s < LATEST_STEPS && step > 0; s++)
        latest += step * (1 - chance_all_below(low + (s + 0.5) * step, means, sds, count));
    return latest;
}

double loads_expected_max(double mean, double sd, double n)
{
    if (n <= 1)
        return mean;
    return mean + sd * gsl_cdf_ugaussian_Pinv((n - 0.375) / (n + 0.25));
}

// How often one token of any rank reaches each rank, node and slot.
struct hit_rates {
    double *rank, *node, *expert; // probability a rank, a node; mean choices a rank
    double *slot;                 // mean tokens a slot
};

// After how many tokens replicas' turns repeat, as far as it matters.
#define MAX_TURNS 840
static uint32_t turns_of(const struct layout *layout)
{
    uint32_t turns = 1;
    for (uint32_t e = 0; e < layout->experts; e++) {
        uint32_t whole = turns;
        while (whole % layout_replicas(layout, e))
            whole += turns;
        if (whole > MAX_TURNS)
            return MAX_TURNS;
        turns = whole;
    }
    return turns;
}

// Adds the chances of a token in one turn, when each expert has one slot that serves it.
static void add_turn(struct hit_rates *rates, const struct routing *routing,
                     const struct layout *layout, uint32_t nodes, uint32_t turn, double weight)
{
    const uint32_t per_node = layout->ranks / nodes;
    double node_held = 0;
    for (uint32_t r = 0; r < layout->ranks; r++) {
        double held = 0;
        for (uint32_t s = layout->rank_slot[r]; s < layout->rank_slot[r + 1]; s++)
            held += layout_slot(layout, layout->slot_expert[s], turn) == s;
        rates->rank[r] +=
            weight * (1 - loads_miss_probability(routing->experts, routing->topk, held));
        node_held += held;
        if ((r + 1) % per_node)
            continue;
        rates->node[r / per_node] +=
            weight * (1 - loads_miss_probability(routing->experts, routing->topk, node_held));
        node_held = 0;
    }
}

// Replicas all take turns by the token's index, so a rank's chances are the mean over turns.
static void uniform_rates(struct hit_rates *rates, const struct routing *routing,
                          const struct layout *layout, uint32_t nodes)
{
    const uint32_t turns = turns_of(layout);
    for (uint32_t turn = 0; turn < turns; turn++)
        add_turn(rates, routing, layout, nodes, turn, 1.0 / turns);
}

// Under every rule all experts are alike.
static void slot_rates(struct hit_rates *rates, const struct routing *routing,
                       const struct layout *layout)
{
    for (uint32_t s = 0; s < layout->slots; s++) {
        const uint32_t replicas = layout_replicas(layout, layout->slot_expert[s]);
        rates->slot[s] = (double)routing->topk / routing->experts / replicas;
        rates->expert[layout->slot_rank[s]] += rates->slot[s];
    }
}

// The experts of 4,096 tokens under a group-limited rule: shape in, ids out. The last shape's are
// kept for the process: a sweep asks for one shape many times.
#define SAMPLE_TOKENS 4096
#define SAMPLE_SEED 20250225 // of the table alone, never the user's
static struct routing sampled_shape;
static uint16_t *sampled_ids; // [SAMPLE_TOKENS * topk]
static pthread_mutex_t sample_lock = PTHREAD_MUTEX_INITIALIZER;

static bool serves_shape(const struct routing *a, const struct routing *b)
{
    return a->rule == b->rule && a->experts == b->experts && a->topk == b->topk &&
           a->groups == b->groups && a->topk_groups == b->topk_groups;
}

static void draw_sample(const struct routing *routing)
{
    sampled_shape = *routing;
    sampled_shape.seed = SAMPLE_SEED;
    sampled_shape.layer = 0;
    free(sampled_ids);
    sampled_ids = mem_alloc((size_t)SAMPLE_TOKENS * routing->topk, sizeof *sampled_ids);
    for (uint32_t t = 0; t < SAMPLE_TOKENS; t++)
        routing_row(&sampled_shape, 0, t, sampled_ids + (size_t)t * routing->topk);
}

// Copies for each choice are what is sampled; how many choices there are is known.
static void take_sampled(struct hit_rates *rates, const struct source_count *count,
                         const struct layout *layout, uint32_t nodes)
{
    const uint32_t per_node = layout->ranks / nodes;
    for (uint32_t n = 0; n < nodes; n++) {
        double choices = 0, sampled = 0;
        for (uint32_t r = n * per_node; r < (n + 1) * per_node; r++) {
            choices += rates->expert[r];
            sampled += count->experts[r];
            rates->rank[r] =
                count->experts[r] ? rates->expert[r] * count->ranks[r] / count->experts[r] : 0;
        }
        rates->node[n] = sampled > 0 ? choices * count->nodes[n] / sampled : 0;
    }
}

static void sampled_rates(struct hit_rates *rates, const struct routing *routing,
                          const struct layout *layout, uint32_t nodes)
{
    struct source_count *count = source_count_new(layout, nodes);
    pthread_mutex_lock(&sample_lock);
    if (!sampled_ids || !serves_shape(&sampled_shape, routing))
        draw_sample(routing);
    for (uint32_t t = 0; t < SAMPLE_TOKENS; t++)
        count_token(count, layout, layout->ranks / nodes, t,
                    sampled_ids + (size_t)t * routing->topk, routing->topk);
    pthread_mutex_unlock(&sample_lock);
    take_sampled(rates, count, layout, nodes);
    source_count_free(count);
}

static void level(double *values, uint32_t count)
{
    const double mean = loads_sum(values, count) / count;
    for (uint32_t i = 0; i < count; i++)
        values[i] = mean;
}

// Ranks of a layout without replicas and with equal shares are alike under every rule: the table's
// sampling noise between them is averaged out.
static void level_rates(struct hit_rates *rates, const struct layout *layout, uint32_t nodes)
{
    if (layout->slots != layout->experts || layout->experts % layout->ranks)
        return;
    level(rates->rank, layout->ranks);
    level(rates->node, nodes);
}

void loads_expect(struct loads *loads, const struct routing *routing, const struct layout *layout,
                  uint32_t nodes)
{
    if (!routing_is_drawn(routing->rule)) {
        loads_count(loads, routing, layout, nodes);
        return;
    }
    struct hit_rates rates = {.rank = mem_alloc(layout->ranks, sizeof(double)),
                              .expert = mem_alloc(layout->ranks, sizeof(double)),
                              .node = mem_alloc(nodes, sizeof(double)),
                              .slot = mem_alloc(layout->slots, sizeof(double))};
    const bool closed = routing->rule == ROUTING_UNIFORM || routing->topk_groups == routing->groups;
    loads_init(loads, layout->ranks, nodes, layout->slots);
    loads->topk = routing->topk;
    loads->expected = true;
    slot_rates(&rates, routing, layout);
    (closed ? uniform_rates : sampled_rates)(&rates, routing, layout, nodes);
    if (!closed)
        level_rates(&rates, layout, nodes);
    for (uint32_t source = 0; source < loads->ranks; source++) {
        const double tokens = routing->tokens[source];
        loads->tokens[source] = tokens;
        for (uint32_t r = 0; r < loads->ranks; r++) {
            loads->expert_copies[(size_t)source * loads->ranks + r] = tokens * rates.expert[r];
            loads->rank_copies[(size_t)source * loads->ranks + r] = tokens * rates.rank[r];
        }
        for (uint32_t n = 0; n < nodes; n++)
            loads->node_copies[(size_t)source * nodes + n] = tokens * rates.node[n];
        for (uint32_t s = 0; s < layout->slots; s++)
            loads->slot_tokens[s] += tokens * rates.slot[s];
    }
    free(rates.rank);
    free(rates.expert);
    free(rates.node);
    free(rates.slot);
}

void loads_fuse_shared(struct loads *loads, const struct layout *layout, uint32_t shared)
{
    const uint32_t per_node = loads->ranks / loads->nodes;
    double *slot_tokens = mem_alloc(loads->slots + loads->ranks * shared, sizeof *slot_tokens);
    uint32_t slot = 0;
    for (uint32_t r = 0; r < loads->ranks; r++) {
        const double tokens = loads->tokens[r];
        loads->expert_copies[(size_t)r * loads->ranks + r] += tokens * shared;
        loads->rank_copies[(size_t)r * loads->ranks + r] = tokens;
        loads->node_copies[(size_t)r * loads->nodes + r / per_node] = tokens;
        for (uint32_t s = layout->rank_slot[r]; s < layout->rank_slot[r + 1]; s++)
            slot_tokens[slot++] = loads->slot_tokens[s];
        for (uint32_t s = 0; s < shared; s++)
            slot_tokens[slot++] = tokens;
    }
    free(loads->slot_tokens);
    loads->slot_tokens = slot_tokens;
    loads->slots = slot;
    loads->topk += shared;
}

void loads_from_bytes(struct loads *loads, const uint64_t *bytes, uint32_t ranks, uint32_t nodes)
{
    loads_init(loads, ranks, nodes, 1);
    for (size_t i = 0; i < (size_t)ranks * ranks; i++)
        loads->rank_copies[i] = i % (ranks + 1) ? (double)bytes[i] : 0;
}

static double per_token(const struct loads *loads, const double *copies, size_t count)
{
    const double tokens = loads_sum(loads->tokens, loads->ranks);
    return tokens > 0 ? loads_sum(copies, count) / tokens : 0;
}

double loads_nodes_per_token(const struct loads *loads)
{
    return per_token(loads, loads->node_copies, (size_t)loads->ranks * loads->nodes);
}

double loads_ranks_per_token(const struct loads *loads)
{
    return per_token(loads, loads->rank_copies, (size_t)loads->ranks * loads->ranks);
}

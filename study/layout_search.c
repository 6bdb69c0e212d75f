#include "study/layout_search.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/routing.h"

#include <stdlib.h>
#include <string.h>

// A layout in the making, with what every token reaches under it.
struct state {
    const struct layout_search *search;
    uint32_t room, per_node, max; // slots a rank, ranks a node, replicas that an expert may have
    uint32_t *expert;             // [slots]
    uint32_t *replicas;           // [experts]
    uint32_t *slot_of;            // [experts * most] slots of an expert's replicas
    uint32_t *first, *token;      // [experts + 1] into token: tokens that choose each expert
    uint8_t *at_rank, *at_node;   // [tokens * ranks], [tokens * nodes]: a token's choices there
    uint8_t *part;                // [tokens] which of LAYOUT_PARTS
    uint32_t *weight;             // [experts] of one choice, in parts of LAYOUT_CHOICE
    struct layout_hits hits;
    struct rng rng;
};

// ---- tokens and what they reach ----------------------------------------------------------------

static void index_tokens(struct state *state)
{
    const struct layout_search *search = state->search;
    const size_t choices = (size_t)search->tokens * search->topk;
    const uint32_t experts = search->shape->experts;
    state->first = mem_alloc(experts + 1, sizeof *state->first);
    state->token = mem_alloc(choices, sizeof *state->token);
    for (size_t i = 0; i < choices; i++)
        if (search->ids[i] != ROUTING_DROPPED)
            state->first[search->ids[i] + 1]++;
    for (uint32_t e = 0; e < experts; e++)
        state->first[e + 1] += state->first[e];
    uint32_t *next = mem_copy(state->first, experts * sizeof *next);
    for (size_t i = 0; i < choices; i++)
        if (search->ids[i] != ROUTING_DROPPED)
            state->token[next[search->ids[i]]++] = (uint32_t)(i / search->topk);
    free(next);
}

// ---- what loads are expected to be again -------------------------------------------------------

// Over all experts, variance of their choices: summed over runs of tokens, `runs` of them, as if
// those were independent.
static double variance(const struct state *state, uint32_t runs)
{
    double squares = 0, parts[LAYOUT_PARTS];
    for (uint32_t e = 0; e < state->search->shape->experts; e++) {
        const double mean = (double)(state->first[e + 1] - state->first[e]) / runs;
        memset(parts, 0, sizeof parts);
        for (uint32_t i = state->first[e]; i < state->first[e + 1]; i++)
            parts[state->part[state->token[i]] * runs / LAYOUT_PARTS]++;
        for (uint32_t p = 0; p < runs; p++)
            squares += (parts[p] - mean) * (parts[p] - mean) * runs / (runs - 1);
    }
    return squares;
}

static double load_of(const struct state *state, uint32_t expert)
{
    return (double)(state->first[expert + 1] - state->first[expert]);
}

// What loads differ by beyond their own sampling: the variance between experts, less `phi` times a
// load, which is that of one.
static double spread_of(const struct state *state, double mean, double phi)
{
    const uint32_t experts = state->search->shape->experts;
    double spread = 0;
    for (uint32_t e = 0; e < experts; e++) {
        const double off = load_of(state, e) - mean;
        spread += (off * off - phi * load_of(state, e)) / experts;
    }
    return spread > 0 ? spread : 0;
}

#define LONG_RUNS 16

// Loads of a sample are spread wider than what they are samples of: each is expected to come back
// nearer to their mean, by the share of its own sampling variance (empirical Bayes, after Efron and
// Morris 1975). That variance is told from long runs, in which texts begin and end.
static void expect_loads(struct state *state)
{
    const uint32_t experts = state->search->shape->experts;
    const double mean = (double)state->first[experts] / experts;
    const double sampled = variance(state, LONG_RUNS), fine = variance(state, LAYOUT_PARTS);
    const double phi = mean > 0 ? sampled / (mean * experts) : 0;
    const double spread = spread_of(state, mean, phi);
    state->weight = mem_alloc(experts, sizeof *state->weight);
    state->hits.dispersion = fine > 0 ? sampled / fine : 1;
    for (uint32_t e = 0; e < experts; e++) {
        const double load = load_of(state, e), noise = phi * load;
        const double kept = noise > 0 ? spread / (spread + noise) : 1;
        if (load > 0)
            state->weight[e] = (uint32_t)(LAYOUT_CHOICE * (mean + kept * (load - mean)) / load);
    }
}

static uint32_t rank_of(const struct state *state, uint32_t slot)
{
    return slot / state->room;
}

static void tally_add(struct layout_tally *tally, uint8_t part)
{
    tally->count++;
    tally->squares += 2 * tally->parts[part]++ + 1;
}

static void tally_drop(struct layout_tally *tally, uint8_t part)
{
    tally->count--;
    tally->squares -= 2 * --tally->parts[part] + 1;
}

static void arrive(struct state *state, uint32_t expert, uint32_t token, uint32_t rank)
{
    const struct placement_shape *shape = state->search->shape;
    const uint32_t node = rank / state->per_node;
    struct layout_rank_hits *hits = &state->hits.ranks[rank];
    hits->choices += state->weight[expert];
    tally_add(&hits->counted, state->part[token]);
    hits->tokens += state->at_rank[(size_t)token * shape->ranks + rank]++ == 0;
    if (state->at_node[(size_t)token * shape->nodes + node]++ == 0)
        tally_add(&state->hits.nodes[node], state->part[token]);
}

static void leave(struct state *state, uint32_t expert, uint32_t token, uint32_t rank)
{
    const struct placement_shape *shape = state->search->shape;
    const uint32_t node = rank / state->per_node;
    struct layout_rank_hits *hits = &state->hits.ranks[rank];
    hits->choices -= state->weight[expert];
    tally_drop(&hits->counted, state->part[token]);
    hits->tokens -= --state->at_rank[(size_t)token * shape->ranks + rank] == 0;
    if (--state->at_node[(size_t)token * shape->nodes + node] == 0)
        tally_drop(&state->hits.nodes[node], state->part[token]);
}

// Replicas take turns by the token's index.
static uint32_t server(const struct state *state, uint32_t expert, uint32_t token)
{
    const uint32_t replicas = state->replicas[expert];
    const uint32_t turn = replicas == 1 ? 0 : token % replicas;
    return rank_of(state, state->slot_of[(size_t)expert * state->max + turn]);
}

// Lets all tokens of an expert arrive, or leave.
static void each_token(struct state *state, uint32_t expert,
                       void (*go)(struct state *state, uint32_t expert, uint32_t token,
                                  uint32_t rank))
{
    for (uint32_t i = state->first[expert]; i < state->first[expert + 1]; i++)
        go(state, expert, state->token[i], server(state, expert, state->token[i]));
}

// ---- steps -------------------------------------------------------------------------------------

static uint32_t turn_of(const struct state *state, uint32_t slot)
{
    const uint32_t expert = state->expert[slot];
    uint32_t turn = 0;
    while (state->slot_of[(size_t)expert * state->max + turn] != slot)
        turn++;
    return turn;
}

// Moves one replica's tokens from its slot to another.
static void move(struct state *state, uint32_t expert, uint32_t turn, uint32_t slot)
{
    uint32_t *at = &state->slot_of[(size_t)expert * state->max + turn];
    const uint32_t from = rank_of(state, *at), to = rank_of(state, slot);
    const uint32_t replicas = state->replicas[expert];
    *at = slot;
    for (uint32_t i = state->first[expert]; i < state->first[expert + 1]; i++) {
        const uint32_t token = state->token[i];
        if (replicas > 1 && token % replicas != turn)
            continue;
        leave(state, expert, token, from);
        arrive(state, expert, token, to);
    }
}

static void swap(struct state *state, uint32_t a, uint32_t b)
{
    const uint32_t x = state->expert[a], y = state->expert[b];
    const uint32_t turn_x = turn_of(state, a), turn_y = turn_of(state, b);
    move(state, x, turn_x, b);
    move(state, y, turn_y, a);
    state->expert[a] = y;
    state->expert[b] = x;
}

// Gives a slot to another expert. `turn` is where its replica goes among the expert's, so that a
// step can be undone to the very same turns; the one that had it last goes to the end.
static uint32_t regive(struct state *state, uint32_t slot, uint32_t expert, uint32_t turn)
{
    const uint32_t loser = state->expert[slot], lost = turn_of(state, slot);
    uint32_t *of_loser = &state->slot_of[(size_t)loser * state->max];
    uint32_t *of_winner = &state->slot_of[(size_t)expert * state->max];
    each_token(state, loser, leave);
    each_token(state, expert, leave);
    of_loser[lost] = of_loser[--state->replicas[loser]];
    of_winner[state->replicas[expert]++] = of_winner[turn];
    of_winner[turn] = slot;
    state->expert[slot] = expert;
    each_token(state, loser, arrive);
    each_token(state, expert, arrive);
    return lost;
}

static bool held(const struct state *state, uint32_t rank, uint32_t expert)
{
    for (uint32_t i = 0; i < state->room; i++)
        if (state->expert[rank * state->room + i] == expert)
            return true;
    return false;
}

struct step {
    bool regives;
    uint32_t a, b;        // swap: slots; regive: slot, expert
    uint32_t loser, lost; // regive: who had it, and where
};

// Whether a slot may give its expert up for another one.
static bool redundant(const struct state *state, uint32_t slot, uint32_t expert)
{
    return state->replicas[state->expert[slot]] > 1 && state->replicas[expert] < state->max &&
           !held(state, rank_of(state, slot), expert);
}

// Every eighth step tries to give a slot to another expert, that of a slot drawn.
static bool draw(struct state *state, struct step *step)
{
    const uint32_t slots = state->search->shape->slots;
    step->a = rng_below(&state->rng, slots);
    const uint32_t other = rng_below(&state->rng, slots);
    const uint32_t x = state->expert[step->a], y = state->expert[other];
    step->regives = rng_below(&state->rng, 8) == 0 && redundant(state, step->a, y);
    step->b = step->regives ? y : other;
    if (step->regives)
        return true;
    const uint32_t p = rank_of(state, step->a), q = rank_of(state, other);
    return p != q && !held(state, q, x) && !held(state, p, y);
}

static void take(struct state *state, struct step *step)
{
    if (!step->regives) {
        swap(state, step->a, step->b);
        return;
    }
    step->loser = state->expert[step->a];
    step->lost = regive(state, step->a, step->b, state->replicas[step->b]);
}

static void undo(struct state *state, const struct step *step)
{
    if (!step->regives)
        swap(state, step->a, step->b);
    else
        regive(state, step->a, step->loser, step->lost);
}

// ---- the search --------------------------------------------------------------------------------

static void state_init(struct state *state, const struct layout_search *search,
                       const uint32_t *slot_expert)
{
    const struct placement_shape *shape = search->shape;
    *state = (struct state){.search = search,
                            .room = shape->slots / shape->ranks,
                            .per_node = shape->ranks / shape->nodes,
                            .max = shape->slots - shape->experts + 1,
                            .hits = {.tokens = search->tokens},
                            .rng = rng_stream(search->seed, shape->slots, 0, 0)};
    state->expert = mem_copy(slot_expert, shape->slots * sizeof *slot_expert);
    state->replicas = mem_alloc(shape->experts, sizeof(uint32_t));
    state->slot_of = mem_alloc((size_t)shape->experts * state->max + 1, sizeof(uint32_t));
    state->at_rank = mem_alloc((size_t)search->tokens * shape->ranks, 1);
    state->at_node = mem_alloc((size_t)search->tokens * shape->nodes, 1);
    state->hits.ranks = mem_alloc(shape->ranks, sizeof *state->hits.ranks);
    state->hits.nodes = mem_alloc(shape->nodes, sizeof *state->hits.nodes);
    state->part = mem_alloc(search->tokens, 1);
    for (uint32_t t = 0; t < search->tokens; t++)
        state->part[t] = (uint8_t)((uint64_t)t * LAYOUT_PARTS / search->tokens);
    for (uint32_t slot = 0; slot < shape->slots; slot++) {
        const uint32_t e = slot_expert[slot];
        state->slot_of[(size_t)e * state->max + state->replicas[e]++] = slot;
    }
    index_tokens(state);
    expect_loads(state);
    for (uint32_t e = 0; e < shape->experts; e++)
        each_token(state, e, arrive);
}

static void state_release(struct state *state)
{
    free(state->expert);
    free(state->replicas);
    free(state->slot_of);
    free(state->first);
    free(state->token);
    free(state->weight);
    free(state->part);
    free(state->at_rank);
    free(state->at_node);
    free(state->hits.ranks);
    free(state->hits.nodes);
}

#define FIRST_THRESHOLD 2e-3 // of the cost

double layout_search(const struct layout_search *search, uint32_t *slot_expert)
{
    const size_t bytes = search->shape->slots * sizeof(uint32_t);
    struct state state;
    struct step step;
    state_init(&state, search, slot_expert);
    double cost = layout_cost_ps(search->cost, &state.hits), best = cost;
    for (uint32_t i = 0; i < search->steps; i++) {
        if (!draw(&state, &step))
            continue;
        take(&state, &step);
        const double now = layout_cost_ps(search->cost, &state.hits);
        const double left = 1 - (double)i / search->steps;
        if (now > cost * (1 + FIRST_THRESHOLD * left * left)) {
            undo(&state, &step);
            continue;
        }
        cost = now;
        if (cost < best) {
            best = cost;
            memcpy(slot_expert, state.expert, bytes);
        }
    }
    state_release(&state);
    return best;
}

#include "scenario/choice.h"

#include "base/mem.h"
#include "base/preset.h"
#include "model/engine/estimate.h"
#include "scenario/feasible.h"

#include <stdlib.h>
#include <string.h>

// Where rows stand behind nothing that the cluster could run, whose own errors then say why, and
// where no layer could be timed.
#define LAST_RESORT "deepep-normal"

// Tokens per rank that a decoding step may have, and that a chunk of prefill has at least.
#define DECODE_TOKENS 512   // vLLM's largest batch in a graph (VllmConfig._set_cudagraph_sizes)
#define PREFILL_TOKENS 2048 // vLLM's DEFAULT_MAX_NUM_BATCHED_TOKENS

// ---- candidates --------------------------------------------------------------------------------

static bool has_candidate(const struct chooser *chooser, const char *name)
{
    for (size_t c = 0; c < chooser->count; c++)
        if (!strcmp(chooser->candidates[c].name, name))
            return true;
    return false;
}

// Whether there is such a dispatcher; says once that there is none.
static bool has_preset(const struct chooser *chooser, const char *name)
{
    const bool known = has_candidate(chooser, name) || preset_known("dispatchers", name);
    if (!known)
        notice("rows of dispatcher %s: no such preset; it is not among those to choose from", name);
    return known;
}

static bool add_candidate(struct chooser *chooser, const char *name, const struct cluster *cluster,
                          struct error *err)
{
    struct candidate candidate = {0};
    if (has_candidate(chooser, name))
        return true;
    if (!dispatcher_load(name, cluster, &candidate.dispatcher, NULL, err))
        return false;
    if (candidate.dispatcher.chunk_bytes)
        return true; // moves traffic matrices alone
    strcpy(candidate.name, name);
    chooser->candidates =
        mem_grow(chooser->candidates, chooser->count + 1, sizeof *chooser->candidates);
    chooser->candidates[chooser->count++] = candidate;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct candidate *)a)->name, ((const struct candidate *)b)->name);
}

// Rows that a reach finds: how many, and the tokens per rank that they span.
struct reached {
    size_t rows;
    uint32_t min_tokens, max_tokens;
};

// Whether a reach finds the row. The cluster's own are found once: no reach beyond adds them.
static bool is_reached(const struct backing *backing, const struct backing_row *row,
                       const struct cluster *cluster, enum backing_reach reach)
{
    return backing_holds(backing, row, cluster, reach) &&
           (reach == BACKING_CLUSTER || !backing_holds(backing, row, cluster, BACKING_CLUSTER));
}

static bool add_reached(struct chooser *chooser, const struct backing *backing,
                        const struct cluster *cluster, enum backing_reach reach,
                        struct reached *reached, struct error *err)
{
    *reached = (struct reached){.min_tokens = UINT32_MAX};
    for (size_t r = 0; r < backing->count; r++) {
        const struct backing_row *row = &backing->rows[r];
        if (!is_reached(backing, row, cluster, reach) || !has_preset(chooser, row->dispatcher))
            continue;
        if (!add_candidate(chooser, row->dispatcher, cluster, err))
            return false;
        reached->rows++;
        if (row->min_tokens < reached->min_tokens)
            reached->min_tokens = row->min_tokens;
        if (row->max_tokens > reached->max_tokens)
            reached->max_tokens = row->max_tokens;
    }
    if (chooser->count)
        qsort(chooser->candidates, chooser->count, sizeof *chooser->candidates, by_name);
    return true;
}

// Whether rows are of decoding and of prefill. Within a node the GPU decides, and another of its
// generation says more of one than its own rows of the other; across nodes the network does.
static bool is_enough(const struct reached *reached, const struct cluster *cluster)
{
    return reached->rows && (cluster->nodes > 1 || (reached->min_tokens <= DECODE_TOKENS &&
                                                    reached->max_tokens >= PREFILL_TOKENS));
}

// Whose rows a reach is, in words.
static void name_reach(const struct backing *backing, const struct cluster *cluster,
                       enum backing_reach reach, char text[FIELD_TEXT_BYTES])
{
    const char *architecture = backing_architecture(backing, cluster);
    const bool nodes = cluster->nodes > 1;
    char name[FIELD_TEXT_BYTES];
    const char *whose = reach == BACKING_ARCHITECTURE ? architecture
                        : reach == BACKING_VENDOR     ? backing_vendor(backing, architecture)->name
                        : reach == BACKING_ANY        ? "any GPU"
                        : !nodes && cluster->gpu[0]
                            ? cluster->gpu
                            : dispatcher_variant_name(VARIANT_CLUSTER, cluster, name);
    snprintf(text, FIELD_TEXT_BYTES, "%.200s %s", whose, nodes ? "across nodes" : "in one node");
}

static void say_beside(struct chooser *chooser, const struct backing *backing,
                       const struct cluster *cluster, const struct reached *own)
{
    char text[FIELD_TEXT_BYTES];
    name_reach(backing, cluster, BACKING_CLUSTER, text);
    if (!own->rows)
        snprintf(chooser->beside, sizeof chooser->beside, "no rows of %s; ", text);
    else if (own->min_tokens == own->max_tokens)
        snprintf(chooser->beside, sizeof chooser->beside, "rows of %s are of %u tokens alone; ",
                 text, own->min_tokens);
    else
        snprintf(chooser->beside, sizeof chooser->beside, "rows of %s are of %u to %u tokens; ",
                 text, own->min_tokens, own->max_tokens);
}

// From near to far, until there is enough.
static bool add_candidates(struct chooser *chooser, const struct backing *backing,
                           const struct cluster *cluster, struct error *err)
{
    struct reached own, reached;
    enum backing_reach reach = BACKING_CLUSTER;
    if (!add_reached(chooser, backing, cluster, reach, &own, err))
        return false;
    if (!is_enough(&own, cluster)) {
        do
            if (!add_reached(chooser, backing, cluster, ++reach, &reached, err))
                return false;
        while (!reached.rows && reach < BACKING_ANY);
        if (!reached.rows && own.rows)
            reach = BACKING_CLUSTER;
        say_beside(chooser, backing, cluster, &own);
    }
    name_reach(backing, cluster, reach, chooser->behind);
    return true;
}

bool chooser_open(struct chooser *chooser, const struct cluster *cluster, struct error *err)
{
    struct backing backing;
    *chooser = (struct chooser){0};
    const bool ok = backing_load(&backing, err) && add_candidates(chooser, &backing, cluster, err);
    backing_release(&backing);
    if (!ok)
        chooser_release(chooser);
    return ok;
}

void chooser_release(struct chooser *chooser)
{
    free(chooser->candidates);
    *chooser = (struct chooser){0};
}

// ---- what a layer takes ------------------------------------------------------------------------

// Contiguous where the scenario has none, which the caller releases.
static bool place_trial(struct scenario *trial, struct error *err)
{
    struct layout layout;
    const struct layout_wanted wanted = {.experts = trial->moe.experts,
                                         .ranks = cluster_ranks(&trial->cluster)};
    if (trial->layout)
        return true;
    if (!parts_load_layout(&layout, "contiguous", &wanted, err))
        return false;
    parts_set_layout(trial, mem_copy(&layout, sizeof layout));
    return true;
}

static void try_candidate(struct candidate *candidate, struct scenario *trial,
                          const struct loads *loads)
{
    struct schedule schedule;
    struct timing timing;
    struct error err;
    const uint32_t tokens = routing_max_tokens(&trial->routing);
    parts_set_dispatcher(trial, &candidate->dispatcher);
    candidate->beyond |= parts_max_tokens(&trial->dispatcher) < tokens;
    candidate->impossible = !parts_settle_dtypes(trial, &err);
    if (candidate->impossible)
        return;
    parts_schedule(trial, loads, &schedule);
    candidate->impossible = !schedule_feasible(&schedule, &err);
    if (!candidate->impossible) {
        engine_estimate.run(&schedule, &trial->run, &timing);
        candidate->layers_ps += timing_layer_ps(&timing);
        timing_release(&timing);
    }
    schedule_release(&schedule);
}

// Loads are the same under every dispatcher: expected, or a trace's.
void chooser_add(struct chooser *chooser, const struct scenario *scenario)
{
    struct scenario trial = *scenario; // for its parts alone
    struct loads loads;
    struct error err;
    trial.run.timeline = NULL;
    if (!place_trial(&trial, &err))
        return;
    chooser->added++;
    parts_make_loads(&trial, scenario->routing.rule != ROUTING_TRACE, &loads);
    for (size_t c = 0; c < chooser->count; c++)
        if (!chooser->candidates[c].impossible)
            try_candidate(&chooser->candidates[c], &trial, &loads);
    loads_release(&loads);
    if (trial.layout != scenario->layout)
        parts_release_layout(&trial);
}

// ---- the choice --------------------------------------------------------------------------------

// The shortest but for one (NULL: none); NULL where there is none.
static const struct candidate *shortest(const struct chooser *chooser, bool beyond,
                                        const struct candidate *but)
{
    const struct candidate *best = NULL;
    for (size_t c = 0; c < chooser->count; c++) {
        const struct candidate *candidate = &chooser->candidates[c];
        if (candidate != but && !candidate->impossible && (beyond || !candidate->beyond) &&
            (!best || candidate->layers_ps < best->layers_ps))
            best = candidate;
    }
    return best;
}

static size_t possible(const struct chooser *chooser, bool beyond)
{
    size_t count = 0;
    for (size_t c = 0; c < chooser->count; c++)
        count += !chooser->candidates[c].impossible && (beyond || !chooser->candidates[c].beyond);
    return count;
}

static void say_why(const struct chooser *chooser, const struct candidate *best, bool beyond,
                    const char *what, char why[CHOICE_WHY_BYTES])
{
    const struct candidate *next = shortest(chooser, beyond, best);
    if (next)
        snprintf(
            why, CHOICE_WHY_BYTES,
            "%sshortest layer by estimate%s%s of %zu with rows of %s; next %.100s, %.3g %% longer",
            chooser->beside, *what ? " over " : "", what, possible(chooser, beyond),
            chooser->behind, next->name, 100 * (next->layers_ps / best->layers_ps - 1));
    else if (possible(chooser, true) > 1)
        snprintf(why, CHOICE_WHY_BYTES,
                 "%sof %zu with rows of %s the only one that takes so many tokens", chooser->beside,
                 possible(chooser, true), chooser->behind);
    else
        snprintf(why, CHOICE_WHY_BYTES, "%sthe only one with rows of %s", chooser->beside,
                 chooser->behind);
}

void chooser_pick(const struct chooser *chooser, const char *what, struct choice *choice)
{
    const bool beyond = !shortest(chooser, false, NULL);
    const struct candidate *best = shortest(chooser, beyond, NULL);
    const bool untimed = chooser->count && !chooser->added;
    *choice = (struct choice){.dispatcher = LAST_RESORT};
    if (!best || untimed) {
        snprintf(choice->why, sizeof choice->why, "%s",
                 untimed ? "no layer could be laid out to choose by"
                         : "no rows stand behind any that this cluster could run");
        return;
    }
    strcpy(choice->dispatcher, best->name);
    say_why(chooser, best, beyond, what, choice->why);
}

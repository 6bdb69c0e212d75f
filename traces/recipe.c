#include "traces/recipe.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/object.h"
#include "base/preset.h"
#include "model/moe.h"

#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const loads_names[] = {"log-normal", "power-law", "hot-expert",
                                          "ranks",      "hot-rank",  NULL};

// clang-format off
#define ROW(member, sort, low, high, text)                                                         \
    {.key = #member, .kind = sort, .offset = offsetof(struct recipe, member), .min = low,          \
     .max = high, .help = text}
#define NUMBER(member, low, high, text) ROW(member, FIELD_NUMBER, low, high, text)
#define COUNT(member, low, high, text) ROW(member, FIELD_U32, low, high, text)

const struct field recipe_fields[] = {
    ROW(name, FIELD_TEXT, 0, 0, "name of the recipe"),
    ROW(model, FIELD_TEXT, 0, 0, "whose shape, where --model does not say"),
    {.key = "loads", .kind = FIELD_ENUM, .offset = offsetof(struct recipe, loads),
     .names = loads_names, .help = "where the loads of experts come from"},
    ROW(group_limit, FIELD_BOOL, 0, 0, "tokens keep to the best groups, if the model has them"),
    NUMBER(top_eighth_share, 0.125, 1, "log-normal: share of the load on the hottest eighth"),
    NUMBER(expert_max_mean, 0, MOE_MAX_EXPERTS,
           "log-normal: hottest expert's load over the mean; 0: as it comes"),
    NUMBER(skew, 0, 10, "exponent on the loads over their mean; 0: all alike"),
    NUMBER(alpha, 0, 10, "power-law: exponent of the density"),
    COUNT(power_tokens, 2, 1 << 24, "power-law: tokens; loads are drawn from 1 to 0.8 of them"),
    NUMBER(hot_share, 0, 1, "hot-expert, hot-rank: its share of the load"),
    COUNT(ranks, 1, MOE_MAX_EXPERTS, "ranks: that experts are laid out on, in order"),
    COUNT(domains, 1, 1024, "kinds of requests, all as frequent"),
    NUMBER(domain_sigma, 0, 5, "standard deviation of ln popularity between them"),
    COUNT(kinds, 1, 256,
          "kinds of tokens, all as frequent in every request, the same in all layers"),
    NUMBER(kind_sigma, 0, 5, "standard deviation of ln popularity between them"),
    NUMBER(kappa, 0, 1e9, "concentration of a request's Dirichlet around its domain; 0: no term"),
    NUMBER(stickiness, 0, 0.95, "probability that an expert's noise is kept to the next token"),
    COUNT(requests, 1, 1 << 24, "in flight at a time"),
    COUNT(chunk_tokens, 1, 1 << 24, "that each gives at its turn: 1 in decode"),
    NUMBER(request_tokens, 1, 1e9, "tokens of a request, median"),
    NUMBER(request_sigma, 0, 5, "standard deviation of their ln"),
    COUNT(request_least, 1, 1 << 30, "fewest tokens of a request"),
    COUNT(request_most, 1, 1 << 30, "most tokens of a request"),
    NUMBER(drift, 0, 5, "standard deviation of the step that ln popularity takes"),
    ROW(drift_tokens, FIELD_U64, 1, 1e15, "tokens between such steps"),
};
// clang-format on
#define RECIPE_FIELDS (sizeof recipe_fields / sizeof recipe_fields[0])
const size_t recipe_field_count = RECIPE_FIELDS;

// No domains, no requests of their own: every token is alone.
static struct recipe recipe_default(void)
{
    return (struct recipe){.name = "custom",
                           .model = "deepseek-v3",
                           .group_limit = true,
                           .top_eighth_share = 0.31,
                           .skew = 1,
                           .alpha = 1.01,
                           .power_tokens = 4096,
                           .hot_share = 0.05,
                           .ranks = 32,
                           .domains = 1,
                           .kinds = 1,
                           .requests = 1,
                           .chunk_tokens = 4096,
                           .request_tokens = 4096,
                           .request_least = 1,
                           .request_most = 1 << 30,
                           .drift_tokens = 131072};
}

// The lists by layer, and the fields that they stand for.
static const char *const list_keys[] = {"layer_top_eighth_share", "layer_expert_max_mean", NULL};
static const char *const list_fields[] = {"top_eighth_share", "expert_max_mean"};

static void drop_list(struct recipe *recipe, enum recipe_list list)
{
    free(recipe->by_layer[list]);
    recipe->by_layer[list] = NULL;
}

void recipe_release(struct recipe *recipe)
{
    for (enum recipe_list list = 0; list < RECIPE_LISTS; list++)
        drop_list(recipe, list);
}

const double *recipe_list(const struct recipe *recipe, const char *key)
{
    for (enum recipe_list list = 0; list < RECIPE_LISTS; list++)
        if (strcmp(key, list_fields[list]) == 0)
            return recipe->by_layer[list];
    return NULL;
}

// By the entry of a layer of a model that may have more or fewer layers than were measured.
double recipe_figure(const struct recipe *recipe, enum recipe_list list, uint64_t layer,
                     uint32_t layers)
{
    const double own[] = {recipe->top_eighth_share, recipe->expert_max_mean};
    const double *entries = recipe->by_layer[list];
    return entries ? entries[layer * recipe->layer_figures / layers] : own[list];
}

// --- what cannot be ----------------------------------------------------------------------------

static const char *request_fault(void *object, struct error *err)
{
    const struct recipe *recipe = object;
    if (recipe->request_most < recipe->request_least)
        return preset_fault(err, "request_most", "%u: expected at least request_least, %u",
                            recipe->request_most, recipe->request_least);
    return NULL;
}

// A token takes an expert once, so none has more than a top-k'th of the load.
static const char *loads_fault(const struct recipe *recipe, const struct moe *moe,
                               struct error *err)
{
    const double max = (double)moe->experts / moe->topk;
    const double *list = recipe->by_layer[LIST_EXPERT_MAX_MEAN];
    const double asked =
        list ? gsl_stats_max(list, 1, recipe->layer_figures) : recipe->expert_max_mean;
    if (recipe->loads == LOADS_LOG_NORMAL && asked > max)
        return preset_fault(err, "expert_max_mean",
                            "expected at most %g, where every token chooses the expert (top-%u "
                            "of %u)",
                            max, moe->topk, moe->experts);
    if (recipe->loads == LOADS_HOT_EXPERT && recipe->hot_share * moe->topk > 1)
        return preset_fault(err, "hot_share",
                            "%g: expected at most 1/%u, where every token chooses the expert",
                            recipe->hot_share, moe->topk);
    return NULL;
}

// The hot rank's experts hold its choices, and the others' the rest.
static const char *hot_rank_fault(const struct recipe *recipe, const struct moe *moe,
                                  struct error *err)
{
    const uint32_t hot = moe->experts / recipe->ranks, cold = moe->experts - hot;
    const double high = fmin(1, (double)hot / moe->topk);
    const double low = fmax(0, 1 - (double)cold / moe->topk);
    if (recipe->hot_share < low || recipe->hot_share > high)
        return preset_fault(err, "hot_share",
                            "%g: expected %g to %g: a rank has %u of %u experts, of top-%u",
                            recipe->hot_share, low, high, hot, moe->experts, moe->topk);
    return NULL;
}

static const char *ranks_fault(const struct recipe *recipe, const struct moe *moe,
                               struct error *err)
{
    const uint32_t reached = recipe->ranks < moe->topk ? recipe->ranks : moe->topk;
    if (recipe->loads != LOADS_RANKS && recipe->loads != LOADS_HOT_RANK)
        return NULL;
    if (moe->experts % recipe->ranks)
        return preset_fault(err, "ranks", "%u: expected a divisor of the %u experts", recipe->ranks,
                            moe->experts);
    if (recipe->loads == LOADS_HOT_RANK)
        return hot_rank_fault(recipe, moe, err);
    if (moe->experts / recipe->ranks < (moe->topk + reached - 1) / reached)
        return preset_fault(err, "ranks", "%u: their %u experts each are too few for top-%u",
                            recipe->ranks, moe->experts / recipe->ranks, moe->topk);
    return NULL;
}

bool recipe_check(const struct recipe *recipe, const struct moe *moe, struct error *err)
{
    const char *key = loads_fault(recipe, moe, err);
    if (!key)
        key = ranks_fault(recipe, moe, err);
    return !key || error_prefix(err, "recipe %s: %s", recipe->name, key);
}

// --- reading -----------------------------------------------------------------------------------

static size_t recipe_row(const char *key)
{
    return (size_t)(field_find(recipe_fields, RECIPE_FIELDS, key) - recipe_fields);
}

// Each entry as the field reads it.
static bool read_entries(const struct object_reading *reading, enum recipe_list list, doc_node node,
                         double *entries)
{
    struct field field = recipe_fields[recipe_row(list_fields[list])];
    field.key = list_keys[list];
    field.offset = 0;
    for (size_t i = 0; i < doc_size(reading->doc, node); i++) {
        const doc_node item = doc_item(reading->doc, node, i);
        if (doc_kind(reading->doc, item) != DOC_SCALAR)
            return doc_error(reading->doc, item, reading->err, "%s: expected numbers",
                             list_keys[list]);
        if (!doc_field(reading->doc, item, &field, &entries[i], reading->err))
            return false;
    }
    return true;
}

// The list itself; where it comes from is kept as that of the field that it stands for.
static bool open_list(const struct object_reading *reading, enum recipe_list list, doc_node *node)
{
    struct provenance provenance = {0};
    const bool ok = object_open(reading->doc, list_keys[list], node, &provenance, reading->err);
    if (ok && reading->provenance) {
        struct provenance *kept = &reading->provenance[recipe_row(list_fields[list])];
        provenance_release(kept, 1);
        *kept = provenance;
        return true;
    }
    provenance_release(&provenance, 1);
    return ok;
}

static bool recipe_read_list(const struct object_reading *reading, enum recipe_list list)
{
    const struct doc *doc = reading->doc;
    struct recipe *recipe = reading->object;
    const doc_node there = doc_get(doc, reading->root, list_keys[list]);
    doc_node node = there;
    if (there == DOC_NONE)
        return true;
    if (!open_list(reading, list, &node))
        return false;
    if (doc_kind(doc, node) != DOC_LIST || doc_size(doc, node) == 0)
        return doc_error(doc, there, reading->err, "%s: expected a list of numbers, one a layer",
                         list_keys[list]);
    const uint32_t count = (uint32_t)doc_size(doc, node);
    if (recipe->layer_figures && recipe->layer_figures != count)
        return doc_error(doc, there, reading->err, "%s: %u entries; expected %u, as the other list",
                         list_keys[list], count, recipe->layer_figures);
    recipe->layer_figures = count;
    drop_list(recipe, list);
    recipe->by_layer[list] = mem_alloc(count, sizeof(double));
    return read_entries(reading, list, node, recipe->by_layer[list]);
}

static bool recipe_read_lists(struct object_reading *reading)
{
    for (enum recipe_list list = 0; list < RECIPE_LISTS; list++)
        if (!recipe_read_list(reading, list))
            return false;
    return true;
}

// A changed figure holds for all layers.
static void recipe_changed(struct object_reading *reading)
{
    for (enum recipe_list list = 0; list < RECIPE_LISTS; list++)
        if (reading->seen[recipe_row(list_fields[list])])
            drop_list(reading->object, list);
}

static const struct object_reader recipe_reader = {
    .kind = "recipes",
    .whose = "a recipe's",
    .fields = recipe_fields,
    .count = RECIPE_FIELDS,
    .others = list_keys,
    .read_others = recipe_read_lists,
    .changed = recipe_changed,
    .fault = request_fault,
};

bool recipe_load(const char *what, struct recipe *recipe, struct provenance *provenance,
                 struct error *err)
{
    bool seen[RECIPE_FIELDS] = {false};
    struct object_reading reading = {.reader = &recipe_reader,
                                     .object = recipe,
                                     .provenance = provenance,
                                     .seen = seen,
                                     .err = err};
    char *text = mem_copy_text(what), quoted[ERROR_QUOTE_BYTES];
    char *items = access(what, F_OK) == 0 ? NULL : strchr(text, ':');
    *recipe = recipe_default();
    if (items)
        *items++ = '\0';
    bool done = object_load(&reading, text);
    if (done && items && !object_change(&reading, items))
        done = error_prefix(err, "'%s'", error_quote(what, quoted));
    free(text);
    if (!done)
        recipe_release(recipe);
    return done;
}

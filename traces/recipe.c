#include "traces/recipe.h"

#include "base/doc.h"
#include "base/mem.h"
#include "model/moe.h"
#include "model/preset.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const loads_names[] = {"log-normal", "power-law", "hot-expert", "ranks", NULL};

#define ROW(member, sort, low, high, text)                                                         \
    {                                                                                              \
        .key = #member, .kind = sort, .offset = offsetof(struct recipe, member), .min = (low),     \
        .max = (high), .help = text                                                                \
    }
#define NUMBER(member, low, high, text) ROW(member, FIELD_NUMBER, low, high, text)
#define COUNT(member, low, high, text) ROW(member, FIELD_U32, low, high, text)

const struct field recipe_fields[] = {
    ROW(name, FIELD_TEXT, 0, 0, "name of the recipe"),
    ROW(model, FIELD_TEXT, 0, 0, "whose shape, where --model does not say"),
    {.key = "loads",
     .kind = FIELD_ENUM,
     .offset = offsetof(struct recipe, loads),
     .names = loads_names,
     .help = "where the loads of experts come from"},
    ROW(group_limit, FIELD_BOOL, 0, 0, "tokens keep to the best groups, if the model has them"),
    NUMBER(top_eighth_share, 0.125, 1, "log-normal: share of the load on the hottest eighth"),
    NUMBER(expert_max_mean, 0, MOE_MAX_EXPERTS,
           "log-normal: hottest expert's load over the mean; 0: as it comes"),
    NUMBER(skew, 0, 10, "exponent on the loads over their mean; 0: all alike"),
    NUMBER(alpha, 0, 10, "power-law: exponent of the density"),
    COUNT(power_tokens, 2, 1 << 24, "power-law: tokens; loads are drawn from 1 to 0.8 of them"),
    NUMBER(hot_share, 0, 1, "hot-expert: its share of the load"),
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

// The lists by layer: of which field, and within what.
static const struct list {
    const char *key, *field;
    size_t offset;
} lists[] = {
    {"layer_top_eighth_share", "top_eighth_share", offsetof(struct recipe, layer_top_eighth_share)},
    {"layer_expert_max_mean", "expert_max_mean", offsetof(struct recipe, layer_expert_max_mean)},
};
#define LISTS (sizeof lists / sizeof lists[0])

static double *list_of(const struct recipe *recipe, const struct list *list)
{
    double *entries;
    memcpy(&entries, (const char *)recipe + list->offset, sizeof entries);
    return entries;
}

static void set_list(struct recipe *recipe, const struct list *list, double *entries)
{
    free(list_of(recipe, list));
    memcpy((char *)recipe + list->offset, &entries, sizeof entries);
}

void recipe_release(struct recipe *recipe)
{
    for (size_t i = 0; i < LISTS; i++)
        set_list(recipe, &lists[i], NULL);
}

const double *recipe_list(const struct recipe *recipe, const char *key)
{
    for (size_t i = 0; i < LISTS; i++)
        if (strcmp(key, lists[i].field) == 0)
            return list_of(recipe, &lists[i]);
    return NULL;
}

// The entry of a layer of a model that may have more or fewer layers than were measured.
static uint32_t entry(const struct recipe *recipe, uint32_t layer, uint32_t layers)
{
    return (uint32_t)((uint64_t)layer * recipe->layer_figures / layers);
}

double recipe_top_eighth_share(const struct recipe *recipe, uint32_t layer, uint32_t layers)
{
    const double *list = recipe->layer_top_eighth_share;
    return list ? list[entry(recipe, layer, layers)] : recipe->top_eighth_share;
}

double recipe_expert_max_mean(const struct recipe *recipe, uint32_t layer, uint32_t layers)
{
    const double *list = recipe->layer_expert_max_mean;
    return list ? list[entry(recipe, layer, layers)] : recipe->expert_max_mean;
}

// --- what cannot be ----------------------------------------------------------------------------

static bool above(const double *list, uint32_t count, double own, double most)
{
    if (!list)
        return own > most;
    for (uint32_t i = 0; i < count; i++)
        if (list[i] > most)
            return true;
    return false;
}

static const char *request_fault(const struct recipe *recipe, struct error *err)
{
    if (recipe->request_most < recipe->request_least)
        return preset_fault(err, "request_most", "%u: expected at least request_least, %u",
                            recipe->request_most, recipe->request_least);
    return NULL;
}

// A token takes an expert once, so none has more than a top-k'th of the load.
static const char *loads_fault(const struct recipe *recipe, const struct moe *moe,
                               struct error *err)
{
    const double most = (double)moe->experts / moe->topk;
    if (recipe->loads == LOADS_LOG_NORMAL &&
        above(recipe->layer_expert_max_mean, recipe->layer_figures, recipe->expert_max_mean, most))
        return preset_fault(err, "expert_max_mean",
                            "expected at most %g, where every token chooses the expert (top-%u "
                            "of %u)",
                            most, moe->topk, moe->experts);
    if (recipe->loads == LOADS_HOT_EXPERT && recipe->hot_share * moe->topk > 1)
        return preset_fault(err, "hot_share",
                            "%g: expected at most 1/%u, where every token chooses the expert",
                            recipe->hot_share, moe->topk);
    return NULL;
}

static const char *ranks_fault(const struct recipe *recipe, const struct moe *moe,
                               struct error *err)
{
    const uint32_t reached = recipe->ranks < moe->topk ? recipe->ranks : moe->topk;
    if (recipe->loads != LOADS_RANKS)
        return NULL;
    if (moe->experts % recipe->ranks)
        return preset_fault(err, "ranks", "%u: expected a divisor of the %u experts", recipe->ranks,
                            moe->experts);
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

struct reading {
    const struct doc *doc;
    struct recipe *recipe;
    char **sources;
    struct error *err;
};

static const char *key_at(const void *context, size_t index)
{
    (void)context;
    return index < LISTS ? lists[index].key : recipe_fields[index - LISTS].key;
}

// doc_bind, told that the map is open, leaves the lists aside; the rest is refused here.
static bool refuse_key(const struct reading *reading, size_t index)
{
    const struct doc *doc = reading->doc;
    const doc_node root = doc_root(doc);
    const char *key = doc_key(doc, root, index);
    for (size_t i = 0; i < LISTS; i++)
        if (strcmp(key, lists[i].key) == 0)
            return true;
    if (field_find(recipe_fields, RECIPE_FIELDS, key)) {
        const doc_node value = doc_value(doc, root, index);
        return !doc_is_null(doc, value) ||
               doc_error(doc, value, reading->err, "%s: no value given", key);
    }
    char quoted[ERROR_QUOTE_BYTES];
    const char *near = field_nearest(key, LISTS + RECIPE_FIELDS, key_at, NULL);
    return error_set(reading->err, EXIT_INPUT, "%s:%zu: unknown key '%s'%s%s%s", doc_name(doc),
                     doc_key_line(doc, root, index), error_quote(key, quoted),
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static size_t row_of(const char *key)
{
    return (size_t)(field_find(recipe_fields, RECIPE_FIELDS, key) - recipe_fields);
}

// The list itself; its source is kept as that of the field that it stands for.
static doc_node list_node(const struct reading *reading, const struct list *list, doc_node node)
{
    const struct doc *doc = reading->doc;
    if (doc_kind(doc, node) != DOC_MAP)
        return node;
    const doc_node source = doc_get(doc, node, "source");
    if (reading->sources && source != DOC_NONE && doc_kind(doc, source) == DOC_SCALAR)
        reading->sources[row_of(list->field)] = mem_copy_text(doc_text(doc, source));
    return doc_get(doc, node, "value");
}

// Each entry as the field reads it, by way of a recipe that nobody keeps.
static bool read_entries(const struct reading *reading, const struct list *list, doc_node node,
                         double *entries)
{
    const struct field *field = &recipe_fields[row_of(list->field)];
    struct recipe scratch;
    for (size_t i = 0; i < doc_size(reading->doc, node); i++) {
        const doc_node item = doc_item(reading->doc, node, i);
        if (doc_kind(reading->doc, item) != DOC_SCALAR)
            return doc_error(reading->doc, item, reading->err, "%s: expected numbers", list->key);
        if (!field_parse(field, doc_text(reading->doc, item), &scratch, reading->err))
            return error_prefix(reading->err, "%s:%zu: %s", doc_name(reading->doc),
                                doc_line(reading->doc, item), list->key);
        memcpy(&entries[i], (const char *)&scratch + field->offset, sizeof entries[i]);
    }
    return true;
}

static bool read_list(const struct reading *reading, const struct list *list)
{
    const struct doc *doc = reading->doc;
    struct recipe *recipe = reading->recipe;
    const doc_node there = doc_get(doc, doc_root(doc), list->key);
    if (there == DOC_NONE)
        return true;
    const doc_node node = list_node(reading, list, there);
    if (node == DOC_NONE || doc_kind(doc, node) != DOC_LIST || doc_size(doc, node) == 0)
        return doc_error(doc, there, reading->err, "%s: expected a list of numbers, one a layer",
                         list->key);
    const uint32_t count = (uint32_t)doc_size(doc, node);
    if (recipe->layer_figures && recipe->layer_figures != count)
        return doc_error(doc, there, reading->err, "%s: %u entries; expected %u, as the other list",
                         list->key, count, recipe->layer_figures);
    recipe->layer_figures = count;
    double *entries = mem_alloc(count, sizeof *entries);
    set_list(recipe, list, entries);
    return read_entries(reading, list, node, entries);
}

static bool read_doc(const struct reading *reading)
{
    const struct doc *doc = reading->doc;
    const doc_node root = doc_root(doc);
    const struct doc_bind bind = {.fields = recipe_fields,
                                  .count = RECIPE_FIELDS,
                                  .object = reading->recipe,
                                  .sources = reading->sources,
                                  .open = true};
    if (doc_kind(doc, root) != DOC_MAP)
        return doc_error(doc, root, reading->err, "expected a recipe's keys and values");
    preset_title(doc, reading->recipe->name);
    for (size_t i = 0; i < doc_size(doc, root); i++)
        if (!refuse_key(reading, i))
            return false;
    if (!doc_bind(doc, root, &bind, reading->err))
        return false;
    for (size_t i = 0; i < LISTS; i++)
        if (!read_list(reading, &lists[i]))
            return false;
    const char *key = request_fault(reading->recipe, reading->err);
    return !key || preset_blame(doc, key, reading->err);
}

static bool read_file(const char *what, struct recipe *recipe, char **sources, struct error *err)
{
    struct doc *doc = preset_load("recipes", what, err);
    if (!doc)
        return false;
    const struct reading reading = {.doc = doc, .recipe = recipe, .sources = sources, .err = err};
    const bool done = read_doc(&reading);
    doc_free(doc);
    return done;
}

// A changed figure has no source any more, and holds for all layers; the mark keeps the recipe from
// passing for the preset.
static void note_changes(struct recipe *recipe, const bool *seen, char **sources)
{
    const size_t length = strlen(recipe->name);
    if (length + 1 < sizeof recipe->name && !seen[row_of("name")])
        strcpy(recipe->name + length, "*");
    for (size_t row = 0; sources && row < RECIPE_FIELDS; row++)
        if (seen[row]) {
            free(sources[row]);
            sources[row] = NULL;
        }
    for (size_t i = 0; i < LISTS; i++)
        if (seen[row_of(lists[i].field)])
            set_list(recipe, &lists[i], NULL);
}

static bool read_changes(char *items, struct recipe *recipe, char **sources, struct error *err)
{
    bool seen[RECIPE_FIELDS] = {false};
    const struct field_change change = {recipe_fields, RECIPE_FIELDS, recipe, seen};
    if (!field_assign(&change, items, err))
        return false;
    note_changes(recipe, seen, sources);
    const char *key = request_fault(recipe, err);
    return !key || error_prefix(err, "%s", key);
}

bool recipe_load(const char *what, struct recipe *recipe, char **sources, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    *recipe = recipe_default();
    char *text = mem_copy_text(what);
    char *items = access(what, F_OK) == 0 ? NULL : strchr(text, ':');
    if (items)
        *items++ = '\0';
    bool done = read_file(text, recipe, sources, err);
    if (done && items && !read_changes(items, recipe, sources, err))
        done = error_prefix(err, "'%s'", error_quote(what, quoted));
    free(text);
    if (!done)
        recipe_release(recipe);
    return done;
}

// epsim layout: makes, compares, inspects and converts placements of experts.
#include "cli/layout.h"

#include "base/mem.h"
#include "base/range.h"
#include "base/embedded.h"

#include <stdlib.h>
#include <string.h>

// ---- verbs and their flags ---------------------------------------------------------------------

enum verb { MAKE = 1, COMPARE_LAYOUTS = 2, INSPECT = 4, IMPORT = 8, EXPORT = 16 };

struct verb_row {
    const char *name;
    enum verb verb;
    enum exit_code (*run)(struct invocation *invocation, struct error *err);
    const char *words; // after the verb
    size_t least, most;
};

static const struct {
    const char *key;
    unsigned verbs; // that it has a meaning with
} meanings[] = {
    {"trace", MAKE | COMPARE_LAYOUTS},
    {"dispatcher", MAKE | COMPARE_LAYOUTS},
    {"sms", MAKE | COMPARE_LAYOUTS},
    {"tokens", MAKE | COMPARE_LAYOUTS},
    {"layer", MAKE | COMPARE_LAYOUTS},
    {"redundant", MAKE | COMPARE_LAYOUTS},
    {"plan_on", MAKE | COMPARE_LAYOUTS},
    {"search_steps", MAKE | COMPARE_LAYOUTS},
    {"replay_on", COMPARE_LAYOUTS},
    {"engine", COMPARE_LAYOUTS},
    {"tsv", COMPARE_LAYOUTS | INSPECT},
    {"json", COMPARE_LAYOUTS | INSPECT},
    {"format", MAKE | IMPORT | EXPORT},
};

static bool check_flags(const struct invocation *invocation, const struct verb_row *verb,
                        struct error *err)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if ((meanings[i].verbs & verb->verb) || !invocation_given(invocation, meanings[i].key))
            continue;
        char flag[32];
        snprintf(flag, sizeof flag, "%s", meanings[i].key);
        for (char *at = flag; *at; at++)
            *at = *at == '_' ? '-' : *at;
        return error_set(err, EXIT_INPUT, "--%s has no meaning with layout %s", flag, verb->name);
    }
    if (verb->verb & (MAKE | COMPARE_LAYOUTS) && !invocation->question.trace[0])
        return error_set(err, EXIT_INPUT, "layout %s: expected --trace FOLDER", verb->name);
    return true;
}

// ---- what verbs share --------------------------------------------------------------------------

// Reads a list of layers; none given: count 0.
static bool read_layers(const struct invocation *invocation, struct layout_asked *asked,
                        uint32_t **layers, struct error *err)
{
    size_t count = 0;
    *layers = NULL;
    if (invocation->layers[0] && !range_parse_indices(invocation->layers, layers, &count, err))
        return error_prefix(err, "--layer");
    asked->layers = *layers;
    asked->layer_count = (uint32_t)count;
    return true;
}

bool layout_task_ask(struct invocation *invocation, struct layout_asked *asked,
                     struct layout_task *task, struct error *err)
{
    uint32_t *layers;
    if (!read_tokens(invocation, err) || !read_layers(invocation, asked, &layers, err))
        return false;
    asked->question = &invocation->question;
    asked->redundant = invocation->redundant;
    asked->search_steps = invocation->search_steps;
    const bool ok = layout_task_init(task, asked, err);
    free(layers);
    return ok;
}

void layout_say(struct invocation *asked, const struct layout_task *task)
{
    struct question *question = &asked->question;
    question->ep = cluster_ranks(&task->setting.cluster);
    if (!question->dispatcher[0])
        strcpy(question->dispatcher, task->setting.dispatcher.name);
    if (!asked->tokens[0] && task->tokens)
        snprintf(asked->tokens, sizeof asked->tokens, "%u", task->tokens);
    invocation_say(asked, "dispatcher");
    if (asked->tokens[0])
        invocation_say(asked, "tokens");
}

bool layout_rule(const char *word, enum placement_rule *rule)
{
    for (int r = 0; placement_rule_names[r]; r++)
        if (!strcmp(word, placement_rule_names[r])) {
            *rule = (enum placement_rule)r;
            return true;
        }
    return false;
}

// ---- a file written ----------------------------------------------------------------------------

struct written {
    const struct layouts *layouts;
    enum layout_format format;
    char *comment;
};

static void write_layouts(void *context, FILE *out)
{
    const struct written *written = context;
    layouts_write(written->layouts, written->format, written->comment, out);
}

static bool ends_in(const char *text, const char *suffix)
{
    const size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && !strcmp(text + length - tail, suffix);
}

// --format, else what the output's name says, else `usual`.
static bool pick_format(const struct invocation *invocation, enum layout_format usual,
                        enum layout_format *format, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    *format = ends_in(invocation->output, ".json")   ? LAYOUT_SGLANG
              : ends_in(invocation->output, ".yaml") ? LAYOUT_TRTLLM
                                                     : usual;
    if (!invocation_given(invocation, "format"))
        return true;
    for (int f = 0; layout_format_names[f]; f++)
        if (!strcmp(invocation->format, layout_format_names[f])) {
            *format = (enum layout_format)f;
            return true;
        }
    return error_set(err, EXIT_INPUT, "--format: '%s': expected trtllm or sglang",
                     error_quote(invocation->format, quoted));
}

static bool output_layouts(const struct invocation *invocation, const struct layouts *layouts,
                           enum layout_format format, struct error *err)
{
    char *command = command_line(invocation);
    struct written written = {.layouts = layouts, .format = format};
    written.comment = mem_format("# epsim: %s\n# seed: %llu\n# command: %s\n", version(),
                                 (unsigned long long)invocation->question.seed, command);
    const bool ok = output_write(invocation, write_layouts, &written, err);
    free(written.comment);
    free(command);
    return ok;
}

// ---- make --------------------------------------------------------------------------------------

static bool make_rule(const struct invocation *invocation, enum placement_rule *rule,
                      struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const char *word = invocation->words[1];
    return layout_rule(word, rule) ||
           error_set(err, EXIT_INPUT,
                     "layout make: '%s': expected contiguous, random, greedy, eplb, eplb-global or "
                     "search",
                     error_quote(word, quoted));
}

static enum exit_code run_make(struct invocation *invocation, struct error *err)
{
    struct layout_asked asked = {.plan = {0, 1}};
    struct layout_task task;
    struct layouts layouts;
    enum placement_rule rule = PLACEMENT_CONTIGUOUS;
    enum layout_format format;
    if (!make_rule(invocation, &rule, err) || !pick_format(invocation, LAYOUT_TRTLLM, &format, err))
        return err->code;
    if (invocation->plan_on[0] &&
        !range_parse_share(invocation->plan_on, &asked.plan.from, &asked.plan.to, err))
        return error_prefix(err, "--plan-on"), err->code;
    asked.replay = asked.plan;
    if (!layout_task_ask(invocation, &asked, &task, err))
        return err->code;
    bool ok = layout_plan(&task, rule, &layouts, err);
    if (ok) {
        struct invocation said = *invocation;
        layout_say(&said, &task);
        ok = output_layouts(&said, &layouts, format, err);
        layouts_release(&layouts);
    }
    layout_task_release(&task);
    return ok ? EXIT_DONE : err->code;
}

// ---- inspect, import, export -------------------------------------------------------------------

// Ranks by --cluster and --ep; experts by --model, else 0.
static bool resolve_file(struct invocation *invocation, struct cluster *cluster, uint32_t *experts,
                         struct error *err)
{
    const struct question *question = &invocation->question;
    struct moe moe;
    *experts = 0;
    if (!cluster_load(question->cluster, cluster, NULL, err))
        return error_prefix(err, "--cluster");
    if (question->ep && !cluster_set_ep(cluster, question->ep, err))
        return error_prefix(err, "--ep");
    if (!question->model[0])
        return true;
    if (!moe_load(question->model, &moe, NULL, err))
        return error_prefix(err, "--model");
    *experts = moe.experts;
    return true;
}

static bool load_file(struct invocation *invocation, struct cluster *cluster,
                      struct layouts *layouts, struct error *err)
{
    uint32_t experts;
    if (!resolve_file(invocation, cluster, &experts, err) ||
        !layouts_load(layouts, invocation->words[1], experts, cluster_ranks(cluster), err))
        return false;
    invocation->question.ep = cluster_ranks(cluster);
    return true;
}

static enum exit_code convert(struct invocation *invocation, enum layout_format usual,
                              struct error *err)
{
    struct cluster cluster;
    struct layouts layouts;
    enum layout_format format;
    if (!pick_format(invocation, usual, &format, err) ||
        !load_file(invocation, &cluster, &layouts, err))
        return err->code;
    const bool ok = output_layouts(invocation, &layouts, format, err);
    layouts_release(&layouts);
    return ok ? EXIT_DONE : err->code;
}

static enum exit_code run_import(struct invocation *invocation, struct error *err)
{
    return convert(invocation, LAYOUT_TRTLLM, err);
}

static enum exit_code run_export(struct invocation *invocation, struct error *err)
{
    return convert(invocation, LAYOUT_SGLANG, err);
}

// Slots of experts that their rank, or their node, has already.
static void count_repeated(const struct layout *layout, uint32_t nodes, uint32_t *on_rank,
                           uint32_t *in_node)
{
    const uint32_t per_node = layout->ranks / nodes;
    *on_rank = *in_node = 0;
    for (uint32_t e = 0; e < layout->experts; e++)
        for (uint32_t i = layout->replica_first[e] + 1; i < layout->replica_first[e + 1]; i++) {
            const uint32_t before = layout->slot_rank[layout->replica_slot[i - 1]];
            const uint32_t rank = layout->slot_rank[layout->replica_slot[i]];
            *on_rank += rank == before;
            *in_node += rank / per_node == before / per_node;
        }
}

static struct table *inspect_table(const struct layouts *layouts, uint32_t nodes)
{
    static const char *const columns[] = {"layer",
                                          "slots",
                                          "experts",
                                          "replicated",
                                          "most_replicas",
                                          "repeated_on_rank",
                                          "repeated_in_node",
                                          NULL};
    struct table *table = table_new("layout", columns);
    for (uint32_t l = 0; l < layouts->count; l++) {
        const struct layout *layout = &layouts->of[l];
        uint32_t replicated = 0, most = 0, on_rank, in_node;
        for (uint32_t e = 0; e < layout->experts; e++) {
            const uint32_t replicas = layout_replicas(layout, e);
            replicated += replicas > 1;
            most = replicas > most ? replicas : most;
        }
        count_repeated(layout, nodes, &on_rank, &in_node);
        table_count(table, layouts->layer_ids[l]);
        table_count(table, layout->slots);
        table_count(table, layout->experts);
        table_count(table, replicated);
        table_count(table, most);
        table_count(table, on_rank);
        table_count(table, in_node);
    }
    return table;
}

static enum exit_code run_inspect(struct invocation *invocation, struct error *err)
{
    struct cluster cluster;
    struct layouts layouts;
    if (!check_tsv_kind(invocation, "layout", err) ||
        !load_file(invocation, &cluster, &layouts, err))
        return err->code;
    char *command = command_line(invocation);
    struct table *table = inspect_table(&layouts, cluster.nodes);
    json_t *document = json_head(invocation, "epsim.layout/1", command);
    json_object_set_new(document, "layers", table_json(table));
    table_head(table, invocation, command, &cluster);
    const bool ok = output_table(invocation, table, document, err);
    table_free(table);
    free(command);
    layouts_release(&layouts);
    return ok ? EXIT_DONE : err->code;
}

// ---- the front ---------------------------------------------------------------------------------

static const struct verb_row verbs[] = {
    {"make", MAKE, run_make, "RULE --trace FOLDER", 2, 2},
    {"compare", COMPARE_LAYOUTS, run_layout_compare, "[LAYOUT...] --trace FOLDER", 1, 64},
    {"inspect", INSPECT, run_inspect, "FILE", 2, 2},
    {"import", IMPORT, run_import, "FILE", 2, 2},
    {"export", EXPORT, run_export, "FILE", 2, 2},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

enum exit_code run_layout(struct invocation *invocation, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const char *word = invocation->word_count ? invocation->words[0] : "";
    for (size_t v = 0; v < VERBS; v++) {
        const struct verb_row *verb = &verbs[v];
        if (strcmp(word, verb->name))
            continue;
        if (invocation->word_count < verb->least || invocation->word_count > verb->most)
            return error_set(err, EXIT_INPUT, "layout: expected: epsim layout %s %s", verb->name,
                             verb->words),
                   err->code;
        return check_flags(invocation, verb, err) ? verb->run(invocation, err) : err->code;
    }
    return error_set(err, EXIT_INPUT,
                     "layout: '%s': expected make, compare, inspect, import or export",
                     error_quote(word, quoted)),
           err->code;
}

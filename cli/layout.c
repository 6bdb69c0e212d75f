// epsim layout: makes, compares, inspects and converts placements of experts.
#include "cli/layout.h"

#include "base/mem.h"
#include "base/range.h"
#include "base/embedded.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct layout_options, member)

static const struct option_row plan_rows[] = {
    {OPTION_TEXT("layer", AT(layers), "LIST",
                 "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all)")},
    {OPTION_NUMBER("redundant", FIELD_U32, AT(redundant), "N", 0, LAYOUT_MAX_SLOTS,
                   "slots beyond one an expert, for replicas")},
    {OPTION_TEXT("plan_on", AT(plan_on), "PART",
                 "part of the trace that layouts are made from, as 0..0.5 (make: all; compare: "
                 "0..0.5)")},
    {OPTION_TEXT("replay_on", AT(replay_on), "PART",
                 "part that they are judged on (what --plan-on leaves)")},
    {OPTION_NUMBER("search_steps", FIELD_U32, AT(search_steps), "N", 0, 1e9,
                   "steps that the search tries in a layer")},
    {OPTION_TEXT("engine", AT(engine), "NAME", "compare by simulate or estimate")},
};
static const struct option_group plan_options = {HEADING_WORKLOAD, OPTION_ROWS(plan_rows)};

static const struct option_row form_rows[] = {
    {OPTION_TEXT("tsv", AT(common.tsv), "KIND",
                 "table for programs: compare: layouts; inspect: layout")},
    {OPTION_TEXT("format", AT(format), "NAME",
                 "of a layout file: trtllm or sglang (by the output's name; export: sglang)")},
};
static const struct option_group form_options = {HEADING_OUTPUT, OPTION_ROWS(form_rows)};

// ---- what verbs share --------------------------------------------------------------------------

bool layout_check_trace(const struct layout_options *options, const char *verb, struct error *err)
{
    return options->workload.def.trace[0] ||
           error_set(err, EXIT_INPUT, "layout %s: expected --trace FOLDER", verb);
}

bool layout_task_read(struct layout_options *options, struct layout_task_def *def,
                      struct layout_task *task, struct error *err)
{
    uint32_t *layers;
    size_t count;
    if (!workload_tokens(&options->workload, err) ||
        !read_indices("--layer", options->layers, &layers, &count, err))
        return false;
    def->layers = layers;
    def->layer_count = (uint32_t)count;
    def->scenario = &options->workload.def;
    def->redundant = options->redundant;
    def->search_steps = options->search_steps;
    const bool ok = layout_task_init(task, def, err);
    free(layers);
    return ok;
}

void layout_say(struct command_line *line, const struct layout_task *task)
{
    struct layout_options *options = line->options;
    struct workload_options *workload = &options->workload;
    workload->def.ep = cluster_ranks(&task->scenario.cluster);
    workload_say_dispatcher(line, workload, &task->scenario);
    if (!workload->tokens[0] && task->scenario.def.tokens)
        snprintf(workload->tokens, sizeof workload->tokens, "%u", task->scenario.def.tokens);
    if (workload->tokens[0])
        options_say(line, "tokens");
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
static bool pick_format(const struct layout_options *options, enum layout_format usual,
                        enum layout_format *format, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    *format = ends_in(options->common.output, ".json")   ? LAYOUT_SGLANG
              : ends_in(options->common.output, ".yaml") ? LAYOUT_TRTLLM
                                                         : usual;
    if (!options->format[0])
        return true;
    for (int f = 0; layout_format_names[f]; f++)
        if (!strcmp(options->format, layout_format_names[f])) {
            *format = (enum layout_format)f;
            return true;
        }
    return error_set(err, EXIT_INPUT, "--format: '%s': expected trtllm or sglang",
                     error_quote(options->format, quoted));
}

static bool output_layouts(const struct command_line *line, const struct layouts *layouts,
                           enum layout_format format, struct error *err)
{
    struct layout_options *options = line->options;
    char *command = command_text(line);
    struct written written = {.layouts = layouts, .format = format};
    written.comment = mem_format("# epsim: %s\n# seed: %llu\n# command: %s\n", version(),
                                 (unsigned long long)options->workload.def.seed, command);
    const bool ok = output_write(&options->common, write_layouts, &written, err);
    free(written.comment);
    free(command);
    return ok;
}

// ---- make --------------------------------------------------------------------------------------

static bool make_rule(const char *word, enum placement_rule *rule, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    return layout_rule(word, rule) ||
           error_set(err, EXIT_INPUT,
                     "layout make: '%s': expected contiguous, random, greedy, eplb, eplb-global or "
                     "search",
                     error_quote(word, quoted));
}

static enum exit_code run_make(struct command_line *line, struct error *err)
{
    struct layout_options *options = line->options;
    struct layout_task_def def = {.plan = {0, 1}};
    struct layout_task task;
    struct layouts layouts;
    enum placement_rule rule = PLACEMENT_CONTIGUOUS;
    enum layout_format format;
    if (!layout_check_trace(options, "make", err) || !make_rule(line->words[1], &rule, err) ||
        !pick_format(options, LAYOUT_TRTLLM, &format, err))
        return err->code;
    if (options->plan_on[0] &&
        !range_parse_share(options->plan_on, &def.plan.from, &def.plan.to, err))
        return error_prefix(err, "--plan-on"), err->code;
    def.replay = def.plan;
    if (!layout_task_read(options, &def, &task, err))
        return err->code;
    bool ok = layout_plan(&task, rule, &layouts, err);
    if (ok) {
        layout_say(line, &task);
        ok = output_layouts(line, &layouts, format, err);
        layouts_release(&layouts);
    }
    layout_task_release(&task);
    return ok ? EXIT_DONE : err->code;
}

// ---- inspect, import, export -------------------------------------------------------------------

// Ranks by --cluster and --ep; experts and layers by --model, if it is given.
static bool resolve_file(const struct scenario_def *def, struct cluster *cluster, struct moe *moe,
                         struct error *err)
{
    struct place place;
    if (!place_open(&place, def, err))
        return false;
    *cluster = place.cluster;
    place_release(&place);
    return !def->model[0] || moe_load(def->model, moe, NULL, err) || error_prefix(err, "--model");
}

static bool load_file(const struct command_line *line, struct cluster *cluster,
                      struct layouts *layouts, struct error *err)
{
    struct scenario_def *def = &((struct layout_options *)line->options)->workload.def;
    struct moe moe = {0};
    if (!resolve_file(def, cluster, &moe, err))
        return false;
    const struct layout_wanted wanted = {.experts = moe.experts,
                                         .ranks = cluster_ranks(cluster),
                                         .moe = def->model[0] ? &moe : NULL};
    if (!layouts_load(layouts, line->words[1], &wanted, err))
        return false;
    def->ep = cluster_ranks(cluster);
    return true;
}

// "layout import" writes what TensorRT-LLM reads, "layout export" what SGLang does.
static enum exit_code run_convert(struct command_line *line, struct error *err)
{
    const bool import = !strcmp(line->words[0], "import");
    struct cluster cluster;
    struct layouts layouts;
    enum layout_format format;
    if (!pick_format(line->options, import ? LAYOUT_TRTLLM : LAYOUT_SGLANG, &format, err) ||
        !load_file(line, &cluster, &layouts, err))
        return err->code;
    const bool ok = output_layouts(line, &layouts, format, err);
    layouts_release(&layouts);
    return ok ? EXIT_DONE : err->code;
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
    struct table *table = table_new("layout", "layer slots experts replicated most_replicas "
                                              "repeated_on_rank repeated_in_node");
    for (uint32_t l = 0; l < layouts->count; l++) {
        const struct layout *layout = &layouts->of[l];
        uint32_t replicated = 0, max = 0, on_rank, in_node;
        for (uint32_t e = 0; e < layout->experts; e++) {
            const uint32_t replicas = layout_replicas(layout, e);
            replicated += replicas > 1;
            max = replicas > max ? replicas : max;
        }
        count_repeated(layout, nodes, &on_rank, &in_node);
        TABLE_ADD(table, cell_count(layouts->layer_ids[l]), cell_count(layout->slots),
                  cell_count(layout->experts), cell_count(replicated), cell_count(max),
                  cell_count(on_rank), cell_count(in_node));
    }
    return table;
}

static enum exit_code run_inspect(struct command_line *line, struct error *err)
{
    struct layout_options *options = line->options;
    const uint64_t seed = options->workload.def.seed;
    struct cluster cluster;
    struct layouts layouts;
    if (!check_tsv_kind(&options->common, "layout", err) ||
        !load_file(line, &cluster, &layouts, err))
        return err->code;
    struct table *table = inspect_table(&layouts, cluster.nodes);
    json_t *document = json_head("epsim.layout/1", seed, line);
    json_object_set_new(document, "layers", table_json(table));
    table_head(table, seed, line, &cluster);
    const bool ok = output_table(&options->common, table, document, err);
    layouts_release(&layouts);
    return ok ? EXIT_DONE : err->code;
}

// ---- the command -------------------------------------------------------------------------------

static enum exit_code refuse_verb(struct command_line *line, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT,
                     "layout: '%s': expected make, compare, inspect, import or export",
                     error_quote(line->word_count ? line->words[0] : "", quoted)),
           err->code;
}

static const struct option_part layout_parts[] = {
    {&scenario_model_options, AT(workload.def)},
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_dispatcher_options, AT(workload.def)},
    {&scenario_kernels_options, AT(workload.def)},
    {&scenario_dtypes_options, AT(workload.def)},
    {&scenario_trace_options, AT(workload.def)},
    {&scenario_seed_options, AT(workload.def.seed)},
    {&tokens_options, AT(workload.tokens)},
    {&plan_options, 0},
    {&presets_options, AT(common)},
    {&form_options, 0},
    {&result_options, AT(common)},
    {&help_options, AT(common)},
};

// Flags that a verb has no use for.
#define OF_PLANS                                                                                   \
    "trace", "dispatcher", "sms", "tokens", "layer", "redundant", "plan_on", "search_steps"
static const char *const not_make[] = {"replay_on", "engine", "tsv", "json", NULL};
static const char *const not_compare[] = {"format", NULL};
static const char *const not_inspect[] = {OF_PLANS, "replay_on", "engine", "format", NULL};
static const char *const not_convert[] = {OF_PLANS, "replay_on", "engine", "tsv", "json", NULL};

// clang-format off
static const struct verb layout_verbs[] = {
    {"make",    NULL, "RULE --trace FOLDER",        2, 2,  not_make,    run_make},
    {"compare", NULL, "[LAYOUT...] --trace FOLDER", 1, 64, not_compare, run_layout_compare},
    {"inspect", NULL, "FILE",                       2, 2,  not_inspect, run_inspect},
    {"import",  NULL, "FILE",                       2, 2,  not_convert, run_convert},
    {"export",  NULL, "FILE",                       2, 2,  not_convert, run_convert},
    {0},
};
// clang-format on

// clang-format off
static const char layout_page[] =
    "examples:\n"
    "  epsim layout make eplb --trace traces/minimoe-256e --ep 32 --redundant 32 -o layout.yaml\n"
    "  epsim layout compare contiguous eplb search --trace traces/minimoe-256e --redundant 32\n"
    "  epsim layout inspect layout.yaml --ep 32\n"
    "  epsim layout export layout.yaml --ep 32 -o map.json    for SGLang's --init-expert-location\n"
    "\n"
    "usage: epsim layout make RULE|compare [LAYOUT...]|inspect FILE|import FILE|export FILE [flags]\n"
    "{flags}\n"
    "\n"
    "rules (compare takes files too, and by itself contiguous, eplb and search):\n"
    "  contiguous   in id order, and around again\n"
    "  random       by --seed\n"
    "  greedy       replicas as EPLB's, then longest first, replicas of an expert apart\n"
    "  eplb         DeepSeek's EPLB: hierarchical where nodes divide groups, else global\n"
    "  eplb-global  its global policy\n"
    "  search       from eplb on, as long as the predicted layer gets shorter\n"
    "columns of compare, means over the steps judged:\n"
    "  against_first_pct   layer_us over that of the first layout, less one\n"
    "  rank_max_mean       choices at the busiest rank over the mean; node_max_mean of nodes\n"
    "  ranks_per_token     distinct ranks that a token reaches; nodes_per_token likewise\n"
    "  most_replicas       of any expert\n"
    "formats written: trtllm, a TensorRT-LLM load balancer's YAML; sglang, JSON for\n"
    "--init-expert-location. Read, by --layout too: both; EPLB's phy2log as JSON or .npy; vLLM's\n"
    "eplb_initial_mapping and maps by model; vLLM-Ascend's and MindIE's expert_map.json. Rows of MoE\n"
    "layers alone are told from rows of all layers by --model, or by the trace's own.\n";
// clang-format on

const struct command command_layout = {
    .name = "layout",
    .summary = "placements of experts: make, compare, inspect, import, export",
    .page = layout_page,
    COMMAND_OPTIONS(layout_options, layout_parts,
                    {.workload.def = SCENARIO_DEFAULT,
                     .engine = "simulate",
                     .search_steps = LAYOUT_SEARCH_STEPS}),
    .opens_output = true,
    .run = refuse_verb,
    .verbs = layout_verbs,
};

#include "cli/workload.h"

#include "base/range.h"
#include "base/table.h"
#include "scenario/planned.h"

#include <stdlib.h>
#include <string.h>

static const struct option_row tokens_rows[] = {
    {OPTION_TEXT(
        "tokens", 0, "N",
        "tokens a GPU (" TEXT_OF(SCENARIO_TOKENS) "; of a trace, what it holds up to that)")},
};
const struct option_group tokens_options = {HEADING_WORKLOAD, OPTION_ROWS(tokens_rows)};

static bool check_matrix_flags(const struct command_line *line, struct error *err)
{
    static const char *const layer_only[] = {
        "model",   "tokens",  "trace", "routing", "layout",         "layer",         "step",
        "overlap", "kernels", "loads", "graph",   "dispatch_dtype", "combine_dtype", "redundant"};
    for (size_t i = 0; i < sizeof layer_only / sizeof layer_only[0]; i++)
        if (options_given(line, layer_only[i]))
            return error_set(err, EXIT_INPUT, "--%s has no meaning with --traffic", layer_only[i]);
    return true;
}

bool check_together(const struct command_line *line, const struct scenario_def *def,
                    struct error *err)
{
    if (def->traffic[0] && !check_matrix_flags(line, err))
        return false;
    if (def->graph && def->aligned)
        return error_set(err, EXIT_INPUT, "--graph has no meaning with --aligned");
    if (def->trace[0] && options_given(line, "routing"))
        return error_set(err, EXIT_INPUT, "--routing has no meaning with --trace");
    if (def->trace[0] && def->loads == LOADS_EXPECTED)
        return error_set(err, EXIT_INPUT, "--loads expected: a trace is counted");
    if (def->routing == ROUTING_BALANCED && def->loads == LOADS_EXPECTED)
        return error_set(err, EXIT_INPUT,
                         "--loads expected: --routing balanced draws nothing, and is counted");
    if (!def->trace[0] && options_given(line, "step"))
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    if (!def->trace[0] && def->routing == ROUTING_TRACE)
        return error_set(err, EXIT_INPUT, "--routing trace: give --trace FOLDER");
    return true;
}

bool read_tokens(const char *text, bool shown, uint32_t *tokens, struct error *err)
{
    uint32_t *values;
    size_t count;
    if (!text[0])
        return true;
    if (!range_parse(text, &values, &count, err))
        return error_prefix(err, "--tokens");
    *tokens = values[0];
    free(values);
    return count == 1 ||
           error_set(err, EXIT_INPUT, "--tokens %s: %zu values: expected one count (%s)", text,
                     count, shown ? "with --show" : "compare takes lists");
}

bool workload_tokens(struct workload_options *workload, struct error *err)
{
    return read_tokens(workload->tokens, workload->show != SHOW_NOTHING, &workload->def.tokens,
                       err);
}

bool read_indices(const char *flag, const char *text, uint32_t **values, size_t *count,
                  struct error *err)
{
    *values = NULL;
    *count = 0;
    return !text[0] || range_parse_indices(text, values, count, err) ||
           error_prefix(err, "%s", flag);
}

bool read_engine(const char *name, const struct engine **engine, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const struct engine *found = engine_find(name);
    if (found && found->is_calibrated)
        return *engine = found, true;
    return error_set(err, EXIT_INPUT, "--engine: '%s': expected simulate or estimate",
                     error_quote(name, quoted));
}

// ---- what was resolved -------------------------------------------------------------------------

static void say_layer(struct command_line *line, struct workload_options *workload,
                      const struct scenario *scenario)
{
    struct scenario_def *def = &workload->def;
    if (!def->trace[0]) {
        if (!def->model[0])
            strcpy(def->model, scenario->moe.name);
        options_say(line, "model");
        options_say(line, "routing");
    }
    // A trace says what it holds for a rank, and that may be more on some than on others.
    if (!workload->tokens[0] && !def->trace[0])
        snprintf(workload->tokens, sizeof workload->tokens, "%u", scenario->tokens[0]);
    if (workload->tokens[0])
        options_say(line, "tokens");
}

void workload_say(struct command_line *line, struct workload_options *workload,
                  const struct scenario *scenario)
{
    workload->def.ep = cluster_ranks(&scenario->cluster);
    if (!workload->def.traffic[0])
        say_layer(line, workload, scenario);
}

void workload_say_dispatcher(struct command_line *line, struct workload_options *workload,
                             const struct scenario *scenario)
{
    if (scenario->choice.why[0])
        return; // the same rows and estimates choose it again
    if (!workload->def.dispatcher[0])
        strcpy(workload->def.dispatcher, scenario->dispatcher.name);
    options_say(line, "dispatcher");
}

void choice_comment(const struct choice *choice, struct table *table)
{
    if (choice->why[0])
        table_comment(table, "dispatcher: %s: %s", choice->dispatcher, choice->why);
}

void planned_comment(const struct scenario *scenario, struct table *table)
{
    char text[PLANNED_TEXT_BYTES];
    if (planned_text(&scenario->def, scenario->layout, text)[0])
        table_comment(table, "layout: %s", text);
}

static void json_layout(const struct scenario *scenario, json_t *config)
{
    char text[PLANNED_TEXT_BYTES];
    json_object_set_new(config, "layout", json_string(scenario->def.layout));
    if (planned_text(&scenario->def, scenario->layout, text)[0]) {
        json_object_set_new(config, "redundant", json_integer(scenario->def.redundant));
        json_object_set_new(config, "layout_planned", json_string(text));
    }
}

void choice_json(const struct choice *choice, json_t *document)
{
    if (choice->why[0])
        json_object_set_new(document, "dispatcher_choice", json_string(choice->why));
}

// A struct's members by its field table: counts as numbers, quantities as text with their unit.
static json_t *json_fields(const struct field *fields, size_t count, const void *object)
{
    char text[FIELD_TEXT_BYTES];
    json_t *json = json_object();
    for (size_t i = 0; i < count; i++) {
        const void *member = (const char *)object + fields[i].offset;
        json_t *value;
        if (fields[i].kind == FIELD_U32)
            value = json_integer(*(const uint32_t *)member);
        else if (fields[i].kind == FIELD_BOOL)
            value = json_boolean(*(const bool *)member);
        else if (fields[i].kind == FIELD_NUMBER)
            value = table_json_real(*(const double *)member);
        else
            value = json_string(field_format(&fields[i], object, text));
        json_object_set_new(json, fields[i].key, value);
    }
    return json;
}

json_t *json_config(const struct scenario_def *def, const struct scenario *scenario)
{
    json_t *config = json_object();
    if (scenario->traffic) {
        json_object_set_new(config, "traffic", json_string(def->traffic));
    } else {
        json_object_set_new(config, "model",
                            json_fields(moe_fields, moe_field_count, &scenario->moe));
        json_object_set_new(config, "kernels", json_string(scenario->kernels.name));
        json_object_set_new(config, "tokens_per_gpu", json_integer(scenario->tokens[0]));
        json_object_set_new(config, "routing",
                            json_string(routing_rule_names[scenario->routing.rule]));
        json_layout(scenario, config);
        json_object_set_new(
            config, "loads",
            json_string(scenario->loads && scenario->loads->expected ? "expected" : "counted"));
    }
    if (def->trace[0]) {
        json_object_set_new(config, "trace", json_string(def->trace));
        json_object_set_new(config, "step", json_integer((json_int_t)def->step));
    }
    json_object_set_new(config, "layer", json_integer(def->layer));
    json_object_set_new(config, "ep", json_integer(cluster_ranks(&scenario->cluster)));
    json_object_set_new(config, "cluster",
                        json_fields(cluster_fields, cluster_field_count, &scenario->cluster));
    json_object_set_new(config, "dispatcher",
                        json_fields(scenario->dispatcher.cost_model->fields,
                                    scenario->dispatcher.cost_model->field_count,
                                    &scenario->dispatcher));
    json_object_set_new(config, "skew_us", table_json_real(def->skew_us));
    json_object_set_new(config, "overlap", json_string(overlap_names[def->overlap]));
    json_object_set_new(config, "aligned", json_boolean(def->aligned));
    json_object_set_new(config, "graph", json_boolean(def->graph));
    return config;
}

// Where results go and what stands above them.
#include "cli/cli.h"

#include "base/mem.h"
#include "base/version.h"


#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool output_write(const struct invocation *invocation, output_writer *writer, void *context,
                  struct error *err)
{
    struct outfile file;
    if (!outfile_open(&file, invocation->output[0] ? invocation->output : NULL, err))
        return error_prefix(err, "--output");
    writer(context, file.stream);
    return outfile_commit(&file, err);
}

static void write_json(void *context, FILE *out)
{
    json_dumpf(context, out, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    fputc('\n', out);
}

bool output_json(const struct invocation *invocation, json_t *json, struct error *err)
{
    const bool ok = output_write(invocation, write_json, json, err);
    json_decref(json);
    return ok;
}

static void write_table(void *context, FILE *out)
{
    table_print(context, out);
}

static void write_tsv(void *context, FILE *out)
{
    table_print_tsv(context, out);
}

bool output_table(const struct invocation *invocation, const struct table *table, json_t *json,
                  struct error *err)
{
    if (invocation->json)
        return output_json(invocation, json ? json : table_json(table), err);
    json_decref(json);
    return output_write(invocation, invocation->tsv[0] ? write_tsv : write_table,
                        (void *)(uintptr_t)table, err);
}

void table_head(struct table *table, const struct invocation *invocation, const char *command_line,
                const struct cluster *cluster)
{
    table_comment(table, "epsim: %s", version());
    table_comment(table, "seed: %llu", (unsigned long long)invocation->question.seed);
    table_comment(table, "command: %s", command_line);
    if (cluster) {
        char *line = cluster_line(cluster);
        table_comment(table, "cluster: %s", line);
        free(line);
    }
}

bool check_tsv_kind(const struct invocation *invocation, const char *kind, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!invocation_given(invocation, "tsv"))
        return true;
    if (strcmp(invocation->tsv, kind))
        return error_set(err, EXIT_INPUT, "--tsv: '%s': expected %s",
                         error_quote(invocation->tsv, quoted), kind);
    return !invocation->json || error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
}

json_t *json_head(const struct invocation *invocation, const char *schema, const char *command_line)
{
    json_t *head = json_object();
    json_object_set_new(head, "schema", json_string(schema));
    json_object_set_new(head, "version", json_string(version()));
    json_object_set_new(head, "seed", json_integer((json_int_t)invocation->question.seed));
    json_object_set_new(head, "command", json_string(command_line));
    return head;
}

// Appends printf text to a growing string.
static void append(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char **text, const char *format, ...)
{
    char part[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    char *longer = mem_format("%s%s", *text, part);
    free(*text);
    *text = longer;
}

static void append_question(char **text, const struct invocation *invocation,
                            const struct setting *setting)
{
    const struct question *question = &invocation->question;
    append(text, " --model %s --tokens %s --routing %s", question->model[0] ? question->model
                                                                         : setting->moe.name,
           invocation->tokens[0] ? invocation->tokens : "4096",
           routing_rule_names[question->routing]);
    if (strcmp(question->layout, "contiguous"))
        append(text, " --layout %s", question->layout);
    if (question->layer)
        append(text, " --layer %u", question->layer);
}

static void append_trace(char **text, const struct invocation *invocation,
                         const struct setting *setting)
{
    const struct question *question = &invocation->question;
    append(text, " --trace %s --layer %u --step %llu", question->trace, question->layer,
           (unsigned long long)question->step);
    if (invocation->tokens[0])
        append(text, " --tokens %s", invocation->tokens);
    else
        append(text, " --tokens %u", setting->tokens[0]);
    append(text, " --layout %s%s%s", question->layout, question->model[0] ? " --model " : "",
           question->model);
}

char *setting_command(const struct invocation *invocation, const struct setting *setting)
{
    const struct question *question = &invocation->question;
    char *text = mem_format("epsim %s --cluster '%s' --ep %u", invocation->command,
                            question->cluster, cluster_ranks(&setting->cluster));
    if (question->traffic[0])
        append(&text, " --traffic %s", question->traffic);
    else if (question->trace[0])
        append_trace(&text, invocation, setting);
    else
        append_question(&text, invocation, setting);
    if (question->dispatcher[0] || strcmp(invocation->command, "compare"))
        append(&text, " --dispatcher %s",
               question->dispatcher[0] ? question->dispatcher : setting->dispatcher.name);
    if (question->sms)
        append(&text, " --sms %u", question->sms);
    if (question->skew_us > 0)
        append(&text, " --skew-us %g", question->skew_us);
    if (question->overlap)
        append(&text, " --overlap %s", overlap_names[question->overlap]);
    if (question->aligned && strcmp(invocation->command, "compare"))
        append(&text, " --aligned");
    if (question->loads)
        append(&text, " --loads %s", loads_kind_names[question->loads]);
    append(&text, " --seed %llu", (unsigned long long)question->seed);
    return text;
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

json_t *json_config(const struct invocation *invocation, const struct setting *setting)
{
    const struct question *question = &invocation->question;
    json_t *config = json_object();
    if (setting->traffic) {
        json_object_set_new(config, "traffic", json_string(question->traffic));
    } else {
        json_object_set_new(config, "model", json_fields(moe_fields, moe_field_count, &setting->moe));
        json_object_set_new(config, "tokens_per_gpu", json_integer(setting->tokens[0]));
        json_object_set_new(config, "routing",
                            json_string(routing_rule_names[setting->routing.rule]));
        json_object_set_new(config, "layout", json_string(question->layout));
        json_object_set_new(config, "loads",
                            json_string(setting->loads.expected ? "expected" : "counted"));
    }
    if (question->trace[0]) {
        json_object_set_new(config, "trace", json_string(question->trace));
        json_object_set_new(config, "step", json_integer((json_int_t)question->step));
    }
    json_object_set_new(config, "layer", json_integer(question->layer));
    json_object_set_new(config, "ep", json_integer(cluster_ranks(&setting->cluster)));
    json_object_set_new(config, "cluster",
                        json_fields(cluster_fields, cluster_field_count, &setting->cluster));
    json_object_set_new(config, "dispatcher",
                        json_fields(dispatcher_fields, dispatcher_field_count, &setting->dispatcher));
    json_object_set_new(config, "skew_us", table_json_real(question->skew_us));
    json_object_set_new(config, "overlap", json_string(overlap_names[question->overlap]));
    json_object_set_new(config, "aligned", json_boolean(question->aligned));
    return config;
}

#define SOURCES 64 // above the rows of any field table

struct shown {
    const struct field *fields;
    size_t count;
    const void *object;
    char **sources;
};

// YAML that the loader reads back.
static void show_fields(FILE *out, const char *title, const struct shown *shown)
{
    char text[FIELD_TEXT_BYTES];
    fprintf(out, "# %s\n", title);
    for (size_t i = 0; i < shown->count; i++) {
        field_format(&shown->fields[i], shown->object, text);
        if (shown->sources[i])
            fprintf(out, "%s: {value: %s, source: \"%s\"}\n", shown->fields[i].key, text,
                    shown->sources[i]);
        else
            fprintf(out, "%s: %s\n", shown->fields[i].key, text[0] ? text : "\"\"");
    }
    fprintf(out, "\n");
}

static void free_sources(char **sources)
{
    for (size_t i = 0; i < SOURCES; i++)
        free(sources[i]);
}

struct presets {
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    char *moe_sources[SOURCES], *cluster_sources[SOURCES], *dispatcher_sources[SOURCES];
};

static void write_presets(void *context, FILE *out)
{
    struct presets *presets = context;
    show_fields(out, "model",
                &(struct shown){moe_fields, moe_field_count, &presets->moe, presets->moe_sources});
    show_fields(out, "cluster",
                &(struct shown){cluster_fields, cluster_field_count, &presets->cluster,
                                presets->cluster_sources});
    show_fields(out, "dispatcher",
                &(struct shown){dispatcher_fields, dispatcher_field_count, &presets->dispatcher,
                                presets->dispatcher_sources});
}

// Flags that have no part in what --show prints.
static bool check_show(const struct invocation *invocation, struct error *err)
{
    static const char *const parts[] = {"show", "model", "cluster", "ep", "dispatcher", "output",
                                        "quiet"};
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        bool part = !invocation->given[i];
        for (size_t p = 0; !part && p < sizeof parts / sizeof parts[0]; p++)
            part = !strcmp(parts[p], cli_options[i].field.key);
        if (!part)
            return error_set(err, EXIT_INPUT,
                             "--%s has no meaning with --show, which prints --model, --cluster, --ep "
                             "and --dispatcher",
                             cli_options[i].field.key);
    }
    return true;
}

bool show_presets(const struct invocation *invocation, struct error *err)
{
    if (!check_show(invocation, err))
        return false;
    const struct question *question = &invocation->question;
    struct presets *presets = mem_alloc(1, sizeof *presets);
    const char *dispatcher = question->dispatcher[0] ? question->dispatcher : "deepep-normal";
    bool ok = moe_load(question->model[0] ? question->model : "deepseek-v3", &presets->moe,
                       presets->moe_sources, err) ||
              error_prefix(err, "--model");
    ok = ok && (cluster_load(question->cluster, &presets->cluster, presets->cluster_sources, err) ||
                error_prefix(err, "--cluster"));
    if (ok && question->ep)
        ok = cluster_set_ep(&presets->cluster, question->ep, err) || error_prefix(err, "--ep");
    ok = ok && (dispatcher_load(dispatcher, cluster_ranks(&presets->cluster), &presets->dispatcher,
                                presets->dispatcher_sources, err) ||
                error_prefix(err, "--dispatcher"));
    ok = ok && output_write(invocation, write_presets, presets, err);
    free_sources(presets->moe_sources);
    free_sources(presets->cluster_sources);
    free_sources(presets->dispatcher_sources);
    free(presets);
    return ok;
}

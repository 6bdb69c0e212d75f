// Where results go and what stands above them.
#include "cli/cli.h"

#include "base/mem.h"
#include "base/embedded.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool output_write(const struct invocation *invocation, output_writer *writer, void *context,
                  struct error *err)
{
    writer(context, invocation->out->stream);
    return outfile_commit(invocation->out, err);
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

// The folder of a path and the name in it.
static bool same_place(const char *a, const char *b)
{
    char *folders[2];
    const char *paths[2] = {a, b}, *names[2];
    struct stat status[2];
    bool same = true;
    for (int i = 0; i < 2; i++) {
        const char *slash = strrchr(paths[i], '/');
        names[i] = slash ? slash + 1 : paths[i];
        folders[i] =
            slash ? mem_format("%.*s/", (int)(slash - paths[i]), paths[i]) : mem_copy_text(".");
        same = same && stat(folders[i], &status[i]) == 0;
    }
    same = same && status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino &&
           !strcmp(names[0], names[1]);
    free(folders[0]);
    free(folders[1]);
    return same;
}

// One file by two names would lose what was written first. Devices take both.
static bool same_file(const char *a, const char *b)
{
    struct stat first, second;
    if (stat(a, &first) == 0 && stat(b, &second) == 0)
        return S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
               first.st_ino == second.st_ino;
    return same_place(a, b);
}

bool check_timeline(const struct invocation *invocation, struct error *err)
{
    if (!invocation->timeline[0])
        return true;
    if (!strcmp(invocation->timeline, "-"))
        return error_set(err, EXIT_INPUT, "--timeline -: expected a file");
    return !same_file(invocation->timeline, invocation->output) ||
           error_set(err, EXIT_INPUT, "--timeline %s: the same file as --output; expected two",
                     invocation->timeline);
}

bool open_timeline(const struct invocation *invocation, struct outfile *file, struct error *err)
{
    *file = (struct outfile){0};
    return !invocation->timeline[0] ||
           (check_timeline(invocation, err) &&
            (outfile_open(file, invocation->timeline, err) || error_prefix(err, "--timeline")));
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

json_t *json_head(const struct invocation *invocation, const char *schema, const char *command_line)
{
    json_t *head = json_object();
    json_object_set_new(head, "schema", json_string(schema));
    json_object_set_new(head, "version", json_string(version()));
    json_object_set_new(head, "seed", json_integer((json_int_t)invocation->question.seed));
    json_object_set_new(head, "command", json_string(command_line));
    return head;
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
        json_object_set_new(config, "model",
                            json_fields(moe_fields, moe_field_count, &setting->moe));
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
    json_object_set_new(
        config, "dispatcher",
        json_fields(dispatcher_fields, dispatcher_field_count, &setting->dispatcher));
    json_object_set_new(config, "skew_us", table_json_real(question->skew_us));
    json_object_set_new(config, "overlap", json_string(overlap_names[question->overlap]));
    json_object_set_new(config, "aligned", json_boolean(question->aligned));
    return config;
}

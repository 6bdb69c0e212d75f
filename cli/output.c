// Where results go and what stands above them.
#include "cli/output.h"

#include "base/mem.h"
#include "base/embedded.h"
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool output_write(struct common_options *common, output_writer *writer, void *context,
                  struct error *err)
{
    writer(context, common->out.stream);
    return outfile_commit(&common->out, err);
}

// JSON escapes control characters itself; what else a terminal obeys stands in strings alone, where
// \u may stand for it.
static void put_json_hidden(const char *text, size_t bytes, FILE *out)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned point = bytes == 2
                               ? (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu)
                               : (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    fprintf(out, "\\u%04x", point);
}

static void write_json_document(void *context, FILE *out)
{
    char *text = json_dumps(context, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    for (const char *at = text; at && *at; at++) {
        const size_t hidden = error_hidden(at);
        if (hidden > 1)
            put_json_hidden(at, hidden, out);
        else
            fputc(*at, out);
        at += hidden > 1 ? hidden - 1 : 0;
    }
    free(text);
    fputc('\n', out);
}

bool output_json(struct common_options *common, json_t *json, struct error *err)
{
    const bool ok = output_write(common, write_json_document, json, err);
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

bool output_table(struct common_options *common, struct table *table, json_t *json,
                  struct error *err)
{
    bool ok;
    if (common->json) {
        ok = output_json(common, json ? json : table_json(table), err);
    } else {
        json_decref(json);
        ok = output_write(common, common->tsv[0] ? write_tsv : write_table, table, err);
    }
    table_free(table);
    return ok;
}

json_t *json_rows(struct table *table)
{
    json_t *rows = table_json(table);
    table_free(table);
    return rows;
}

void print_part(FILE *out, const char *title, struct table *table)
{
    if (table_rows(table)) {
        fprintf(out, "\n%s\n", title);
        table_print(table, out);
    }
    table_free(table);
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

bool check_timeline(const char *timeline, const struct common_options *common, struct error *err)
{
    if (!timeline[0])
        return true;
    if (!strcmp(timeline, "-"))
        return error_set(err, EXIT_INPUT, "--timeline -: expected a file");
    return !same_file(timeline, common->output) ||
           error_set(err, EXIT_INPUT, "--timeline %s: the same file as --output; expected two",
                     timeline);
}

bool open_timeline(const char *timeline, const struct common_options *common, struct outfile *file,
                   struct error *err)
{
    *file = (struct outfile){0};
    return !timeline[0] || (check_timeline(timeline, common, err) &&
                            (outfile_open(file, timeline, err) || error_prefix(err, "--timeline")));
}

void table_head(struct table *table, uint64_t seed, const struct command_line *line,
                const struct cluster *cluster)
{
    char *command = command_text(line), *whole = cluster ? cluster_line(cluster) : NULL;
    table_comment(table, "epsim: %s", version());
    table_comment(table, "seed: %llu", (unsigned long long)seed);
    table_comment(table, "command: %s", command);
    if (cluster)
        table_comment(table, "cluster: %s", whole);
    free(whole);
    free(command);
}

json_t *json_head(const char *schema, uint64_t seed, const struct command_line *line)
{
    json_t *head = json_object();
    char *command = command_text(line);
    json_object_set_new(head, "schema", json_string(schema));
    json_object_set_new(head, "version", json_string(version()));
    json_object_set_new(head, "seed", json_integer((json_int_t)seed));
    json_object_set_new(head, "command", json_string(command));
    free(command);
    return head;
}

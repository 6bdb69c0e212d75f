// Fitted presets: the old file with some keys replaced, everything else as it was, so that a
// reader's comments and sources stay.
#include "study/calibrate.h"
#include "study/fitted.h"

#include "base/mem.h"
#include "base/object.h"
#include "base/outfile.h"
#include "base/preset.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FITS "fits"
#define ROWS "rows" // that a fit was made of

struct rewriting {
    const struct calibration *calibration;
    enum parameter_part part;
    const char *preset;
    const struct provenance *origin; // the data that all were fitted to
    size_t keys;                     // of all parameters: key k % 2 of parameter k / 2
    bool *written;                   // [keys]
};

static const struct field *fitted_key(const struct rewriting *rewriting, size_t k)
{
    return rewriting->calibration->parameters[k / PARAMETER_KEYS].keys[k % PARAMETER_KEYS];
}

// The fitted key of this name that the preset has; `keys` where it has none.
static size_t find(const struct rewriting *rewriting, const char *key, size_t length)
{
    size_t k = 0;
    for (; k < rewriting->keys; k++) {
        const size_t p = k / PARAMETER_KEYS;
        const struct parameter *parameter = &rewriting->calibration->parameters[p];
        const struct field *field = fitted_key(rewriting, k);
        if (field && strlen(field->key) == length && !strncmp(field->key, key, length) &&
            parameter->part == rewriting->part && calibration_found(rewriting->calibration, p) &&
            names_have(&parameter->presets, rewriting->preset))
            break;
    }
    return k;
}

// Of key k, in place of what the preset said.
static void print_constant(FILE *out, const struct rewriting *rewriting, size_t k)
{
    const struct calibration *calibration = rewriting->calibration;
    const size_t p = k / PARAMETER_KEYS;
    const struct parameter *parameter = &calibration->parameters[p];
    struct provenance provenance = *rewriting->origin;
    char text[FIELD_TEXT_BYTES], held[] = "held near where it began: the rows say little of it";
    provenance.rows = parameter->rows;
    if (calibration->fit.verdicts[p] == FIT_FOUND)
        provenance.stderr_pct = 100 * calibration->fit.standard_error[p];
    else
        provenance.source = held;
    fprintf(out, "%s: {value: %s", fitted_key(rewriting, k)->key,
            parameter_format(parameter, calibration->fit.values[p], text));
    provenance_print(&provenance, out);
    fputs("}\n", out);
    rewriting->written[k] = true;
}

// A top-level key's text: its line and the indented ones (or a list's items) below.
static const char *skip_key(const char *text)
{
    do {
        const char *end = strchr(text, '\n');
        text = end ? end + 1 : text + strlen(text);
    } while (*text == ' ' || *text == '-' || *text == '\t');
    return text;
}

static size_t key_length(const char *line)
{
    size_t length = 0;
    while (isalnum((unsigned char)line[length]) || line[length] == '_')
        length++;
    return line[length] == ':' ? length : 0;
}

static void rewrite(const struct rewriting *rewriting, const char *text, FILE *out)
{
    while (*text) {
        const size_t length = key_length(text);
        const size_t k = length ? find(rewriting, text, length) : rewriting->keys;
        const char *next = skip_key(text);
        if (k < rewriting->keys) {
            print_constant(out, rewriting, k);
        } else {
            fwrite(text, 1, (size_t)(next - text), out);
            if (next[-1] != '\n')
                fputc('\n', out);
        }
        text = next;
    }
}

// Keys that the old file left at their default.
static void append(const struct rewriting *rewriting, FILE *out)
{
    for (size_t k = 0; k < rewriting->keys; k++) {
        const struct field *field = fitted_key(rewriting, k);
        if (field && !rewriting->written[k] && find(rewriting, field->key, strlen(field->key)) == k)
            print_constant(out, rewriting, k);
    }
}

// The new text of a preset, checked to be YAML still: the old one is changed line by line, and not
// every way of writing YAML outlives that. Freed by the caller; NULL when it is not.
static char *new_text(struct rewriting *rewriting, const char *text, const char *path,
                      struct error *err)
{
    char *written = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&written, &length);
    rewriting->keys = PARAMETER_KEYS * rewriting->calibration->parameter_count;
    rewriting->written = mem_alloc(rewriting->keys, sizeof(bool));
    rewrite(rewriting, text, out);
    append(rewriting, out);
    fclose(out);
    free(rewriting->written);
    struct doc *doc = doc_load_text(path, written, length, err);
    if (!doc) {
        free(written);
        error_prefix(err, "%s: expected a key a line to rewrite", rewriting->preset);
        return NULL;
    }
    doc_free(doc);
    return written;
}

// A cluster that was asked in one line, whole.
static char *print_asked(const struct calibration *calibration, const char *word, struct error *err)
{
    struct cluster cluster;
    char *text = NULL, name[FIELD_TEXT_BYTES];
    size_t length;
    struct provenance *provenance = mem_alloc(cluster_field_count, sizeof *provenance);
    if (cluster_load(word, &cluster, provenance, err)) {
        const struct object_text whole = {cluster_fields, cluster_field_count, &cluster, provenance,
                                          true};
        if (!cluster.gpu[0])
            snprintf(cluster.gpu, sizeof cluster.gpu, "%s", calibration->asked.gpu);
        strcpy(cluster.name, dispatcher_variant_name(VARIANT_CLUSTER, &cluster, name));
        FILE *out = open_memstream(&text, &length);
        object_print(out, &whole);
        fclose(out);
    }
    provenance_release(provenance, cluster_field_count);
    free(provenance);
    return text;
}

// The text that fitted keys go into: the preset's or file's own; where a cluster was asked in one
// line, or has no variant of a dispatcher yet, a new one. Freed by the caller.
static char *old_text(const struct rewriting *rewriting, const char *word, struct error *err)
{
    const char *kind = parameter_part_names[rewriting->part], *at = strrchr(word, '@');
    if (rewriting->part == PART_CLUSTER && !preset_known(kind, word))
        return print_asked(rewriting->calibration, word, err);
    if (rewriting->part == PART_CLUSTER || !at || strcmp(at, "@" CALIBRATE_ASKED))
        return preset_text(kind, word, err);
    return preset_known(kind, rewriting->preset) ? preset_text(kind, rewriting->preset, err)
                                                 : mem_format("# %s\n", rewriting->preset);
}

// What is to be written, all of it made before any of it is.
struct pending {
    const char *folder;
    struct names paths, texts; // a text of "": the file is to go
    struct names folders;      // that were not there before
};

static void add_pending(struct pending *pending, char *path, char *text)
{
    names_add(&pending->paths, path);
    names_add(&pending->texts, text);
    free(path);
    free(text);
}

// Whether any key of the preset was found.
static bool says_anything(const struct rewriting *rewriting)
{
    const struct calibration *calibration = rewriting->calibration;
    for (size_t p = 0; p < calibration->parameter_count; p++)
        if (calibration->parameters[p].part == rewriting->part &&
            calibration_found(calibration, p) &&
            names_have(&calibration->parameters[p].presets, rewriting->preset))
            return true;
    return false;
}

// A variant of which nothing was found is no file; one that another fit left there would stand
// beside what this one wrote, and goes.
static char *pending_text(struct rewriting *rewriting, const char *word, const char *path,
                          struct error *err)
{
    const char *kind = parameter_part_names[rewriting->part];
    const bool is_variant = rewriting->part != PART_CLUSTER && strchr(rewriting->preset, '@');
    if (is_variant && !preset_known(kind, rewriting->preset) && !says_anything(rewriting))
        return mem_copy_text("");
    char *old = old_text(rewriting, word, err);
    char *text = old ? new_text(rewriting, old, path, err) : NULL;
    free(old);
    return text;
}

static bool add_preset(struct pending *pending, struct rewriting *rewriting, const char *word,
                       struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (strchr(rewriting->preset, '/'))
        return error_set(err, EXIT_INPUT,
                         "'%s': a preset's name with '/': expected another to write",
                         error_quote(rewriting->preset, quoted));
    char *path =
        mem_format("%s/%s/%.*s.yaml", pending->folder, parameter_part_names[rewriting->part],
                   (int)strcspn(rewriting->preset, "*"), rewriting->preset);
    char *text = pending_text(rewriting, word, path, err);
    if (text)
        add_pending(pending, path, text);
    else
        free(path);
    return text != NULL;
}

// The rows and the fit itself.
static void add_outcome(struct pending *pending, const struct calibration *calibration,
                        const struct provenance *origin)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    fitted_print_rows(out, calibration);
    fclose(out);
    add_pending(pending, mem_format("%s/" ROWS "/%s.yaml", pending->folder, calibration->name),
                text);
    out = open_memstream(&text, &length);
    fitted_print(out, calibration, origin);
    fclose(out);
    add_pending(pending, mem_format("%s/" FITS "/%s.yaml", pending->folder, calibration->name),
                text);
}

static bool open_pending(const struct pending *pending, struct outfile *files, size_t *count,
                         struct error *err)
{
    for (size_t i = 0; i < pending->texts.count; i++) {
        if (!*pending->texts.of[i])
            continue;
        if (!outfile_open(&files[*count], pending->paths.of[i], err))
            return false;
        fputs(pending->texts.of[i], files[(*count)++].stream);
    }
    return true;
}

// All files or none.
static bool write_pending(const struct pending *pending, struct error *err)
{
    struct outfile *files = mem_alloc(pending->texts.count, sizeof *files);
    size_t count = 0;
    const bool opened = open_pending(pending, files, &count, err);
    const bool ok = opened && outfiles_commit(files, count, err);
    for (size_t i = 0; !opened && i < count; i++)
        outfile_abort(&files[i]);
    for (size_t i = 0; ok && i < pending->texts.count; i++)
        if (!*pending->texts.of[i])
            unlink(pending->paths.of[i]);
    free(files);
    return ok;
}

static bool make_folder(struct pending *pending, char *path, struct error *err)
{
    const bool made = mkdir(path, 0777) == 0;
    const bool ok =
        made || errno == EEXIST || error_set(err, EXIT_INPUT, "%s: %s", path, strerror(errno));
    if (made)
        names_add(&pending->folders, path);
    free(path);
    return ok;
}

// The folder, and in it one of each kind.
static bool make_folders(struct pending *pending, struct error *err)
{
    bool ok = make_folder(pending, mem_copy_text(pending->folder), err) &&
              make_folder(pending, mem_format("%s/" FITS, pending->folder), err) &&
              make_folder(pending, mem_format("%s/" ROWS, pending->folder), err);
    for (size_t k = 0; ok && parameter_part_names[k]; k++)
        ok = make_folder(pending, mem_format("%s/%s", pending->folder, parameter_part_names[k]),
                         err);
    return ok;
}

// Those of this run, the outermost last.
static void remove_folders(const struct pending *pending)
{
    for (size_t i = pending->folders.count; i-- > 0;)
        rmdir(pending->folders.of[i]);
}

// Each preset once, whatever parameters name it.
static bool add_presets(struct pending *pending, const struct calibration *calibration,
                        const struct provenance *origin, struct error *err)
{
    struct names added[PARAMETER_PARTS] = {{0}};
    bool ok = true;
    for (size_t p = 0; p < calibration->parameter_count; p++)
        for (size_t i = 0; ok && i < calibration->parameters[p].presets.count; i++) {
            const struct parameter *parameter = &calibration->parameters[p];
            struct rewriting rewriting = {.calibration = calibration,
                                          .part = parameter->part,
                                          .preset = parameter->presets.of[i],
                                          .origin = origin};
            if (names_have(&added[rewriting.part], rewriting.preset))
                continue;
            names_add(&added[rewriting.part], rewriting.preset);
            ok = add_preset(pending, &rewriting, parameter->words.of[i], err);
        }
    for (size_t part = 0; part < PARAMETER_PARTS; part++)
        names_release(&added[part]);
    return ok;
}

bool calibration_write(const struct calibration *calibration, const char *folder,
                       const struct provenance *origin, struct error *err)
{
    struct pending pending = {.folder = folder};
    bool ok = add_presets(&pending, calibration, origin, err);
    if (ok) {
        add_outcome(&pending, calibration, origin);
        ok = make_folders(&pending, err) && write_pending(&pending, err);
        if (!ok)
            remove_folders(&pending);
    }
    names_release(&pending.paths);
    names_release(&pending.texts);
    names_release(&pending.folders);
    return ok;
}

// A lookup composes the path and scans the embedded table, which needs no index. What is found
// there is parsed once.
#include "base/preset.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/embedded.h"

#include <assert.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRESET_FOLDER "/presets/" // of whatever room
#define PRESET_SUFFIX ".yaml"

static const struct embedded *find_embedded(const char *kind, const char *name)
{
    char *wanted = mem_format(PRESET_FOLDER "%s/%s" PRESET_SUFFIX, kind, name);
    const struct embedded *found = embedded_find(wanted);
    free(wanted);
    return found;
}

static struct doc **parsed; // [embedded_count] what was asked for so far, NULL the rest

static struct doc *load_embedded(const struct embedded *file, struct error *err)
{
    struct doc *doc;
#pragma omp critical(preset_parsed)
    {
        if (!parsed)
            parsed = mem_alloc(embedded_count, sizeof *parsed);
        struct doc **place = &parsed[file - embedded_files];
        if (!*place)
            *place =
                doc_keep(doc_load_text(file->path, (const char *)file->bytes, file->length, err));
        doc = *place;
    }
    return doc;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t text_length = strlen(text), length = strlen(end);
    return text_length >= length && strcmp(text + text_length - length, end) == 0;
}

static bool looks_like_path(const char *what)
{
    return strchr(what, '/') || ends_with(what, ".yaml") || ends_with(what, ".yml") ||
           ends_with(what, ".json") || (*what && access(what, F_OK) == 0);
}

static int by_preset_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The names that are built in, in byte order. Variants are presets of no name of their own.
static char **built_in_names(const char *kind, size_t *count)
{
    char **names = mem_alloc(embedded_count, sizeof *names);
    char *folder = mem_format(PRESET_FOLDER "%s/", kind);
    *count = 0;
    for (size_t i = 0; i < embedded_count; i++) {
        const char *path = strstr(embedded_files[i].path, folder);
        if (!path || strchr(path, '@'))
            continue;
        const char *name = path + strlen(folder);
        names[(*count)++] = mem_format("%.*s", (int)(strlen(name) - strlen(PRESET_SUFFIX)), name);
    }
    assert(*count > 0); // a kind that is none is a slip of the programmer's
    free(folder);
    qsort(names, *count, sizeof *names, by_preset_name);
    return names;
}

static const char *preset_name_at(const void *names, size_t index)
{
    return ((char *const *)names)[index];
}

static void refuse_preset(const char *kind, const char *what, struct error *err)
{
    size_t count, length = 0;
    char **names = built_in_names(kind, &count);
    const char *near = field_nearest(what, count, preset_name_at, names);
    char list[900] = "", quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < count && length < sizeof list; i++)
        length +=
            (size_t)snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "", names[i]);
    error_quote(what, quoted);
    const int noun = (int)strlen(kind) - 1; // "cluster" of "clusters"
    if (near && !strncmp(what, near, strlen(near)) && what[strlen(near)] == ':')
        error_set(err, EXIT_INPUT, "'%s': expected %s:KEY=VALUE", quoted, near);
    else if (near)
        error_set(err, EXIT_INPUT,
                  "'%s': no such %.*s; did you mean '%s'? Expected a file or one of %s", quoted,
                  noun, kind, near, list);
    else
        error_set(err, EXIT_INPUT, "'%s': no such %.*s; expected a file or one of %s", quoted, noun,
                  kind, list);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static char *own_folder; // of presets that stand before ours

bool preset_folder(const char *folder, struct error *err)
{
    struct stat about;
    free(own_folder);
    own_folder = NULL;
    if (!folder || !*folder)
        return true;
    if (stat(folder, &about) || !S_ISDIR(about.st_mode))
        return error_set(err, EXIT_INPUT, "%s: expected a folder of presets", folder);
    own_folder = mem_copy_text(folder);
    return true;
}

// The file of that name in the folder of one's own, or NULL. Freed by the caller.
static char *find_own(const char *kind, const char *name)
{
    if (!own_folder || strchr(name, '/'))
        return NULL;
    char *path = mem_format("%s/%s/%s" PRESET_SUFFIX, own_folder, kind, name);
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static int is_preset(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, PRESET_SUFFIX);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

// Names of files in the folder of one's own; none where it has no such kind.
static char **own_names(const char *kind, size_t *count)
{
    struct dirent **entries = NULL;
    char *path = mem_format("%s/%s", own_folder ? own_folder : "", kind);
    const int found = own_folder ? scandir(path, &entries, is_preset, by_bytes) : 0;
    char **names = mem_alloc((found > 0 ? (size_t)found : 0) + embedded_count, sizeof *names);
    *count = 0;
    for (int i = 0; i < found; i++) {
        const size_t length = strlen(entries[i]->d_name) - strlen(PRESET_SUFFIX);
        names[(*count)++] = mem_format("%.*s", (int)length, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    free(path);
    return names;
}

char **preset_all(const char *kind, size_t *own, size_t *count)
{
    size_t built_in;
    char **names = own_names(kind, own), **others = built_in_names(kind, &built_in);
    *count = *own;
    for (size_t b = 0; b < built_in; b++) {
        size_t i = 0;
        while (i < *own && strcmp(names[i], others[b]))
            i++;
        if (i == *own)
            names[(*count)++] = others[b];
        else
            free(others[b]);
    }
    free(others);
    return names;
}

struct doc *preset_load(const char *kind, const char *what, struct error *err)
{
    char *own = find_own(kind, what);
    const struct embedded *file = own ? NULL : find_embedded(kind, what);
    struct doc *doc = NULL;
    if (file)
        return load_embedded(file, err);
    if (own || looks_like_path(what))
        doc = doc_load(own ? own : what, err);
    else
        refuse_preset(kind, what, err);
    free(own);
    return doc;
}

struct doc *preset_load_variant(const char *kind, const char *what, const char *variant,
                                struct error *err)
{
    char *base = find_own(kind, what), *name = mem_format("%s@%s", what, variant);
    char *own = find_own(kind, name);
    const bool known = base || find_embedded(kind, what);
    const struct embedded *file = own ? NULL : find_embedded(kind, name);
    struct doc *doc = NULL;
    if (known && own)
        doc = doc_load(own, err);
    else if (known && file)
        doc = load_embedded(file, err);
    free(base);
    free(own);
    free(name);
    return doc;
}

static size_t add_variant(char **names, size_t count, const char *name, const char *what)
{
    const size_t length = strlen(what);
    if (strncmp(name, what, length) || name[length] != '@')
        return count;
    name += length + 1;
    const size_t kept = strlen(name) - (ends_with(name, PRESET_SUFFIX) ? strlen(PRESET_SUFFIX) : 0);
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == kept && !strncmp(names[i], name, kept))
            return count;
    names[count] = mem_format("%.*s", (int)kept, name);
    return count + 1;
}

char **preset_variants(const char *kind, const char *what, size_t *count)
{
    size_t own_count;
    char **own = own_names(kind, &own_count);
    char **names = mem_alloc(own_count + embedded_count, sizeof *names);
    char *folder = mem_format(PRESET_FOLDER "%s/", kind);
    *count = 0;
    for (size_t i = 0; i < own_count; i++) {
        *count = add_variant(names, *count, own[i], what);
        free(own[i]);
    }
    for (size_t i = 0; i < embedded_count; i++) {
        const char *path = strstr(embedded_files[i].path, folder);
        if (path)
            *count = add_variant(names, *count, path + strlen(folder), what);
    }
    free(folder);
    free(own);
    qsort(names, *count, sizeof *names, by_preset_name);
    return names;
}

char *preset_text(const char *kind, const char *what, struct error *err)
{
    char *own = find_own(kind, what), *text = NULL;
    const struct embedded *file = own ? NULL : find_embedded(kind, what);
    size_t length;
    if (file)
        return mem_copy_text((const char *)file->bytes);
    if (own || looks_like_path(what))
        text = infile_read_text(own ? own : what, INFILE_LIMIT, &length, err);
    else
        refuse_preset(kind, what, err);
    free(own);
    return text;
}

bool preset_known(const char *kind, const char *what)
{
    char *own = find_own(kind, what);
    const bool known = own || find_embedded(kind, what) || (*what && access(what, F_OK) == 0);
    free(own);
    return known;
}

void preset_title(const struct doc *doc, char *title)
{
    const char *path = doc_name(doc);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    const size_t length = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    const size_t kept = length < FIELD_TEXT_BYTES ? length : FIELD_TEXT_BYTES - 1;
    memcpy(title, base, kept);
    title[kept] = '\0';
}

const char *preset_fault(struct error *err, const char *key, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(err, EXIT_INPUT, "%s", text);
    return key;
}

bool preset_blame(const struct doc *doc, const char *key, struct error *err)
{
    const doc_node root = doc_root(doc);
    const doc_node node = doc_get(doc, root, key);
    return error_prefix(err, "%s:%zu: %s", doc_name(doc),
                        doc_line(doc, node == DOC_NONE ? root : node), key);
}

#include "model/version.h"

#include "base/mem.h"
#include "base/preset.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LARGEST_PART 9999

// Numbers with dots between them; their end, or NULL where there is none, or one is too large.
static const char *read_numbers(const char *text, unsigned of[VERSION_PARTS])
{
    memset(of, 0, VERSION_PARTS * sizeof *of);
    for (int part = 0; part < VERSION_PARTS; part++) {
        if (!isdigit((unsigned char)*text))
            return NULL;
        char *end;
        const unsigned long number = strtoul(text, &end, 10);
        if (number > LARGEST_PART)
            return NULL;
        of[part] = (unsigned)number;
        if (*end != '.' || !isdigit((unsigned char)end[1]) || part + 1 == VERSION_PARTS)
            return end;
        text = end + 1;
    }
    return text;
}

bool version_parse(const char *text, struct version *version)
{
    const char *dash = strrchr(text, '-');
    if (!dash || dash == text || dash - text >= FIELD_TEXT_BYTES)
        return false;
    memcpy(version->library, text, (size_t)(dash - text));
    version->library[dash - text] = '\0';
    const char *end = read_numbers(dash + 1, version->of);
    return end && !*end;
}

bool version_release(const char *text, char *release)
{
    struct version version;
    const bool ok = version_parse(text, &version);
    if (ok)
        snprintf(release, FIELD_TEXT_BYTES, "%.200s-%u.%u", version.library, version.of[0],
                 version.of[1]);
    return ok;
}

const char *version_split(const char *what, char *name)
{
    const char *at = strchr(what, '/') ? NULL : strchr(what, '@');
    const size_t length = at ? (size_t)(at - what) : strlen(what);
    snprintf(name, FIELD_TEXT_BYTES, "%.*s", (int)length, what);
    return at ? at + 1 : NULL;
}

static int compare_versions(const struct version *a, const struct version *b)
{
    for (int part = 0; part < VERSION_PARTS; part++)
        if (a->of[part] != b->of[part])
            return a->of[part] < b->of[part] ? -1 : 1;
    return 0;
}

// The variants of a preset that are versions, in order.
struct versions {
    struct version *of;
    char **words;
    size_t count;
};

static struct versions versions_of(const char *name)
{
    size_t all;
    struct versions versions = {.words = preset_variants("dispatchers", name, &all)};
    versions.of = mem_alloc(all + 1, sizeof *versions.of);
    for (size_t i = 0; i < all; i++) {
        char *word = versions.words[i];
        struct version version;
        if (!version_parse(word, &version)) {
            free(word);
            continue;
        }
        size_t at = versions.count++;
        for (; at && compare_versions(&versions.of[at - 1], &version) > 0; at--) {
            versions.of[at] = versions.of[at - 1];
            versions.words[at] = versions.words[at - 1];
        }
        versions.of[at] = version;
        versions.words[at] = word;
    }
    return versions;
}

static void versions_release(struct versions *versions)
{
    for (size_t i = 0; i < versions->count; i++)
        free(versions->words[i]);
    free(versions->words);
    free(versions->of);
}

static bool refuse_version(const struct versions *versions, const char *newest, const char *asked,
                           struct error *err)
{
    char list[FIELD_TEXT_BYTES] = "", quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < versions->count; i++) {
        const size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, "%.60s, ", versions->words[i]);
    }
    error_quote(asked, quoted);
    if (!*newest)
        return error_set(err, EXIT_INPUT, "'@%s': expected no '@': it has no versions", quoted);
    return error_set(err, EXIT_INPUT, "'@%s': no such version; expected one as %s%s", quoted, list,
                     newest);
}

// By as many numbers as the preset's own has: 2.29.7 is of 2.29.
static bool is_newer(const struct version *wanted, const struct version *own, const char *asked,
                     const char *newest)
{
    const size_t length = strlen(newest);
    const bool within = !strncmp(asked, newest, length) && (!asked[length] || asked[length] == '.');
    return !within && compare_versions(wanted, own) > 0;
}

bool version_variant(const char *name, const char *newest, const char *asked, char *variant,
                     struct error *err)
{
    struct versions versions = versions_of(name);
    struct version wanted, own;
    const bool ok = version_parse(newest, &own) && version_parse(asked, &wanted) &&
                    !strcmp(wanted.library, own.library);
    variant[0] = '\0';
    if (!ok)
        refuse_version(&versions, newest, asked, err);
    if (ok && compare_versions(&wanted, &own) < 0 && versions.count) {
        size_t last = 0;
        while (last + 1 < versions.count && compare_versions(&versions.of[last + 1], &wanted) <= 0)
            last++;
        snprintf(variant, FIELD_TEXT_BYTES, "%s", versions.words[last]);
        if (compare_versions(&wanted, &versions.of[last]) < 0)
            notice("%s@%s: there is nothing of so old a version; %s stands for it", name, asked,
                   variant);
    }
    if (ok && is_newer(&wanted, &own, asked, newest))
        notice("%s@%s: there is nothing of so new a version; %s stands for it", name, asked,
               newest);
    versions_release(&versions);
    return ok;
}

// A version that stands behind the library's name in a text.
static bool find_version(const char *text, const char *library, struct version *version)
{
    const size_t length = strlen(library);
    for (const char *at = text; *at; at++) {
        if (strncasecmp(at, library, length))
            continue;
        const char *number = at + length + strspn(at + length, " /-v");
        if (number > at + length && read_numbers(number, version->of))
            return true;
    }
    return false;
}

void version_word(const char *name, const char *source, char *word)
{
    struct versions versions = versions_of(name);
    struct version found;
    snprintf(word, FIELD_TEXT_BYTES, "%s", name);
    if (versions.count && find_version(source, versions.of[0].library, &found))
        snprintf(word, FIELD_TEXT_BYTES, "%.120s@%.80s-%u.%u.%u", name, versions.of[0].library,
                 found.of[0], found.of[1], found.of[2]);
    versions_release(&versions);
}

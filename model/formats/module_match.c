#include "model/formats/module_match.h"

#include <fnmatch.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 160
#define PATTERN_BYTES 1024

// What stands before a layer's number, by family of checkpoints.
static const char *const prefixes[] = {"model.layers.",
                                       "language_model.model.layers.",
                                       "model.language_model.layers.",
                                       "backbone.layers.",
                                       "layers.",
                                       NULL};

// Behind the number: the last matrix of the first routed expert, and of shared ones.
static const char *const routed[] = {"mlp.experts.0.down_proj",
                                     "mlp.experts.down_proj",
                                     "block_sparse_moe.experts.0.w2",
                                     "block_sparse_moe.experts.0.down_proj",
                                     "feed_forward.experts.0.w2",
                                     "feed_forward.experts.0.down_proj",
                                     "feed_forward.experts.down_proj",
                                     "mixer.experts.0.down_proj",
                                     "ffn.experts.0.w2",
                                     "moe.experts.0.down_proj",
                                     NULL};
static const char *const routed_outside[] = {"experts.0.down_proj", "experts.down_proj",
                                             "moe.experts.0.down_proj", NULL};
static const char *const shared[] = {"mlp.shared_experts.down_proj",
                                     "mlp.shared_expert.down_proj",
                                     "mlp.shared_mlp.down_proj",
                                     "block_sparse_moe.shared_experts.down_proj",
                                     "feed_forward.shared_expert.down_proj",
                                     "mixer.shared_experts.down_proj",
                                     "ffn.shared_experts.w2",
                                     NULL};
static const char *const shared_outside[] = {"mlp.down_proj", NULL};

static const char *const *names_of(struct module_kind kind)
{
    if (kind.shared)
        return kind.outside ? shared_outside : shared;
    return kind.outside ? routed_outside : routed;
}

// Classes of layers that hold experts, by their names' ends.
static bool is_class(const char *pattern)
{
    static const char *const ends[] = {"Linear", "MoE", "Experts"};
    const size_t length = strlen(pattern);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (length >= strlen(ends[i]) && !strcmp(pattern + length - strlen(ends[i]), ends[i]))
            return true;
    return false;
}

// ---- parts of a path ----------------------------------------------------------------------------

// Whether whole parts of the name, one after another, are the path; from the first one on, if so
// asked.
static bool has_path(const char *name, const char *path, bool from_start)
{
    const size_t length = strlen(path);
    for (const char *at = name; at; at = from_start ? NULL : strchr(at, '.')) {
        at += *at == '.';
        if (!strncmp(at, path, length) && (at[length] == '\0' || at[length] == '.'))
            return true;
    }
    return false;
}

static bool is_named(const char *path, struct module_kind kind, bool from_start)
{
    const char *const *names = names_of(kind);
    for (size_t i = 0; names[i]; i++)
        if (has_path(names[i], path, from_start))
            return true;
    return false;
}

// A path with a layer's number means that layer, one without means all.
static void match_path(const char *path, struct module_kind kind, const struct layer_set *layers,
                       struct layer_set *matched)
{
    const char *at = strstr(path, "layers.");
    char *end = NULL;
    const unsigned long layer = at ? strtoul(at + 7, &end, 10) : 0;
    if (!at || end == at + 7) {
        for (uint32_t l = 0; l < MODEL_MAX_LAYERS && is_named(path, kind, false); l++)
            if (layer_set_has(layers, l))
                layer_set_add(matched, l);
        return;
    }
    const bool named = *end == '\0' || (*end == '.' && is_named(end + 1, kind, true));
    if (named && layer < MODEL_MAX_LAYERS && layer_set_has(layers, (uint32_t)layer))
        layer_set_add(matched, (uint32_t)layer);
}

// ---- whole names --------------------------------------------------------------------------------

// How a whole name is matched: a glob, which means what is below it too, or a regular expression.
struct matcher {
    const char *glob; // NULL: the expression
    regex_t expression;
};

static bool matches_name(const struct matcher *matcher, const char *name)
{
    char below[PATTERN_BYTES];
    if (!matcher->glob)
        return regexec(&matcher->expression, name, 0, NULL, 0) == 0;
    snprintf(below, sizeof below, "%s.*", matcher->glob);
    return fnmatch(matcher->glob, name, 0) == 0 || fnmatch(below, name, 0) == 0;
}

static bool matches_layer(const struct matcher *matcher, struct module_kind kind, uint32_t layer)
{
    const char *const *names = names_of(kind);
    char name[NAME_BYTES];
    for (size_t p = 0; prefixes[p]; p++)
        for (size_t i = 0; names[i]; i++) {
            snprintf(name, sizeof name, "%s%u.%s", prefixes[p], layer, names[i]);
            if (matches_name(matcher, name))
                return true;
        }
    return false;
}

#define ANY_LAYER UINT32_MAX

// The one layer that a pattern spells out, "layers.12." or "layers\\.12\\."; MODEL_MAX_LAYERS:
// maybe more. Checkpoints list thousands of such patterns.
static uint32_t spelled_layer(const char *pattern)
{
    char *end;
    const char *at = strstr(pattern, "layers");
    if (!at)
        return ANY_LAYER;
    at += strlen("layers");
    at += *at == '\\';
    if (*at != '.' || at[1] < '0' || at[1] > '9')
        return ANY_LAYER;
    const unsigned long layer = strtoul(at + 1, &end, 10);
    end += *end == '\\';
    return *end == '.' && layer < ANY_LAYER ? (uint32_t)layer : ANY_LAYER;
}

static void match_names(const struct matcher *matcher, const char *pattern, struct module_kind kind,
                        struct layer_set *matched, const struct layer_set *layers)
{
    const uint32_t only = spelled_layer(pattern);
    for (uint32_t l = 0; l < MODEL_MAX_LAYERS; l++)
        if (layer_set_has(layers, l) && (only == ANY_LAYER || only == l) &&
            matches_layer(matcher, kind, l))
            layer_set_add(matched, l);
}

#define STARS_MOST 8 // of a glob: matching takes exponentially long in them

static bool takes_too_long(const char *glob)
{
    size_t stars = 0;
    for (; *glob; glob++)
        stars += *glob == '*';
    return stars > STARS_MOST;
}

static bool has_back_reference(const char *python)
{
    for (; *python; python++)
        if (python[0] == '\\' && python[1] && (python++, *python >= '1' && *python <= '9'))
            return true;
    return false;
}

// Python's expression as POSIX has it: from the start of a name on, digits and groups spelled out.
// What looks around or behind is not understood, nor is what counts: it may take any memory.
static bool posix_of(const char *python, char *posix)
{
    size_t length = (size_t)snprintf(posix, PATTERN_BYTES, "^(");
    for (const char *c = python; *c; c++) {
        if (length + 8 > PATTERN_BYTES)
            return false;
        const bool digit = !strncmp(c, "\\d", 2), group = !strncmp(c, "(?:", 3);
        if (digit || group)
            length += (size_t)snprintf(posix + length, 8, "%s", digit ? "[0-9]" : "(");
        else
            posix[length++] = *c;
        c += digit ? 1 : group ? 2 : 0;
    }
    posix[length++] = ')';
    posix[length] = '\0';
    return !strstr(python, "(?!") && !strstr(python, "(?=") && !strstr(python, "(?<") &&
           !strchr(python, '{') && !has_back_reference(python);
}

static bool match_expression(const char *python, struct module_kind kind,
                             const struct layer_set *layers, struct layer_set *matched)
{
    char posix[PATTERN_BYTES];
    struct matcher matcher = {0};
    if (!posix_of(python, posix) || regcomp(&matcher.expression, posix, REG_EXTENDED | REG_NOSUB))
        return false;
    match_names(&matcher, python, kind, matched, layers);
    regfree(&matcher.expression);
    return true;
}

bool module_match(const char *pattern, struct module_kind kind, const struct layer_set *layers,
                  struct layer_set *matched)
{
    if (!strncmp(pattern, "re:", 3))
        return match_expression(pattern + 3, kind, layers, matched);
    if (!strncmp(pattern, "-:", 2) || !strncmp(pattern, "+:", 2))
        return match_expression(pattern + 2, kind, layers, matched);
    if (strpbrk(pattern, "*?[")) {
        if (takes_too_long(pattern))
            return false;
        match_names(&(struct matcher){.glob = pattern}, pattern, kind, matched, layers);
    } else if (is_class(pattern))
        for (uint32_t l = 0; l < MODEL_MAX_LAYERS; l++) {
            if (layer_set_has(layers, l))
                layer_set_add(matched, l);
        }
    else
        match_path(pattern, kind, layers, matched);
    return true;
}

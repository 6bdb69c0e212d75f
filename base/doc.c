#include "base/doc.h"

#include "base/infile.h"
#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEEPEST 64     // lists and maps inside one another; bounds the recursion of check_node
#define ANCHORS 1000   // libyaml compares each with all before it
#define VALUES 4000000 // and keys; each takes a hundred bytes or so

struct doc {
    char *name;
    yaml_document_t tree;
    const yaml_node_t *nodes; // the tree's, node 1 first
    size_t count;
    bool kept;
};

static const yaml_node_t *node_at(const struct doc *doc, doc_node node)
{
    assert(node >= 1 && (size_t)node <= doc->count);
    return &doc->nodes[node - 1];
}

static const yaml_node_pair_t *pair_at(const struct doc *doc, doc_node map, size_t index)
{
    assert(doc_kind(doc, map) == DOC_MAP && index < doc_size(doc, map));
    return &node_at(doc, map)->data.mapping.pairs.start[index];
}

static const char *scalar_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

// ---- loading -----------------------------------------------------------------------------------

struct key {
    const char *text;
    size_t index; // among the pairs
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

// Sorted rather than compared pair by pair, so that a huge map costs no quadratic time.
static bool check_duplicates(const struct doc *doc, doc_node map, struct error *err)
{
    const size_t count = doc_size(doc, map);
    struct key *keys = mem_alloc(count, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = (struct key){doc_key(doc, map, i), i};
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    size_t again = count, first = count;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(keys[i - 1].text, keys[i].text) == 0 && keys[i].index < again) {
            again = keys[i].index;
            first = keys[i - 1].index;
        }
    }
    free(keys);
    if (again == count)
        return true;
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT, "%s:%zu: %s: given twice; first on line %zu", doc->name,
                     doc_key_line(doc, map, again), error_quote(doc_key(doc, map, again), quoted),
                     doc_key_line(doc, map, first));
}

static bool check_node(const struct doc *doc, doc_node node, unsigned depth, bool *visited,
                       struct error *err);

static bool check_key(const struct doc *doc, doc_node key, bool *visited, struct error *err)
{
    if (doc_kind(doc, key) != DOC_SCALAR)
        return doc_error(doc, key, err, "a list or map as a key; expected a word");
    return check_node(doc, key, 0, visited, err);
}

static bool check_children(const struct doc *doc, doc_node node, unsigned depth, bool *visited,
                           struct error *err)
{
    const bool map = doc_kind(doc, node) == DOC_MAP;
    for (size_t i = 0; i < doc_size(doc, node); i++) {
        if (map && !check_key(doc, pair_at(doc, node, i)->key, visited, err))
            return false;
        const doc_node child = map ? doc_value(doc, node, i) : doc_item(doc, node, i);
        if (!check_node(doc, child, depth + 1, visited, err))
            return false;
    }
    return !map || check_duplicates(doc, node, err);
}

// libyaml resolves an alias to the node it names, so a node met twice is an alias (or a cycle).
static bool check_node(const struct doc *doc, doc_node node, unsigned depth, bool *visited,
                       struct error *err)
{
    if (visited[node - 1])
        return doc_error(doc, node, err, "an alias ('*name') stands for this; write it out there");
    visited[node - 1] = true;
    if (depth > DEEPEST)
        return doc_error(doc, node, err, "nested deeper than %d levels", DEEPEST);
    if (doc_kind(doc, node) != DOC_SCALAR)
        return check_children(doc, node, depth, visited, err);
    const yaml_node_t *scalar = node_at(doc, node);
    if (strlen(scalar_text(scalar)) != scalar->data.scalar.length)
        return doc_error(doc, node, err, "holds a NUL character; expected text");
    return true;
}

static bool check_tree(const struct doc *doc, struct error *err)
{
    if (doc->count == 0)
        return error_set(err, EXIT_INPUT, "%s: empty; expected a YAML or JSON document", doc->name);
    bool *visited = mem_alloc(doc->count, sizeof *visited);
    const bool good = check_node(doc, doc_root(doc), 0, visited, err);
    free(visited);
    return good;
}

static bool syntax_error(const struct doc *doc, const yaml_parser_t *parser, struct error *err)
{
    const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
    if (parser->error == YAML_READER_ERROR) {
        return error_set(err, EXIT_INPUT, "%s: byte %zu: %s; expected UTF-8 text", doc->name,
                         parser->problem_offset, problem);
    }
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(err, EXIT_RUNTIME, "%s: out of memory", doc->name);
    const size_t line = parser->problem_mark.line + 1;
    if (parser->context == NULL)
        return error_set(err, EXIT_INPUT, "%s:%zu: %s", doc->name, line, problem);
    return error_set(err, EXIT_INPUT, "%s:%zu: %s %s (which began on line %zu)", doc->name, line,
                     problem, parser->context, parser->context_mark.line + 1);
}

// The stream must end after the first document, else what follows would be ignored unseen.
static bool check_end(const struct doc *doc, yaml_parser_t *parser, struct error *err)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return syntax_error(doc, parser, err);
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    const size_t line = root != NULL ? root->start_mark.line + 1 : 0;
    yaml_document_delete(&next);
    if (line > 0) {
        return error_set(err, EXIT_INPUT, "%s:%zu: a second document; expected one", doc->name,
                         line);
    }
    return true;
}

static bool has_anchor(const yaml_event_t *event)
{
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor != NULL) ||
           (event->type == YAML_SEQUENCE_START_EVENT &&
            event->data.sequence_start.anchor != NULL) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor != NULL);
}

static bool is_start(const yaml_event_t *event)
{
    return event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
}

// What the events so far have opened and named.
struct count {
    size_t open, anchors, values;
};

static bool count_event(const struct doc *doc, const yaml_event_t *event, struct count *count,
                        struct error *err)
{
    const size_t line = event->start_mark.line + 1;
    if (is_start(event)) {
        if (count->open > DEEPEST) {
            return error_set(err, EXIT_INPUT, "%s:%zu: nested deeper than %d levels", doc->name,
                             line, DEEPEST);
        }
        count->open++;
    } else if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) {
        count->open--;
    }
    if ((is_start(event) || event->type == YAML_SCALAR_EVENT) && count->values++ == VALUES) {
        return error_set(err, EXIT_INPUT, "%s:%zu: more than %d values; expected fewer", doc->name,
                         line, VALUES);
    }
    if (has_anchor(event) && count->anchors++ == ANCHORS) {
        return error_set(err, EXIT_INPUT, "%s:%zu: more than %d anchors ('&name'); expected none",
                         doc->name, line, ANCHORS);
    }
    return true;
}

// libyaml takes time quadratic in the depth of the tree that it builds and in the anchors, and a
// hundred bytes for a list's "x,". So a first pass, which builds nothing, ends at the first too
// many. What it cannot read is left to the second, which knows more errors.
static bool check_events(struct doc *doc, yaml_parser_t *parser, struct error *err)
{
    yaml_event_t event;
    struct count count = {0};
    bool good = true, more = true;
    while (good && more && yaml_parser_parse(parser, &event)) {
        more = event.type != YAML_STREAM_END_EVENT;
        good = count_event(doc, &event, &count, err);
        yaml_event_delete(&event);
    }
    return good;
}

static bool build_tree(struct doc *doc, yaml_parser_t *parser, struct error *err)
{
    if (!yaml_parser_load(parser, &doc->tree))
        return syntax_error(doc, parser, err);
    doc->nodes = doc->tree.nodes.start;
    doc->count = (size_t)(doc->tree.nodes.top - doc->tree.nodes.start);
    return check_tree(doc, err) && check_end(doc, parser, err);
}

// One pass over the text.
static bool doc_parse(struct doc *doc, const char *text, size_t length,
                      bool (*pass)(struct doc *, yaml_parser_t *, struct error *),
                      struct error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_set(err, EXIT_RUNTIME, "%s: out of memory", doc->name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    const bool good = pass(doc, &parser, err);
    yaml_parser_delete(&parser);
    return good;
}

struct doc *doc_load_text(const char *name, const char *text, size_t length, struct error *err)
{
    struct doc *doc = mem_alloc(1, sizeof *doc);
    doc->name = mem_copy_text(name);
    if (doc_parse(doc, text, length, check_events, err) &&
        doc_parse(doc, text, length, build_tree, err))
        return doc;
    doc_free(doc);
    return NULL;
}

struct doc *doc_load(const char *path, struct error *err)
{
    size_t length;
    char *text = infile_read(path, INFILE_LIMIT, &length, err);
    if (text == NULL)
        return NULL;
    struct doc *doc = doc_load_text(path, text, length, err);
    free(text);
    return doc;
}

void doc_free(struct doc *doc)
{
    if (doc == NULL || doc->kept)
        return;
    if (doc->nodes != NULL)
        yaml_document_delete(&doc->tree);
    free(doc->name);
    free(doc);
}

struct doc *doc_keep(struct doc *doc)
{
    if (doc != NULL)
        doc->kept = true;
    return doc;
}

// ---- reading -----------------------------------------------------------------------------------

doc_node doc_root(const struct doc *doc)
{
    assert(doc->count > 0);
    return 1;
}

const char *doc_name(const struct doc *doc)
{
    return doc->name;
}

size_t doc_line(const struct doc *doc, doc_node node)
{
    return node_at(doc, node)->start_mark.line + 1;
}

enum doc_kind doc_kind(const struct doc *doc, doc_node node)
{
    const yaml_node_type_t type = node_at(doc, node)->type;
    return type == YAML_SEQUENCE_NODE ? DOC_LIST : type == YAML_MAPPING_NODE ? DOC_MAP : DOC_SCALAR;
}

const char *doc_text(const struct doc *doc, doc_node node)
{
    assert(doc_kind(doc, node) == DOC_SCALAR);
    return scalar_text(node_at(doc, node));
}

bool doc_is_null(const struct doc *doc, doc_node node)
{
    const yaml_node_t *scalar = node_at(doc, node);
    if (scalar->type != YAML_SCALAR_NODE || scalar->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = scalar_text(scalar);
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

size_t doc_size(const struct doc *doc, doc_node node)
{
    const yaml_node_t *n = node_at(doc, node);
    if (n->type == YAML_SEQUENCE_NODE)
        return (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    assert(n->type == YAML_MAPPING_NODE);
    return (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
}

doc_node doc_item(const struct doc *doc, doc_node list, size_t index)
{
    assert(doc_kind(doc, list) == DOC_LIST && index < doc_size(doc, list));
    return node_at(doc, list)->data.sequence.items.start[index];
}

const char *doc_key(const struct doc *doc, doc_node map, size_t index)
{
    return doc_text(doc, pair_at(doc, map, index)->key);
}

doc_node doc_value(const struct doc *doc, doc_node map, size_t index)
{
    return pair_at(doc, map, index)->value;
}

size_t doc_key_line(const struct doc *doc, doc_node map, size_t index)
{
    return doc_line(doc, pair_at(doc, map, index)->key);
}

doc_node doc_get(const struct doc *doc, doc_node map, const char *key)
{
    for (size_t i = 0; i < doc_size(doc, map); i++) {
        if (strcmp(doc_key(doc, map, i), key) == 0)
            return doc_value(doc, map, i);
    }
    return DOC_NONE;
}

bool doc_error(const struct doc *doc, doc_node node, struct error *err, const char *format, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (node == DOC_NONE)
        return error_set(err, EXIT_INPUT, "%s: %s", doc->name, text);
    return error_set(err, EXIT_INPUT, "%s:%zu: %s", doc->name, doc_line(doc, node), text);
}

bool doc_field(const struct doc *doc, doc_node node, const struct field *field, void *object,
               struct error *err)
{
    return field_parse(field, doc_text(doc, node), object, err) ||
           error_prefix(err, "%s:%zu: %s", doc->name, doc_line(doc, node), field->key);
}

const char *doc_kind_name(enum doc_kind kind)
{
    return kind == DOC_LIST ? "a list" : kind == DOC_MAP ? "a map" : "a single value";
}

// YAML (and so JSON) documents as a tree that knows its lines, over libyaml's document interface.
// (Named doc_ because libyaml exports yaml_free and others of its own.)
// Every accessor that fails says "file:line: key: what was wrong, what was expected".
#ifndef BASE_DOC_H
#define BASE_DOC_H

#include "base/field.h"

#include <stdint.h>

struct doc; // one loaded document

// A node is an index into its document; DOC_NONE is "no such node".
typedef int doc_node;
#define DOC_NONE 0

// Loads the one document of the file, or of `text` with `name` standing for the file in messages.
// NULL on a missing file, a directory, an empty document, a syntax error, a second document, a
// duplicate key, an alias, a NUL character, nesting deeper than 64, or a file of more than 64 MiB.
// Freed by doc_free.
struct doc *doc_load(const char *path, struct error *err);
struct doc *doc_load_text(const char *name, const char *text, size_t length, struct error *err);
void doc_free(struct doc *doc);

// From here on doc_free leaves the document (NULL: none): one of many readers, to the end of the
// process. Reading changes nothing in it, so that threads may share it.
struct doc *doc_keep(struct doc *doc);

doc_node doc_root(const struct doc *doc);
const char *doc_name(const struct doc *doc);
size_t doc_line(const struct doc *doc, doc_node node); // counted from 1

enum doc_kind { DOC_SCALAR, DOC_LIST, DOC_MAP };
enum doc_kind doc_kind(const struct doc *doc, doc_node node);

// A scalar's text (never NULL); asserts that it is one.
const char *doc_text(const struct doc *doc, doc_node node);

// True for a plain null: "", "~", "null".
bool doc_is_null(const struct doc *doc, doc_node node);

size_t doc_size(const struct doc *doc, doc_node node); // items of a list or pairs of a map
doc_node doc_item(const struct doc *doc, doc_node list, size_t index);
const char *doc_key(const struct doc *doc, doc_node map, size_t index);
doc_node doc_value(const struct doc *doc, doc_node map, size_t index);
size_t doc_key_line(const struct doc *doc, doc_node map, size_t index);
doc_node doc_get(const struct doc *doc, doc_node map, const char *key); // or DOC_NONE

// Fills err with "file:line: <format>" for a node and returns false.
bool doc_error(const struct doc *doc, doc_node node, struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Reads a scalar as the field does, into the field's member of *object; asserts that it is one. The
// message is "file:line: key: what was wrong", key being the field's.
bool doc_field(const struct doc *doc, doc_node node, const struct field *field, void *object,
               struct error *err);

// "a list", "a map" or "a single value", for messages.
const char *doc_kind_name(enum doc_kind kind);

#endif

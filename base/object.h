// Objects: structs that people write down key by key (a model, a cluster, a recipe of traces), read
// by their table of fields from a preset, a file, or NAME:key=value changes to either.
//
// A value stands alone or beside where it comes from:
//
//     nodes: 4
//     hbm: {value: 2.67TB/s, source: "highest of DeepGEMM README"}
//     nic: {value: 47.774GB/s, fit: "DeepEP's kernels, published by 2026-11", rows: 370,
//           stderr_pct: 0.71}
#ifndef BASE_OBJECT_H
#define BASE_OBJECT_H

#include "base/doc.h"
#include "base/field.h"

#include <stdint.h>
#include <stdio.h>

// ---- where a value comes from -------------------------------------------------------------------

// All zero: nobody says.
struct provenance {
    char *source;      // datasheet, paper, assumption; beside a fit, what is to be said of it
    char *fit;         // the measured data that it was fitted to, by name; NULL: to none
    size_t rows;       // of that data; at least 1 with fit, 0 without
    double stderr_pct; // relative standard error; 0: not known
    char *only;        // the part of the data that was taken, "1/3"; NULL: all of it
    char *except;      // or the part that was left out
    uint64_t seed;     // of the draw of that part
};

// Frees the contents of `count` of them; safe on zeroed ones, and leaves them zeroed.
void provenance_release(struct provenance *provenance, size_t count);

// Whether anybody says where the value comes from.
static inline bool provenance_given(const struct provenance *provenance)
{
    return provenance->source || provenance->fit;
}

struct provenance provenance_copy(const struct provenance *provenance);
bool provenance_same(const struct provenance *a, const struct provenance *b);

// One line for people: the source, or "fitted to 24 rows of DATA; standard error 2.1 %". NULL where
// nobody says. Freed by the caller.
char *provenance_text(const struct provenance *provenance);

// The keys that stand after `value: ...` in a file, each after ", ": what reading it back takes.
void provenance_print(const struct provenance *provenance, FILE *out);

// ---- a map of a document ------------------------------------------------------------------------

// Reads every pair of a map into *object by the table. Unknown keys are refused with the nearest
// known one. A plain null is refused.
struct object_bind {
    const struct field *fields;
    size_t count;
    void *object;
    struct provenance *provenance; // [count] what stands beside each value, or NULL: not asked for
    bool *seen;                    // [count] set for each key found, or NULL
    const char *const *others;     // keys that are left aside, NULL-terminated, or NULL: none
    bool open;                     // a foreign file: leaves all other keys aside, and nulls too
};
bool object_bind(const struct doc *doc, doc_node map, const struct object_bind *bind,
                 struct error *err);

// The value of a key and what stands beside it: takes {value: ..., source: ...} apart, and leaves
// anything else as it is. *provenance is zero before and released by the caller.
bool object_open(const struct doc *doc, const char *key, doc_node *node,
                 struct provenance *provenance, struct error *err);

// ---- whole objects ------------------------------------------------------------------------------

struct object_reading;

// How one kind of object is read: constant, one a kind. Its table has a row "name", a text.
struct object_reader {
    const char *kind;  // of presets (base/preset.h): "clusters"
    const char *whose; // for messages: "a cluster's"
    const struct field *fields;
    size_t count;
    const char *const *required; // keys, NULL-terminated, or NULL: none
    const char *needs;           // for the message of one that is missing: "a cluster needs ..."
    const char *const *others;   // keys that are no fields, which `read_others` reads

    // All that follows may be NULL. Those that return bool fail with the message in reading->err.
    bool (*begin)(struct object_reading *); // may set fields and count by what the document is
    bool (*read_others)(struct object_reading *);   // after the fields
    void (*settle)(struct object_reading *);        // defaults that hang on which keys were seen
    void (*changed)(struct object_reading *);       // after changes, `seen` being what was changed
    bool (*check_variant)(struct object_reading *); // after a variant's keys
    // What cannot be: the key at fault, with the message in *err (preset_fault), or NULL. May fill
    // members that are no fields.
    const char *(*fault)(void *object, struct error *err);
    // Documents of another program's keys, and who reads them in place of the table.
    bool (*is_foreign)(const struct doc *doc, doc_node root);
    bool (*read_foreign)(struct object_reading *);
};

// One object being read. The caller sets the first block, zero what it does not need.
struct object_reading {
    const struct object_reader *reader;
    void *object;                  // with its defaults
    struct provenance *provenance; // [count] where each value comes from, or NULL: not asked for
    bool *seen;                    // [count], all false: keys that the last document or change gave
    void *context;                 // of the callbacks
    struct error *err;

    const struct field *fields; // the reader's, unless `begin` chose others
    size_t count;
    const struct doc *doc; // in hand
    doc_node root;
};

// The row of a key that the table has.
size_t object_row(const struct object_reading *reading, const char *key);

// A preset by its name, or a file. The object's name is the file's unless it says another.
bool object_load(struct object_reading *reading, const char *what);

// After object_load: what NAME@VARIANT says, where there is such a preset, in place of what the
// object has, by the same table; what it gives no provenance loses the old one. `seen` says which
// keys those are. True when there is none.
bool object_load_variant(struct object_reading *reading, const char *what, const char *variant);

// Whether the text is no file but NAME:key=value,key=value.
bool object_says_changes(const char *what);

// Cuts NAME:key=value,... into the name, which is returned and freed by the caller, and *items
// within it; NULL: there are none.
char *object_split(const char *what, char **items);

// After object_load: "key=value,key=value" (cut in place) over the object. A changed value has no
// provenance any more, and the object's name, a new one too, gets a '*', so that it does not pass
// for what was measured.
bool object_change(struct object_reading *reading, char *items);

// Puts the '*' behind a name of FIELD_TEXT_BYTES, once.
void object_mark_changed(char *name);

// An object as text that object_load reads back, a key a line. What stands beside a value is one
// line for people, as its source; `exact`: as data.
struct object_text {
    const struct field *fields;
    size_t count;
    const void *object;
    const struct provenance *provenance; // [count]
    bool exact;
};
void object_print(FILE *out, const struct object_text *text);

#endif

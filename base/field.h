// Fields: one table row per named value of a struct. The same row reads a YAML key, a key of the
// one-line cluster form and a command-line flag, checks the range, prints the value back and
// documents it. A key spelled once is spelled the same everywhere ('-' in a flag is '_' in a file).
#ifndef BASE_FIELD_H
#define BASE_FIELD_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD_TEXT_BYTES 256 // every text field is a char[FIELD_TEXT_BYTES]

enum field_kind {
    FIELD_BOOL,   // bool; true/false, yes/no, on/off, 1/0
    FIELD_U32,    // uint32_t, a count
    FIELD_U64,    // uint64_t, a count
    FIELD_NUMBER, // double, no unit (a ratio, or the unit is in the key: skew_us)
    FIELD_BYTES,  // uint64_t, given as 64KiB, 4MB
    FIELD_RATE,   // double bytes per second, given as 50GB/s, 400Gbps
    FIELD_TIME,   // uint64_t picoseconds, given as 2.5us
    FIELD_FLOPS,  // double operations per second, given as 1979TFLOPS
    FIELD_TEXT,   // char[FIELD_TEXT_BYTES]
    FIELD_ENUM,   // enum or uint32_t: index into names
    FIELD_NAMED,  // pointer to one of objects, by its name
};

struct field {
    const char *key; // as in files: lower case with '_'
    enum field_kind kind;
    size_t offset;            // of the member in the struct
    double min, max;          // inclusive, in the base unit; both 0: only what the kind implies
    const char *const *names; // FIELD_ENUM: NULL-terminated
    const char *help;         // one line; says the unit and what it means in the field
    const void *const
        *objects; // FIELD_NAMED: NULL-terminated; each begins with its const char *name
    unsigned tag; // of the table's owner
};

// Reads text into the member of *object. The message has no place in it: prefix with one.
bool field_parse(const struct field *field, const char *text, void *object, struct error *err);

// The member of *object as field_parse reads it; buffer has FIELD_TEXT_BYTES bytes.
char *field_format(const struct field *field, const void *object, char *buffer);

// The same with as many digits as reading back exactly takes.
char *field_exact(const struct field *field, const void *object, char *buffer);

// Makes what the member says `factor` times as slow: a time longer, rounded up, a rate lower. Other
// kinds stay as they are.
void field_scale(const struct field *field, void *object, double factor);

// Any text as a double-quoted scalar of YAML.
void field_print_quoted(const char *text, FILE *out);

// The row with this key ('-' and '_' are equal), or NULL.
const struct field *field_find(const struct field *fields, size_t count, const char *key);

// The name meant by `word` among `count` names taken through `name(ctx, i)`: the only one that
// begins with it, else the nearest by edit distance, or NULL when none is near enough to be a slip
// (distance above a third of the word's length).
const char *field_nearest(const char *word, size_t count,
                          const char *(*name)(const void *context, size_t index),
                          const void *context);

// field_nearest over the keys of a table.
const char *field_nearest_key(const struct field *fields, size_t count, const char *word);

// Keys of an object changed one by one, as after a preset's name: NAME:key=value,key=value.
struct field_change {
    const struct field *fields;
    size_t count;
    void *object;
    bool *seen; // [count]: set for each key changed, and none may be changed twice
};

// One key. The message begins with it: "nic: '50': ..."; an unknown one names the nearest.
bool field_set(const struct field_change *change, const char *key, const char *value,
               struct error *err);

// "key=value,key=value", cut into pieces in place.
bool field_assign(const struct field_change *change, char *items, struct error *err);

#endif

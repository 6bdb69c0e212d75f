// Parameters: keys of clusters, dispatchers and kernels that a fit may move, and what a scenario
// has of them.
#ifndef STUDY_PARAMETER_H
#define STUDY_PARAMETER_H

#include "base/field.h"
#include "scenario/scenario.h"
#include "study/names.h"

#include <stddef.h>
#include <stdint.h>

enum parameter_part { PART_CLUSTER, PART_DISPATCHER, PART_KERNELS, PARAMETER_PARTS };
extern const char *const parameter_part_names[]; // as fit files list presets: "clusters", ...

#define PARAMETER_KEYS 2

struct parameter {
    enum parameter_part part;
    // A rate, time, number or FLOPS; and a second key of the same value, or NULL.
    const struct field *keys[PARAMETER_KEYS];
    struct names presets;   // those whose key it is
    struct names words;     // what each was loaded by: the name itself, or a file
    bool asked;             // NAME@asked is among them: whatever variant says the key
    double start, min, max; // base units: bytes a second, picoseconds, ...
    double prior;           // width about the start; 0: none
    size_t rows;            // that depend on it
};

// Where a key's value is read to by itself: a preset of which only that member is used.
union parameter_object {
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct kernels kernels;
};

// Whether a phase of the scenario, standing alone, hangs on the parameter: bit k by keys[k]; 0: not
// at all. The preset must be the scenario's own, or the variant that says the key.
uint8_t parameter_depends(const struct parameter *parameter, const struct scenario *scenario,
                          enum phase phase);
// The same of dispatch or combine.
uint8_t parameter_depends_moving(const struct parameter *parameter,
                                 const struct scenario *scenario);

// Whether one of its presets is called so, or is a variant of the dispatcher that is.
bool parameter_is_of(const struct parameter *parameter, const char *name);

// Whether two parameters have a key in common.
bool parameter_same_key(const struct parameter *a, const struct parameter *b);

// Writes the value into the keys of the scenario's cluster, dispatcher or kernels; its schedule is
// stale then.
void parameter_put(const struct parameter *parameter, uint8_t on, double value,
                   struct scenario *scenario);

// The row of a key in the dispatcher's own table: one key has another row, and another place, under
// every cost model. NULL: the dispatcher has no such key.
const struct field *parameter_row(const struct field *field, const struct dispatcher *dispatcher);

// A key's value in the scenario's cluster, dispatcher or kernels, in base units; 0 where it has no
// such key.
double parameter_value(enum parameter_part part, const struct field *field,
                       const struct scenario *scenario);

// What a row's member has in an object of that row's table, in base units.
double parameter_get(const struct field *field, const void *object);

// What the text says as a field's value, in base units; NaN where it does not.
double parameter_parse(const struct field *field, const char *text);

// A parameter's value as its key is written in a preset ("45.3GB/s"). buffer has FIELD_TEXT_BYTES.
// Five digits: more than a fit can mean, and few enough to read.
char *parameter_format(const struct parameter *parameter, double value, char *buffer);
char *parameter_print(const struct parameter *parameter, double value, int digits, char *buffer);

// The row of the part's table, of dispatchers the first that any cost model has (cost_key), or
// NULL: which key it is, its kind and range; its place is parameter_row's.
const struct field *parameter_field(enum parameter_part part, const char *key);

void parameter_release(struct parameter *parameter);

#endif

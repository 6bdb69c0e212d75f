// What loggers of MoE layers write: a row a token and layer, in any order, with as much of step,
// source rank, request and token number as the logger knows; gathered into pieces. Private to
// traces/.
#ifndef TRACES_TOKEN_ROWS_H
#define TRACES_TOKEN_ROWS_H

#include "traces/importer.h"

// What a row may say beside its layer and ids.
enum token_key { TOKEN_STEP, TOKEN_RANK, TOKEN_REQUEST, TOKEN_NUMBER, TOKEN_KEYS };

// The names that loggers use for each: ended by NULL, by enum token_key.
extern const char *const *const token_key_names[TOKEN_KEYS];
extern const char *const token_layer_names[]; // ended by NULL
extern const char *const token_ids_names[];

struct token_row {
    uint64_t keys[TOKEN_KEYS];
    uint64_t line; // or record, for messages
    size_t ids;    // its first in token_rows.ids
    uint32_t layer;
};

struct token_rows {
    const char *path;     // borrowed
    bool has[TOKEN_KEYS]; // of every row
    uint32_t width;
    struct token_row *rows;
    size_t count, id_count;
    int32_t *ids;
    json_t *requests; // their numbers by name
};

void token_rows_init(struct token_rows *rows, const char *path);
void token_rows_release(struct token_rows *rows);

// A request's number by its name, which stands in the order of first appearance.
uint64_t token_rows_request(struct token_rows *rows, const char *name);

// Adds a row; line and layer are set, and `has` says of the first row which keys are. ids[width] in
// int32. Refuses another number of ids than the first row's, and layers or ids out of range.
bool token_rows_add(struct token_rows *rows, const struct token_row *row, const int64_t *ids,
                    size_t width, struct error *err);

// Adds all rows to the import: with steps, a piece a step and rank; else one a request, whose
// tokens are in order of their number, or of their rows where they have none. A layer that a token
// has no row of is a dropped choice; without numbers, every layer must have as many rows. Refuses a
// token that stands twice in a layer.
bool token_rows_import(struct token_rows *rows, struct import *import, struct error *err);

#endif

// A published configuration being read: where its keys stand, which were taken, and which not.
#ifndef MODEL_FORMATS_CONFIG_READING_H
#define MODEL_FORMATS_CONFIG_READING_H

#include "model/moe.h"

#define CONFIG_FIELDS 32     // at least those of moe_fields
#define CONFIG_MAX_TAKEN 160 // values that a reader looks at

// Where a field's value comes from.
struct config_place {
    const char *key; // as the document calls it
    doc_node node;
};

struct config_reading {
    struct object_reading *reading;
    const struct doc *doc;
    doc_node root, map; // the whole; the language model's part of it, or the whole
    struct moe *moe;
    struct error *err;
    struct config_place place[CONFIG_FIELDS];
    doc_node taken[CONFIG_MAX_TAKEN];
    size_t taken_count;
};

size_t config_row(const char *field); // of moe_fields

// The value of "key", or of "map.key", in the language model's part or else in the whole; DOC_NONE
// where it is absent or null.
doc_node config_get(const struct config_reading *config, const char *key);
// Text of a scalar, or "".
const char *config_text(const struct config_reading *config, const char *key);
const char *config_text_in(const struct doc *doc, doc_node map, const char *key);
doc_node config_map_in(const struct doc *doc, doc_node map, const char *key); // or DOC_NONE

// The value counts as read.
void config_took(struct config_reading *config, doc_node node);
bool config_was_taken(const struct config_reading *config, doc_node node);

// Reads a field of moe_fields from a scalar, which the document calls `key`.
bool config_take(struct config_reading *config, const char *field, const char *key, doc_node node);
// The field has its value by those keys.
void config_say(struct config_reading *config, const char *field, struct config_place place);
bool config_said(const struct config_reading *config, const char *field);

// A whole number of a scalar, from -1 up; the message begins with the place and the key.
bool config_number(const struct config_reading *config, const char *key, doc_node node,
                   int64_t *value);

// "deepseek_v3", from model_type or the name of the architecture; is: whether it begins with that.
bool config_is_family(const struct config_reading *config, const char *type);

#endif

// The configurations that models are published with: Hugging Face's config.json, Mistral's
// params.json, and the configurations of DeepSeek's inference code.
#ifndef MODEL_FORMATS_MODEL_CONFIG_H
#define MODEL_FORMATS_MODEL_CONFIG_H

#include "base/object.h"

// Published configurations name their architecture; epsim's own files have none of these keys.
bool model_config_is(const struct doc *doc, doc_node root);

// Reads one into the reading's struct moe, whose defaults are set: the language model's part of it,
// where it has others. Of several keys for the same the first of a table is taken, and a notice
// says where another contradicts it. A list with a value a layer must agree in all MoE layers. What
// looks relevant and was not read is named in one notice (model/formats/confess.h).
bool model_config_read(struct object_reading *reading);

#endif

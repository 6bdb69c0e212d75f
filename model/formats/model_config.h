// The configurations that models are published with: Hugging Face's config.json.
#ifndef MODEL_FORMATS_MODEL_CONFIG_H
#define MODEL_FORMATS_MODEL_CONFIG_H

#include "base/object.h"

// Published configurations name their architecture; epsim's own files have none of these keys.
bool model_config_is(const struct doc *doc, doc_node root);

// Reads one into the reading's struct moe, whose defaults are set: keys of DeepSeek, Qwen, Mixtral,
// gpt-oss, Kimi, GLM and OLMoE, and a nested text_config.
bool model_config_read(struct object_reading *reading);

#endif

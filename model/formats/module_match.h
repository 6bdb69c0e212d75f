// Which of a model's experts a pattern of a quantised checkpoint means. Such patterns name modules:
// "model.layers.3.mlp.gate", "re:.*self_attn.*", "*.mlp.shared_experts*", "lm_head", "Linear".
#ifndef MODEL_FORMATS_MODULE_MATCH_H
#define MODEL_FORMATS_MODULE_MATCH_H

#include "model/formats/layer_set.h"

// Whose modules are meant.
struct module_kind {
    bool shared;  // shared experts, else routed ones
    bool outside; // experts stand beside the layer's MLP and not in it, as Gemma 4's do
};

// Adds those of `layers` whose experts the pattern means: a regular expression behind "re:", or
// "-:" or "+:", a glob with '*', a class of layers ("Linear"), or else parts of a module's path,
// one after another. Routed experts are told by the first one's last matrix. False: it is not
// understood: an expression that looks around, refers back or counts, or a glob of many stars.
bool module_match(const char *pattern, struct module_kind kind, const struct layer_set *layers,
                  struct layer_set *matched);

#endif

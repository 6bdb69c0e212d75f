// What a family of models does, by its configuration and beside it.
#ifndef MODEL_FORMATS_CONFIG_FAMILY_H
#define MODEL_FORMATS_CONFIG_FAMILY_H

#include "model/formats/config_reading.h"

// What the code of a family does though its configuration may not say so.
enum config_trait {
    CONFIG_SIGMOID = 1,   // the router's scores
    CONFIG_RAW = 2,       // weights are not divided by their sum
    CONFIG_DENSE_FFN = 4, // of intermediate_size, beside the experts of every MoE layer
    CONFIG_OUTSIDE = 8,   // experts' modules stand beside the MLP
};
unsigned config_traits(const struct config_reading *config); // bits of enum config_trait

// How the router makes scores, and what a group limit is worth. After the rows of keys.
void config_read_router(struct config_reading *config, unsigned traits);

// Whether experts have a gate, by a switch or by their activation.
void config_read_gate(struct config_reading *config);

// One width of all shared experts together: some keys have that of each, and some families a dense
// FFN beside the experts, which is a shared one. Refuses a width too large.
bool config_settle_shared(struct config_reading *config, unsigned traits);

#endif

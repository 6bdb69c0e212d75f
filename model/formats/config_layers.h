// Which layers of a published configuration are MoE layers.
#ifndef MODEL_FORMATS_CONFIG_LAYERS_H
#define MODEL_FORMATS_CONFIG_LAYERS_H

#include "model/formats/config_reading.h"

// Counts the model's layers and finds its MoE layers, by a list or pattern of all layers where one
// is there, else by every rule that the configuration has (leading dense layers, an interval, a
// list of dense ones); notices a list that other rules contradict. experts_key: the key of the
// routed experts, which may be a list with 0 for dense layers. Refuses no MoE layer at all.
bool config_layers(struct config_reading *config, const char *experts_key);

#endif

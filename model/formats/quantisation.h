// How the experts' weights of a published configuration are kept, and what they compute in.
#ifndef MODEL_FORMATS_QUANTISATION_H
#define MODEL_FORMATS_QUANTISATION_H

#include "model/formats/config_reading.h"

// One scheme of quantisation.
struct quantisation {
    enum dtype weights, activations;
    uint32_t group;            // weights that share a scale; 0: as many as the format has
    const char *unrepresented; // what activations are in, for which another format stands; or NULL
    bool guessed;              // from a name that is not known, but has a known one in it
};

// Reads what a map says: quant_method, quant_algo, format, bits, weights of compressed tensors or
// of Quark. False: nothing that is known here.
bool quantisation_of(const struct doc *doc, doc_node map, struct quantisation *quantisation);

// Reads a configuration's: quantization_config, the part of it that is about experts, those that it
// leaves out, and expert_dtype; hf_quant_config.json beside the file, where the configuration has
// none. After config_layers. Notices what is not known here, layers that differ, and shared experts
// in another format. `outside`: experts stand beside the layer's MLP.
bool quantisation_read(struct config_reading *config, bool outside);

#endif

// Choices of experts: taken from a rule or trace, or the router's own, and made known to all ranks.
// Private to the layer's own files.
#ifndef REAL_CHOICES_H
#define REAL_CHOICES_H

#include "real/layer_state.h"

// Makes layer->routing the routing of all ranks' choices, once choices_learn has filled them in.
void choices_open(struct layer *layer);
void choices_close(struct layer *layer);

// Choices that a rule or trace made: uploaded, as if the router had written them.
void choices_upload(struct layer *layer);

// Notify: every rank's choices on every rank. The first time they are kept; later ones must be the
// same. Collective.
bool choices_learn(struct layer *layer, struct error *err);

// This rank's choices of some tokens: ids and weights have count * topk values.
void choices_read(struct layer *layer, const uint32_t *token, uint32_t count, uint16_t *ids,
                  float *weights);

#endif

// Keys of a published configuration that look as if they said something of experts, and were not
// read.
#ifndef MODEL_FORMATS_CONFESS_H
#define MODEL_FORMATS_CONFESS_H

#include "model/formats/config_reading.h"

// Names them in one notice: those with expert, moe, shared, dense, quant, latent, route, router,
// score or hash in their name that nobody took, but nulls and keys known to change nothing here.
void confess(const struct config_reading *config);

#endif

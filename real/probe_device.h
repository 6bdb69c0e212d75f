// What a device does by itself: row gathers, launches and an expert's matrix products, on all ranks
// at once; and the memory that all trials work on. Private to real/.
#ifndef REAL_PROBE_DEVICE_H
#define REAL_PROBE_DEVICE_H

#include "real/probe_state.h"

// Buffers for the largest exchange that is asked and for the device's own trials.
bool probe_memory_open(struct probe *probe, struct error *err);
void probe_memory_close(struct probe *probe);

// Collective: the slowest rank counts.
bool probe_device(struct probe *probe, struct error *err);

// Of the products that probe_device times on this world's device.
struct probe_shape probe_device_shape(const struct world *world);

#endif

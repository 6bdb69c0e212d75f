// What the NCCL transport and the checks need of a CUDA device beyond its table.
#ifndef REAL_CUDA_H
#define REAL_CUDA_H

#include "real/device.h"

#include <cuda_runtime_api.h>

cudaStream_t cuda_stream(struct device *device, enum stream stream);

// Lets `watch` look after work that other processes take part in: it is called about ten times a
// second while the device waits for a stream, with the seconds waited so far, and returns false,
// having freed the streams, when the work will never end; its error sticks. NULL: nobody.
typedef bool (*cuda_watch_fn)(void *context, double waited_s, struct error *err);
void cuda_watch(struct device *device, cuda_watch_fn watch, void *context);

#endif

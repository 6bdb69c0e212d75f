// What check_cuda and check_cuda_speed share: the device under test, its arrays, and a line a
// check.
#ifndef REAL_CHECK_CUDA_DEVICE_H
#define REAL_CHECK_CUDA_DEVICE_H

#include "real/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_ROWS 61u // rows of most checks

extern struct device *check_device;            // open while a program's body runs
extern const char *const check_format_names[]; // by enum row_format

// A program's main: opens GPU 0, runs the body, and tells how many checks failed, as `outcome`.
// Returns the exit code: 1 when any was wrong, 3 when there is no GPU.
int check_program(const char *program, const char *outcome, bool (*body)(struct error *err));

// One line a check. error NaN fails.
void check_exact(const char *what, uint64_t wrong, uint64_t total);
void check_error(const char *what, double error, double limit);
// us of a call and its rate, as a share `of` another; min_share 0: only told.
struct check_rate {
    double us, rate, of, min_share;
};
void check_rate(const char *what, const struct check_rate *measured);

// Device arrays: of a host array, and of bytes that no result has been written to yet.
void *check_to_device(const void *from, size_t bytes);
void *check_poisoned(size_t bytes);
// A host array of what the device holds once all its work is done; to be freed.
void *check_from_device(void *from, size_t bytes);

// Square root of the squared errors' sum over the reference's.
double check_relative_error(const double *expected, const double *got, uint64_t count);

#endif

// What check_cuda and check_cuda_speed share: the device under test and the host device beside it,
// arrays of a check, and a line a check.
#ifndef REAL_CHECK_CUDA_DEVICE_H
#define REAL_CHECK_CUDA_DEVICE_H

#include "real/device.h"

#define CHECK_ROWS 61u // rows of most checks

enum check_side { CHECK_HOST, CHECK_CUDA, CHECK_SIDES };
extern struct device *check_devices[CHECK_SIDES]; // open while a program's body runs
extern const char *const check_format_names[];    // by enum row_format

// A program's main: opens GPU 0, runs the body, and tells how many checks failed, as `outcome`.
// Returns the exit code: 1 when any was wrong, 3 when there is no GPU.
int check_program(const char *program, const char *outcome, bool (*body)(struct error *err));

// Arrays of a side, held until check_release.
void *check_alloc(enum check_side side, size_t bytes);
void check_release(void);

// The same bytes on both sides: `from` host memory, or (NULL) what no result looks like.
struct check_both {
    void *at[CHECK_SIDES];
    size_t bytes;
};
struct check_both check_both(const void *from, size_t bytes);

// `count` values in [-scale, scale) on the GPU, bf16; and a GPU's bf16 array as host floats, once
// all its work is done.
uint16_t *check_filled(uint64_t tensor, uint64_t count, float scale);
float *check_widened(const uint16_t *cuda, uint64_t count);
// The GPU's bytes on the host, likewise.
void *check_download(const void *cuda, size_t bytes);

// printf into a name that stands until the next.
const char *check_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

// One line a check, after which its arrays are released: whether the GPU's bytes are the host's;
// whether as few as none of `total` are wrong; whether got is within the limit of what was expected
// (root of the squared errors' sum over the expected ones'; NaN fails).
void check_same_bytes(const char *what, const struct check_both *both);
void check_exact(const char *what, uint64_t wrong, uint64_t total);
struct check_floats {
    const float *expected, *got;
    uint64_t count;
};
void check_error(const char *what, const struct check_floats *floats, double limit);

// One line of us of a call and its rate, as a share `of` another; min_share 0: only told. Arrays
// stay.
struct check_rate {
    double us, rate, of, min_share;
};
void check_rate(const char *what, const struct check_rate *measured);

#endif

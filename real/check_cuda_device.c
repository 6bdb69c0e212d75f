#include "real/check_cuda_device.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define MAX_HELD 32

struct device *check_devices[CHECK_SIDES];
const char *const check_format_names[] = {"fp32", "bf16", "fp8"};

static uint32_t failures;

// ---- the program --------------------------------------------------------------------------------

int check_program(const char *program, const char *outcome, bool (*body)(struct error *err))
{
    struct error err = {0};
    bool ran = device_host.open(&check_devices[CHECK_HOST], 0, &err) &&
               device_cuda.open(&check_devices[CHECK_CUDA], 0, &err);
    if (ran) {
        printf("%-6s %-44s %12s %12s %8s\n", "", "check", "error", "", "");
        ran = body(&err);
        device_close(check_devices[CHECK_CUDA]);
    }
    device_close(check_devices[CHECK_HOST]);
    if (!ran) {
        fprintf(stderr, "%s: %s\n", program, err.text);
        return (int)err.code;
    }
    printf("\n%u %s\n", failures, outcome);
    return failures ? EXIT_TOLERANCE : EXIT_DONE;
}

// ---- arrays -------------------------------------------------------------------------------------

static struct held {
    struct device *device;
    void *memory;
} held[MAX_HELD];
static uint32_t held_count;

void *check_alloc(enum check_side side, size_t bytes)
{
    assert(held_count < MAX_HELD);
    struct held *array = &held[held_count++];
    *array = (struct held){check_devices[side], device_alloc(check_devices[side], bytes)};
    return array->memory;
}

void check_release(void)
{
    while (held_count > 0) {
        held_count--;
        device_release(held[held_count].device, held[held_count].memory);
    }
}

struct check_both check_both(const void *from, size_t bytes)
{
    const struct check_both both = {
        {check_alloc(CHECK_HOST, bytes), check_alloc(CHECK_CUDA, bytes)}, bytes};
    if (from)
        memcpy(both.at[CHECK_HOST], from, bytes);
    else
        memset(both.at[CHECK_HOST], 0xa5, bytes);
    device_upload(check_devices[CHECK_CUDA], both.at[CHECK_CUDA], both.at[CHECK_HOST], bytes);
    return both;
}

void *check_download(const void *cuda, size_t bytes)
{
    void *to = check_alloc(CHECK_HOST, bytes);
    device_sync(check_devices[CHECK_CUDA], &(struct error){0});
    device_download(check_devices[CHECK_CUDA], to, cuda, bytes);
    return to;
}

uint16_t *check_filled(uint64_t tensor, uint64_t count, float scale)
{
    uint16_t *values = check_alloc(CHECK_CUDA, count * sizeof *values);
    device_fill(check_devices[CHECK_CUDA], &(struct tensor_fill){values, count, 3, tensor, scale});
    return values;
}

float *check_widened(const uint16_t *cuda, uint64_t count)
{
    const uint16_t *from = check_download(cuda, count * sizeof *from);
    float *to = check_alloc(CHECK_HOST, count * sizeof *to);
    for (uint64_t i = 0; i < count; i++)
        to[i] = bf16_to_float(from[i]);
    return to;
}

// ---- lines --------------------------------------------------------------------------------------

const char *check_name(const char *format, ...)
{
    static char name[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return name;
}

void check_exact(const char *what, uint64_t wrong, uint64_t total)
{
    failures += wrong > 0;
    printf("%-6s %-44s %12" PRIu64 " of %" PRIu64 " differ\n", wrong ? "FAIL" : "PASS", what, wrong,
           total);
    check_release();
}

void check_same_bytes(const char *what, const struct check_both *both)
{
    const uint8_t *expected = both->at[CHECK_HOST];
    const uint8_t *got = check_download(both->at[CHECK_CUDA], both->bytes);
    uint64_t wrong = 0;
    for (size_t i = 0; i < both->bytes; i++)
        wrong += expected[i] != got[i];
    check_exact(what, wrong, both->bytes);
}

void check_error(const char *what, const struct check_floats *floats, double limit)
{
    double error2 = 0, whole2 = 0;
    for (uint64_t i = 0; i < floats->count; i++) {
        const double expected = floats->expected[i], off = floats->got[i] - expected;
        error2 += off * off;
        whole2 += expected * expected;
    }
    const double error = sqrt(error2 / whole2);
    const bool good = error <= limit; // NaN is not
    failures += !good;
    printf("%-6s %-44s %12.3g limit %.3g\n", good ? "PASS" : "FAIL", what, error, limit);
    check_release();
}

void check_rate(const char *what, const struct check_rate *measured)
{
    const double share = measured->rate / measured->of;
    const bool good = share >= measured->min_share;
    failures += !good;
    printf("%-6s %-44s %12.2f %12.1f %8.3f\n",
           measured->min_share == 0 ? "-"
           : good                   ? "PASS"
                                    : "SLOW",
           what, measured->us, measured->rate, share);
}

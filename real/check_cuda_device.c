#include "real/check_cuda_device.h"

#include "base/mem.h"
#include "real/cuda.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct device *check_device;
const char *const check_format_names[] = {"fp32", "bf16", "fp8"};

static uint32_t failures;

int check_program(const char *program, const char *outcome, bool (*body)(struct error *err))
{
    struct error err = {0};
    if (!device_open(&device_cuda, &check_device, 0, &err)) {
        fprintf(stderr, "%s: %s\n", program, err.text);
        return (int)err.code;
    }
    printf("%-6s %-44s %12s %12s %8s\n", "", "check", "error", "", "");
    const bool ran = body(&err);
    device_close(check_device);
    if (!ran) {
        fprintf(stderr, "%s: %s\n", program, err.text);
        return (int)err.code;
    }
    printf("\n%u %s\n", failures, outcome);
    return failures ? EXIT_TOLERANCE : EXIT_DONE;
}

void check_exact(const char *what, uint64_t wrong, uint64_t total)
{
    failures += wrong > 0;
    printf("%-6s %-44s %12" PRIu64 " of %" PRIu64 " differ\n", wrong ? "FAIL" : "PASS", what, wrong,
           total);
}

void check_error(const char *what, double error, double limit)
{
    const bool good = error <= limit; // NaN is not
    failures += !good;
    printf("%-6s %-44s %12.3g limit %.3g\n", good ? "PASS" : "FAIL", what, error, limit);
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

void *check_to_device(const void *from, size_t bytes)
{
    void *to = device_alloc(check_device, bytes);
    device_upload(check_device, to, from, bytes);
    return to;
}

void *check_poisoned(size_t bytes)
{
    void *poison = mem_alloc(bytes + 1, 1);
    memset(poison, 0xa5, bytes);
    void *to = check_to_device(poison, bytes);
    free(poison);
    return to;
}

void *check_from_device(void *from, size_t bytes)
{
    void *to = mem_alloc(bytes + 1, 1);
    device_sync(check_device, &(struct error){0});
    device_download(check_device, to, from, bytes);
    return to;
}

double check_relative_error(const double *expected, const double *got, uint64_t count)
{
    double error = 0, whole = 0;
    for (uint64_t i = 0; i < count; i++) {
        error += (got[i] - expected[i]) * (got[i] - expected[i]);
        whole += expected[i] * expected[i];
    }
    return sqrt(error / whole);
}

// Checksums of rows by the host device: every byte counts, and so does its place.
#include "base/rng.h"
#include "real/device.h"
#include "tests/suite.h"

#include <check.h>

static struct device *device;

static void open_device(void)
{
    struct error err;
    ck_assert_msg(device_host.open(&device, 0, &err), "%s", err.text);
}

static void close_device(void)
{
    struct error err;
    ck_assert_msg(device_sync(device, &err), "%s", err.text);
    device_close(device);
}

#define SUMMED 29 // bytes: three whole words and a part

static uint64_t checksum_of(const uint8_t *row, size_t bytes)
{
    uint64_t sum;
    device_checksum(device, STREAM_COMPUTE,
                    &(struct row_checksums){&sum, {(void *)(uintptr_t)row, bytes, ROW_FP8}, 1});
    return sum;
}

// Byte by byte: little-endian words, zeros past the end.
static uint64_t plain_checksum(const uint8_t *row, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t place = 0; place * 8 < bytes; place++) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && place * 8 + i < bytes; i++)
            word += (uint64_t)row[place * 8 + i] << (8 * i);
        sum += value_mix(word + 0x9e3779b97f4a7c15u * (place + 1));
    }
    return sum;
}

static void fill_bytes(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value_mix(i) >> 56);
}

START_TEST(checksum)
{
    uint8_t bytes[4 * SUMMED + 1];
    uint64_t sums[5] = {0, 0, 0, 0, 77};
    fill_bytes(bytes, sizeof bytes);
    for (size_t stride = 1; stride <= SUMMED; stride++)
        for (size_t offset = 0; offset < 2; offset++) {
            device_checksum(device, STREAM_INTER,
                            &(struct row_checksums){sums, {bytes + offset, stride, ROW_FP8}, 4});
            for (uint32_t r = 0; r < 4; r++)
                ck_assert(sums[r] == plain_checksum(bytes + offset + r * stride, stride));
        }
    ck_assert(sums[4] == 77);
    device_checksum(device, STREAM_INTER, &(struct row_checksums){.out = sums + 4, .count = 0});
    ck_assert(sums[4] == 77);
    // The mix is base/rng.h's, which other suites pin.
    ck_assert(plain_checksum((const uint8_t[8]){0}, 8) == rng_mix(0x9e3779b97f4a7c15u));
}
END_TEST

static void expect_other(uint8_t *row, uint64_t was)
{
    ck_assert(checksum_of(row, SUMMED) != was);
}

// Each bit alone, and with another; any two bytes and any two words exchanged; a shift by a byte.
START_TEST(checksum_notices)
{
    uint8_t row[SUMMED], other[SUMMED];
    fill_bytes(row, SUMMED);
    const uint64_t was = checksum_of(row, SUMMED);
    for (uint32_t bit = 0; bit < 8 * SUMMED; bit++) {
        memcpy(other, row, SUMMED);
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_other(other, was);
        other[(bit / 8 + 9) % SUMMED] ^= (uint8_t)(1u << bit % 8);
        expect_other(other, was);
    }
    for (uint32_t size = 1; size <= 8; size += 7)
        for (uint32_t i = 0; i + size <= SUMMED; i += size)
            for (uint32_t j = i + size; j + size <= SUMMED; j += size) {
                memcpy(other, row, SUMMED);
                memcpy(other + i, row + j, size);
                memcpy(other + j, row + i, size);
                if (memcmp(other, row, SUMMED))
                    expect_other(other, was);
            }
    memcpy(other, row + 1, SUMMED - 1);
    other[SUMMED - 1] = row[0];
    expect_other(other, was);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checksum");
    TCase *tests = tcase_create("checksums");
    tcase_add_checked_fixture(tests, open_device, close_device);
    tcase_add_test(tests, checksum);
    tcase_add_test(tests, checksum_notices);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

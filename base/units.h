// Units: reading and writing quantities. One rule: decimal units, always stated.
// 1 GB = 1e9 bytes, 1 KiB = 1024 bytes; Gbps are bits. A bare number is never a rate or a size
// (a bare K or M neither: nobody agrees what they mean).
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/error.h"

#include <stdint.h>

enum unit {
    UNIT_NUMBER, // a plain finite number: "3", "0.5", "1e6"
    UNIT_COUNT,  // a plain whole number, 0 to 2^53: "4096", "1e6"
    UNIT_BYTES,  // whole bytes: "4096B", "64KiB", "4MiB", "4MB", "1.5GiB"
    UNIT_RATE,   // bytes per second: "50GB/s", "400Gbps", "46.7 GB/s", "2GiB/s", "3.35TB/s"
    UNIT_TIME,   // picoseconds: "2.5us", "1ms", "300ns", "7ps", "2s"
    UNIT_FLOPS,  // floating-point operations per second: "1979TFLOPS", "5e14FLOPS"
};

#define PS_PER_US 1000000u
#define PS_PER_S 1e12

// Reads the whole of text as a quantity of `unit` and stores it in *value. Refuses an empty text,
// NaN, infinity, a negative number, overflow (above 1e18 in the base unit), an unknown or missing
// unit and trailing characters.
// The message says what was found and what was expected: "'50': expected a rate with its unit,
// such as 50GB/s or 400Gbps".
bool units_parse(enum unit unit, const char *text, double *value, struct error *err);

// Writes value as a person would, shortest form that units_parse reads back to within 1e-9
// relative (exactly for bytes and counts): "46.7GB/s", "64KiB", "2.5us", "1979TFLOPS".
// buffer has at least 32 bytes; returned for use inside printf.
char *units_format(enum unit unit, double value, char *buffer);

// Picoseconds <-> microseconds at the program's edge. Into picoseconds rounds up.
uint64_t units_ps_from_us(double us);
double units_us_from_ps(uint64_t ps);

#endif

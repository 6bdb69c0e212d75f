#include "base/units.h"

#include <assert.h>
#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST 1e18           // of any quantity, in its base unit
#define LARGEST_COUNT 0x1.0p53 // above it a double skips whole numbers
#define FORMAT_TOLERANCE 1e-9  // relative, of a number as units_format writes it
#define TEXT_BYTES 32          // of units_format's buffer

struct suffix {
    const char *text;
    double scale; // to the base unit
    bool printed; // units_format may choose it
};

// Largest first among the printed ones, smallest printed last: units_format counts on it.
static const struct suffix no_suffix[] = {{"", 1, true}, {NULL, 0, false}};

static const struct suffix byte_suffixes[] = {
    {"PiB", 0x1p50, true}, {"PB", 1e15, true}, {"TiB", 0x1p40, true}, {"TB", 1e12, true},
    {"GiB", 0x1p30, true}, {"GB", 1e9, true},  {"MiB", 0x1p20, true}, {"MB", 1e6, true},
    {"KiB", 0x1p10, true}, {"kB", 1e3, true},  {"KB", 1e3, false},    {"B", 1, true},
    {NULL, 0, false},
};

// "Gb/s" is bits and "GB/s" is bytes, as in every datasheet; "GBps" is how our columns spell it.
static const struct suffix rate_suffixes[] = {
    {"TB/s", 1e12, true},        {"GB/s", 1e9, true},
    {"MB/s", 1e6, true},         {"kB/s", 1e3, true},
    {"KB/s", 1e3, false},        {"B/s", 1, true},
    {"TiB/s", 0x1p40, false},    {"GiB/s", 0x1p30, false},
    {"MiB/s", 0x1p20, false},    {"KiB/s", 0x1p10, false},
    {"TBps", 1e12, false},       {"GBps", 1e9, false},
    {"MBps", 1e6, false},        {"kBps", 1e3, false},
    {"Tbps", 1e12 / 8, false},   {"Gbps", 1e9 / 8, false},
    {"Mbps", 1e6 / 8, false},    {"kbps", 1e3 / 8, false},
    {"bps", 1.0 / 8, false},     {"Tb/s", 1e12 / 8, false},
    {"Gb/s", 1e9 / 8, false},    {"Mb/s", 1e6 / 8, false},
    {"kb/s", 1e3 / 8, false},    {"b/s", 1.0 / 8, false},
    {"Tbit/s", 1e12 / 8, false}, {"Gbit/s", 1e9 / 8, false},
    {"Mbit/s", 1e6 / 8, false},  {NULL, 0, false},
};

static const struct suffix time_suffixes[] = {
    {"s", 1e12, true}, {"ms", 1e9, true},       {"us", 1e6, true},       {"ns", 1e3, true},
    {"ps", 1, true},   {"\u00b5s", 1e6, false}, {"\u03bcs", 1e6, false}, {NULL, 0, false},
};

static const struct suffix flops_suffixes[] = {
    {"PFLOPS", 1e15, true}, {"TFLOPS", 1e12, true}, {"GFLOPS", 1e9, true},
    {"MFLOPS", 1e6, true},  {"FLOPS", 1, true},     {NULL, 0, false},
};

static const struct quantity {
    const struct suffix *suffixes;
    const char *expected;
    double largest;
    bool whole;
} quantities[] = {
    [UNIT_NUMBER] = {no_suffix, "a number", LARGEST, false},
    [UNIT_COUNT] = {no_suffix, "a whole number", LARGEST_COUNT, true},
    [UNIT_BYTES] = {byte_suffixes, "a size with its unit, such as 64KiB or 4MB", LARGEST, true},
    [UNIT_RATE] = {rate_suffixes, "a rate with its unit, such as 50GB/s or 400Gbps", LARGEST,
                   false},
    [UNIT_TIME] = {time_suffixes, "a time with its unit, such as 2.5us or 1ms", LARGEST, false},
    [UNIT_FLOPS] = {flops_suffixes, "a speed with its unit, such as 1979TFLOPS", LARGEST, false},
};

// Length of the decimal number that text begins with, or 0: digits, point, exponent and nothing
// else. strtod alone would also take a sign, "inf", "nan", blanks and hexadecimal.
static size_t number_length(const char *text)
{
    const size_t whole = strspn(text, "0123456789");
    size_t length = whole;
    size_t digits = whole;
    if (text[length] == '.') {
        const size_t part = strspn(text + length + 1, "0123456789");
        length += 1 + part;
        digits += part;
    }
    if (digits == 0)
        return 0;
    if (text[length] == 'e' || text[length] == 'E') {
        const size_t sign = text[length + 1] == '+' || text[length + 1] == '-' ? 1 : 0;
        const size_t exponent = strspn(text + length + 1 + sign, "0123456789");
        length += exponent > 0 ? 1 + sign + exponent : 0;
    }
    return length;
}

static const struct suffix *find_suffix(const struct suffix *suffixes, const char *text)
{
    for (; suffixes->text != NULL; suffixes++) {
        if (strcmp(suffixes->text, text) == 0)
            return suffixes;
    }
    return NULL;
}

// The number in the base unit. Decimal fractions times a scale miss whole numbers by an ulp or so
// (1.1 * 1e6 is no integer), hence the snap; a time between two picoseconds is rounded up.
static double snap(double value)
{
    const double nearest = nearbyint(value);
    return fabs(value - nearest) <= 2 * DBL_EPSILON * nearest ? nearest : value;
}

static double to_base(enum unit unit, const char *number, double scale)
{
    const double value = strtod(number, NULL) * scale;
    if (unit == UNIT_TIME)
        return ceil(snap(value));
    return quantities[unit].whole ? snap(value) : value;
}

static bool refuse_suffix(enum unit unit, const char *text, const char *suffix, struct error *err)
{
    const struct quantity *quantity = &quantities[unit];
    char quoted[ERROR_QUOTE_BYTES], unknown[ERROR_QUOTE_BYTES];
    error_quote(text, quoted);
    if (*suffix == '\0' || quantity->suffixes == no_suffix)
        return error_set(err, EXIT_INPUT, "'%s': expected %s", quoted, quantity->expected);
    const char letter = (char)toupper((unsigned char)*suffix);
    if (unit == UNIT_BYTES && suffix[1] == '\0' && strchr("KMGTP", letter) != NULL) {
        const char decimal = letter == 'K' ? 'k' : letter;
        return error_set(err, EXIT_INPUT,
                         "'%s': '%c' alone is read both ways; write %ciB (powers of 1024) or %cB "
                         "(powers of 1000)",
                         quoted, *suffix, letter, decimal);
    }
    return error_set(err, EXIT_INPUT, "'%s': unknown unit '%s'; expected %s", quoted,
                     error_quote(suffix, unknown), quantity->expected);
}

bool units_parse(enum unit unit, const char *text, double *value, struct error *err)
{
    const struct quantity *quantity = &quantities[unit];
    char quoted[ERROR_QUOTE_BYTES];
    error_quote(text, quoted);
    if (text[0] == '-' && (number_length(text + 1) > 0)) {
        return error_set(err, EXIT_INPUT, "'%s': must not be negative; expected %s", quoted,
                         quantity->expected);
    }
    const size_t length = number_length(text);
    if (length == 0)
        return error_set(err, EXIT_INPUT, "'%s': expected %s", quoted, quantity->expected);
    const char *unit_text = text + length;
    if (*unit_text == ' ' && quantity->suffixes != no_suffix)
        unit_text += strspn(unit_text, " ");
    const struct suffix *suffix = find_suffix(quantity->suffixes, unit_text);
    if (suffix == NULL)
        return refuse_suffix(unit, text, unit_text, err);
    const double parsed = to_base(unit, text, suffix->scale);
    if (!(parsed <= quantity->largest)) {
        return error_set(err, EXIT_INPUT, "'%s': too large; expected %s", quoted,
                         quantity->expected);
    }
    if (quantity->whole && parsed != floor(parsed)) {
        return error_set(err, EXIT_INPUT, "'%s': not a whole number%s", quoted,
                         unit == UNIT_BYTES ? " of bytes" : "");
    }
    *value = parsed;
    return true;
}

// Kinds that are whole in their base unit are written exactly.
static bool is_exact(enum unit unit)
{
    return quantities[unit].whole || unit == UNIT_TIME;
}

// True when `number`, scaled, is what units_parse must give back for value.
static bool reads_back(enum unit unit, const char *number, double scale, double value)
{
    const double back = to_base(unit, number, scale);
    if (is_exact(unit))
        return back == value;
    return fabs(back - value) <= FORMAT_TOLERANCE * value;
}

// The number in fewest digits, without an exponent where that can be. False where no number of
// this scale reads back.
static bool shortest_number(enum unit unit, double value, double scale, char *number)
{
    for (int exponents = 0; exponents < 2; exponents++) {
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(number, TEXT_BYTES, "%.*g", digits, value / scale);
            const bool plain = strchr(number, 'e') == NULL;
            if ((plain || exponents == 1) && reads_back(unit, number, scale, value))
                return true;
        }
    }
    return false;
}

char *units_format(enum unit unit, double value, char *buffer)
{
    assert(value >= 0 && isfinite(value));
    value = is_exact(unit) ? nearbyint(value) : value;
    snprintf(buffer, TEXT_BYTES, "%g", value);
    size_t shortest = TEXT_BYTES;
    for (const struct suffix *s = quantities[unit].suffixes; s->text != NULL; s++) {
        // Below 1 a smaller unit reads better: 100ms, not 0.1s. The smallest does for the rest.
        char number[TEXT_BYTES];
        if (!s->printed || (value < s->scale && s->scale > 1) ||
            !shortest_number(unit, value, s->scale, number)) {
            continue;
        }
        const size_t length = strlen(number) + strlen(s->text);
        if (length < shortest) {
            shortest = length;
            stpcpy(stpcpy(buffer, number), s->text);
        }
    }
    return buffer;
}

uint64_t units_ps_from_us(double us)
{
    assert(us >= 0);
    const double ps = ceil(snap(us * PS_PER_US));
    return ps < 0x1p64 ? (uint64_t)ps : UINT64_MAX;
}

double units_us_from_ps(uint64_t ps)
{
    return (double)ps / PS_PER_US;
}

#include "study/ep/scan.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define NUMBER_LIMIT 1e15
#define COUNT_LIMIT 1000000000u

struct scan scan_after(const char *text, const char *words)
{
    const char *found = strstr(text, words);
    return (struct scan){found ? found + strlen(words) : NULL};
}

static const char *past_blanks(const char *at)
{
    return at + strspn(at, " \t\r");
}

bool scan_words(struct scan *scan, const char *words)
{
    if (!scan->at)
        return false;
    const char *at = past_blanks(scan->at);
    for (; *words; words++) {
        if (*words == ' ')
            at = past_blanks(at);
        else if (*at++ != *words)
            return false;
    }
    scan->at = at;
    return true;
}

bool scan_number(struct scan *scan, double *number)
{
    if (!scan->at)
        return false;
    const char *at = past_blanks(scan->at);
    double value = 0, place = 1;
    if (!isdigit((unsigned char)*at))
        return false;
    for (; isdigit((unsigned char)*at) && value < NUMBER_LIMIT; at++)
        value = 10 * value + (*at - '0');
    if (value >= NUMBER_LIMIT)
        return false;
    if (*at == '.' && isdigit((unsigned char)at[1]))
        for (at++; isdigit((unsigned char)*at); at++)
            value += (*at - '0') * (place /= 10);
    *number = value;
    scan->at = at;
    return true;
}

bool scan_count(struct scan *scan, uint32_t *count)
{
    struct scan behind = *scan;
    double number;
    if (!scan_number(&behind, &number) || number > COUNT_LIMIT)
        return false;
    const size_t digits = strspn(past_blanks(scan->at), "0123456789");
    if (behind.at != past_blanks(scan->at) + digits || isalpha((unsigned char)*behind.at))
        return false;
    *count = (uint32_t)number;
    *scan = behind;
    return true;
}

bool scan_keyed(struct scan *scan, const char *key, double *number)
{
    struct scan behind = *scan;
    if (!scan_words(&behind, key) || !scan_words(&behind, "=") || !scan_number(&behind, number))
        return false;
    *scan = behind;
    return true;
}

uint32_t scan_count_of(const char *text, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = strstr(text, key); at; at = strstr(at + length, key)) {
        struct scan scan = {at + length};
        uint32_t count;
        const bool is_word = at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
        if (is_word && scan_words(&scan, "=") && scan_count(&scan, &count))
            return count;
    }
    return 0;
}

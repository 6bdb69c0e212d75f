// Reading a line of a benchmark's results piece by piece. Blanks between pieces do not matter. What
// does not follow as asked leaves the place where it is.
#ifndef STUDY_EP_SCAN_H
#define STUDY_EP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

struct scan {
    const char *at; // what is still to be read
};

// The place behind the first `words` of the text; at NULL where they do not stand in it, and then
// nothing follows.
struct scan scan_after(const char *text, const char *words);

// Whether `words` follow, which are then read. A blank in them stands for any number of blanks.
bool scan_words(struct scan *scan, const char *words);

// A number of decimal digits, with or without a point: not negative, and below 1e15.
bool scan_number(struct scan *scan, double *number);

// A whole number up to a billion; nothing that a point or a letter goes on.
bool scan_count(struct scan *scan, uint32_t *count);

// "min=1.5" with the key "min": a number behind a key and '='.
bool scan_keyed(struct scan *scan, const char *key, double *number);

// The first "key=COUNT" of a text, the key a word of its own; 0: it says none.
uint32_t scan_count_of(const char *text, const char *key);

#endif

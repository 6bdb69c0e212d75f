// How far a long run has come: one line on standard error, only on a terminal, only after a second,
// a few times a second, and gone when it ends.
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool wanted, shown;
    double start_s, last_s; // of a clock that only goes forward
    const char *what;       // "places": borrowed
};

// Silent where standard error is no terminal, or where asked (--quiet).
void progress_begin(struct progress *progress, const char *what, bool quiet);
void progress_show(struct progress *progress, uint64_t done, uint64_t total);
void progress_end(struct progress *progress);

#endif

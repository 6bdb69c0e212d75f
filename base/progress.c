#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_S 1.0 // what is over sooner needs none
#define EVERY_S (1 / 6.0)
#define ERASE "\r\x1b[K"

static double progress_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_begin(struct progress *progress, const char *what, bool quiet)
{
    *progress = (struct progress){.wanted = !quiet && isatty(STDERR_FILENO), .what = what};
    progress->start_s = progress->last_s = progress_now_s();
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    const double now = progress->wanted ? progress_now_s() : 0;
    if (!progress->wanted || now - progress->start_s < FIRST_S || now - progress->last_s < EVERY_S)
        return;
    const double left_s = (now - progress->start_s) * (double)(total - done) / (double)done;
    fprintf(stderr, ERASE "%" PRIu64 " of %" PRIu64 " %s, %.0f s left", done, total, progress->what,
            left_s);
    fflush(stderr);
    progress->last_s = now;
    progress->shown = true;
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs(ERASE, stderr);
    progress->wanted = progress->shown = false;
}

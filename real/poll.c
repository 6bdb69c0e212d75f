#include "real/poll.h"

#include <sched.h>
#include <time.h>

#define SLEEP_NS 20000

double poll_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void poll_pause(uint32_t poll, uint32_t spins)
{
    if (poll < spins)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}

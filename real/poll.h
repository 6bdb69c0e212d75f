// Waiting by polling, with the processor given away between polls: many ranks may share few cores,
// and a wait for what a lost peer will never finish can end.
#ifndef REAL_POLL_H
#define REAL_POLL_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

// Seconds of a clock that never goes back.
static inline double poll_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Between two polls of a wait: `poll` counts from 0. The first `spins` only yield, later ones sleep
// for 20 us.
static inline void poll_pause(uint32_t poll, uint32_t spins)
{
    if (poll < spins)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

#endif

// Waiting by polling, with the processor given away between polls: many ranks may share few cores,
// and a wait for what a lost peer will never finish can end.
#ifndef REAL_POLL_H
#define REAL_POLL_H

#include <stdint.h>

// Seconds of a clock that never goes back.
double poll_now_s(void);
// Between two polls of a wait: `poll` counts from 0. The first `spins` only yield, later ones sleep
// for 20 us.
void poll_pause(uint32_t poll, uint32_t spins);

#endif

// A port: something that serves chunks one after another at a rate, in the order they come.
#ifndef SIM_PORT_H
#define SIM_PORT_H

#include <stdint.h>

struct port {
    double ps_per_byte; // 0: takes no time
    uint64_t free_ps;   // when the last chunk accepted so far will have left
    uint64_t bytes;
    uint64_t busy_ps;
    uint64_t wait_ps, longest_wait_ps;
};

// Time to serve some bytes, rounded up so that no sum of chunks beats the port's rate.
static inline uint64_t port_service_ps(const struct port *port, uint64_t bytes)
{
    const double exact = (double)bytes * port->ps_per_byte;
    const uint64_t whole = (uint64_t)exact;
    return whole + ((double)whole < exact);
}

// Accepts a chunk that has arrived now, of which some may have been served while it was arriving,
// up to `early_ps` before; extra_ps is what it costs beyond its bytes. Returns when it begins;
// port->free_ps is when it has left.
static inline uint64_t port_serve(struct port *port, uint64_t now_ps, uint64_t early_ps,
                                  uint64_t bytes, uint64_t extra_ps)
{
    const uint64_t first = now_ps > early_ps ? now_ps - early_ps : 0;
    const uint64_t start = port->free_ps > first ? port->free_ps : first;
    const uint64_t service = port_service_ps(port, bytes) + extra_ps;
    const uint64_t wait = start > now_ps ? start - now_ps : 0;
    port->free_ps = start + service;
    port->bytes += bytes;
    port->busy_ps += service;
    port->wait_ps += wait;
    if (wait > port->longest_wait_ps)
        port->longest_wait_ps = wait;
    return start;
}

// When a chunk that began at start_ps and left this port at port->free_ps reaches the next: its
// head goes on at once (cut-through), but a faster port takes it only when it can run without a
// gap, so that its tail is never there before it has left here.
static inline uint64_t port_reaches(const struct port *port, uint64_t start_ps,
                                    const struct port *next, uint64_t bytes)
{
    const uint64_t service = port_service_ps(next, bytes);
    const uint64_t latest = port->free_ps > service ? port->free_ps - service : 0;
    return latest > start_ps ? latest : start_ps;
}

#endif

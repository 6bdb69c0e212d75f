// Port loads: what a transfer puts on every port and copy engine, and how long that keeps them.
#ifndef MODEL_ENGINE_PORT_LOADS_H
#define MODEL_ENGINE_PORT_LOADS_H

#include "model/costs/kernel_costs.h"

// Bytes that a transfer puts on every port, messages that it starts there, and what each rank's
// copy engines handle. Exact for counted loads. Released by port_loads_release.
struct rank_loads {
    double copies_ps[2]; // time of one channel's copy engines, if there were one channel; the
                         // second kernel is that of a direct transfer that receives
    double peers;        // lanes that the rank starts
};
struct port_loads {
    double *bytes[PORT_KINDS];     // [fabric.count[kind]]
    double *messages[PORT_KINDS];  // at tx ports
    double *own_bytes[PORT_LINKS]; // [ranks] what a rank itself has on the port that it uses
    double *own_messages[PORT_LINKS];
    struct rank_loads *ranks;
    struct {
        double tokens, messages;
    } lane; // of the lane asked for last: most are alike
};
void port_loads_init(struct port_loads *loads, const struct kernel_costs *costs);
void port_loads_release(struct port_loads *loads);

// Messages that a lane of so many tokens is cut into, over all channels. From expected loads the
// tokens are a mean, and so are the messages, where they cost anything.
double port_loads_messages(struct port_loads *loads, const struct kernel_costs *costs,
                           double tokens);

// How long a rank's copy engines are busy, its channels side by side. A direct transfer sends by
// one kernel and receives by another, each with all of the transfer's SMs: the larger. A rail's
// kernel does both: the sum.
double port_loads_copies_ps(const struct port_loads *loads, const struct kernel_costs *costs,
                            uint32_t rank);

// Physical bound: the busiest NIC, NVLink or spine port's bytes over its rate, in picoseconds; its
// name (48 bytes), or "none" when nothing moves.
double port_loads_bound_ps(const struct port_loads *loads, const struct fabric *fabric,
                           char *busiest);

#endif

// All-reduce among the GPUs of a node.
#ifndef MODEL_COSTS_ALL_REDUCE_H
#define MODEL_COSTS_ALL_REDUCE_H

#include "model/costs/gemm.h"

// Constants by the number of GPUs: two, four, eight.
enum { ALL_REDUCE_2, ALL_REDUCE_4, ALL_REDUCE_8, ALL_REDUCE_SIZES };

struct all_reduce_constants {
    uint64_t start_ps;
    double rate;      // of large messages, share of NVLink's datasheet rate each way
    uint64_t ramp_ps; // what smaller messages lose: their time x (1 + ramp / time) ^ power
    double power;
};

struct all_reduce_shape {
    double bytes; // of the message, a rank
    double gpus;
    bool launched; // by itself and not in a CUDA graph
};

struct all_reduce_costs {
    struct all_reduce_constants by_size[ALL_REDUCE_SIZES];
    uint64_t launch_ps; // the least where it is launched by itself
};

static inline bool all_reduce_known(const struct all_reduce_costs *costs)
{
    return costs->by_size[ALL_REDUCE_2].rate > 0;
}

// Picoseconds. A ring's bytes: 2 (n - 1) / n of the message leave each of n GPUs.
double all_reduce_ps(const struct all_reduce_costs *costs, const struct cluster *cluster,
                     const struct all_reduce_shape *shape);

// clang-format off
#define ALL_REDUCE_SIZE_ROWS(name, member, when)                                                   \
    KERNEL_TIME(name "_start", member.start_ps, when, "all-reduce of an empty message"),           \
    KERNEL_NUMBER(name "_rate", member.rate, 3, when, "of large messages, share of nvlink_nominal"),\
    KERNEL_TIME(name "_ramp", member.ramp_ps, when, "what smaller messages lose"),                 \
    KERNEL_NUMBER(name "_power", member.power, 1, when, "how fast they lose it: (1 + ramp / t) ^ this")
#define ALL_REDUCE_ROWS(member, of_2, of_4, of_8)                                                  \
    ALL_REDUCE_SIZE_ROWS("all_reduce_2", member.by_size[ALL_REDUCE_2], of_2),                      \
    ALL_REDUCE_SIZE_ROWS("all_reduce_4", member.by_size[ALL_REDUCE_4], of_4),                      \
    ALL_REDUCE_SIZE_ROWS("all_reduce_8", member.by_size[ALL_REDUCE_8], of_8),                      \
    KERNEL_TIME("all_reduce_launch", member.launch_ps, (of_2) | (of_4) | (of_8),                   \
                "the least outside of a CUDA graph")
// clang-format on

#endif

// What a benchmark is.
#ifndef STUDY_EP_BENCH_H
#define STUDY_EP_BENCH_H

#include "study/ep/result.h"

struct ep_bench {
    const char *name;          // in messages and sources: "DeepEP's test_internode.py"
    const char *dispatcher;    // preset of its rows
    struct ep_config defaults; // that it runs unless told otherwise; experts 0: by its ranks
    uint32_t experts_per_rank; // 0: as above
    uint32_t default_gpus;     // a node, that it starts unless told otherwise; 0: not known
    bool tells_nodes_by_rates; // each node's first rank prints, with RDMA's rate if several do
    bool may_leave_out_own;    // counts no copy to a rank's own place, if told so
    bool masks_choices;        // leaves out up to ten of a rank's choices (test_low_latency.py)
};

#endif

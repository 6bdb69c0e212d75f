// What a benchmark is.
#ifndef STUDY_EP_BENCH_H
#define STUDY_EP_BENCH_H

#include "study/ep/result.h"

struct ep_bench {
    const char *name;          // in messages and sources: "DeepEP's test_internode.py"
    const char *dispatcher;    // preset of its rows
    struct ep_config defaults; // that it runs unless told otherwise; experts 0: by its ranks
    uint32_t default_gpus;     // a node, that it starts unless told otherwise; 0: not known
    bool masks_choices;        // leaves out up to ten of a rank's choices (test_low_latency.py)
};

#endif

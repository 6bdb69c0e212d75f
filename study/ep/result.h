// What a line of an expert-parallel benchmark says: one time of one kernel, or what was run.
#ifndef STUDY_EP_RESULT_H
#define STUDY_EP_RESULT_H

#include "model/moe.h"
#include "model/timing.h"

#include <stdbool.h>
#include <stdint.h>

// What was run; 0: not said.
struct ep_config {
    uint32_t nodes, ranks;
    uint32_t tokens, hidden, experts, topk, topk_groups;
    uint32_t sms;
};

// What a rate counts: a token's copies to nodes, to ranks or to experts, its own among them; or to
// nodes but its own.
enum ep_count { EP_COUNT_NODES, EP_COUNT_RANKS, EP_COUNT_CHOICES, EP_COUNT_OTHER_NODES };

struct ep_result {
    enum phase phase;
    enum dtype dtype;
    const char *mode; // which of several kernels or clocks of a phase: "cached"; "": the plain one
    bool hook;        // the kernels that send and receive, without what passes between them
    uint32_t sms;     // 0: not said
    int rank;         // whose time it is; -1: of a node's first rank
    double us;        // of the kernel; 0: the line has a rate alone
    double after_us;  // of a kernel that follows: the receive, or a copy; 0: none
    double notify_us; // of one before it, which exchanges counts; 0: none
    enum ep_count count;
    double GBps;       // by that count; 0: not said
    double intra_GBps; // by ranks, where GBps is by nodes; 0: not said
    double bytes;      // that GBps is of; 0: not said
    uint32_t extra_bytes,
        extra_choice_bytes; // that a copy has beside its payload: and for each choice
};

// The bytes of a copy as its tool counts them.
double ep_result_copy_bytes(const struct ep_result *result, uint32_t hidden, uint32_t topk);

#endif

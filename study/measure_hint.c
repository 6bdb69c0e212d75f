#include "study/measure_hint.h"

#include <fnmatch.h>
#include <stddef.h>

// By a pattern of the key; the first that fits.
struct hint {
    const char *key, *measure;
};

// clang-format off
static const struct hint cluster_hints[] = {
    {"nvlink", "large messages on one node: alltoall_perf -b 64M -e 8G -f 2"},
    {"nic", "large messages on two nodes or more: alltoall_perf -b 64M -e 8G -f 2"},
    {"nic_latency", "eight bytes between two NICs (ib_write_lat), and give what it says to --cluster as nic_latency="},
    {"*_latency", "the smallest messages between two GPUs of a node"},
    {"bridge*", "large messages between GPUs of one bridge: alltoall_perf -b 64M -e 1G on one node"},
    {"spine*", "large messages on four nodes or more: alltoall_perf -b 64M -e 8G -f 2"},
    {"*", "one of the GPUs by itself: epsim-real probe"},
};

static const struct hint dispatcher_hints[] = {
    {"nccl_net_*", "one peer between nodes: sendrecv_perf -b 64M -e 1G -f 2"},
    {"nccl_ll_*", "small messages on one node: alltoall_perf -b 4K -e 256K -f 2"},
    {"nccl_*", "middling messages on one node, by two GPUs and by all: alltoall_perf -b 256K -e 64M -f 2"},
    {"*_per_node*", "few tokens or bytes on two, four and eight nodes"},
    {"*_inter*", "few tokens or bytes on two nodes: 1 to 64 tokens, or alltoall_perf -b 4K -e 4M -f 2"},
    {"*_fixed*", "few tokens or bytes on one node: 1 to 64 tokens, or alltoall_perf -b 4K -e 256K -f 2"},
    {"*_per_*", "few tokens or bytes by two, four and eight GPUs"},
    {"*_sm_rate", "the library's own test with other numbers of SMs, 8 to 24"},
    {"*", "the library's own test at 1, 64, 512 and 4,096 tokens"},
};

static const struct hint kernel_hints[] = {{"*", "that kernel from its smallest shape to its largest"}};
// clang-format on

const char *measure_hint(const struct parameter *parameter)
{
    static const struct hint *const hints[PARAMETER_PARTS] = {[PART_CLUSTER] = cluster_hints,
                                                              [PART_DISPATCHER] = dispatcher_hints,
                                                              [PART_KERNELS] = kernel_hints};
    const struct hint *hint = hints[parameter->part];
    while (fnmatch(hint->key, parameter->keys[0]->key, 0))
        hint++; // the last takes any
    return hint->measure;
}

// EPLB, DeepSeek's expert-parallelism load balancer (https://github.com/deepseek-ai/EPLB, its
// README states the algorithm): replicas go to whichever expert has the most load a replica, then
// slots go to packs, most load first, each to the least loaded pack that has room.
//
// Its answers to the last slot: float32 as there, equal loads in order of id, equal packs the
// first.
#ifndef MODEL_PLACEMENT_EPLB_H
#define MODEL_PLACEMENT_EPLB_H

#include <stdint.h>

// What is placed, and where: for every rule that makes a placement.
struct placement_shape {
    uint32_t experts, groups; // groups divide experts
    uint32_t ranks, nodes;    // nodes divide ranks
    uint32_t slots;           // ranks divide slots; at least experts
};

// Replicates inside nodes what groups were packed onto them: first groups to nodes, then replicas
// in each node, then slots to its ranks. With one node and one group it is the global policy. Nodes
// must divide groups.
void eplb_hierarchical(const struct placement_shape *shape, const double *load,
                       uint32_t *slot_expert);

// Fills slot_expert[slots] with experts in id order, then the replicas in the order in which they
// are given away; weight[slots] is the load of each slot, an expert's shared out evenly.
void eplb_replicate(const float *load, uint32_t experts, uint32_t slots, uint32_t *slot_expert,
                    float *weight);

// Indices of `weight` from the largest to the least, equal ones in order. Freed by the caller.
uint32_t *eplb_order(const float *weight, uint32_t count);

#endif

// How many copies of a token a benchmark's routing makes: what its GB/s count.
#ifndef STUDY_EP_MIX_H
#define STUDY_EP_MIX_H

#include "study/ep/result.h"

// Means over tokens, the token's own node and rank among them.
struct ep_mix {
    double nodes_per_token, ranks_per_token;
};

// Of uniform top-k over the config's experts, or where it limits a token to fewer groups than nodes
// (DeepEP tests/test_internode.py) of the best of them. False: no such layout, fewer experts than
// ranks or than choices, or ranks that nodes do not divide.
bool ep_mix_of(const struct ep_config *config, struct ep_mix *mix);

// Copies a token by what is counted.
double ep_mix_copies(const struct ep_mix *mix, const struct ep_config *config, enum ep_count count);

// How many nodes of so many GPUs make NVLink carry `ratio` times as much as RDMA: the config's own
// number if that is near (4 %), else the nearest. 0: none is near, or several are as near.
uint32_t ep_mix_nodes(const struct ep_config *config, uint32_t gpus_per_node, double ratio);

// What DeepEP's normal tests run unless told: 256 experts, or fewer that ranks divide.
uint32_t ep_mix_default_experts(uint32_t ranks);

#endif

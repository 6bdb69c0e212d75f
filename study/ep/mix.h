// How many copies of a token a benchmark's routing makes: what its GB/s count.
#ifndef STUDY_EP_MIX_H
#define STUDY_EP_MIX_H

#include "study/ep/result.h"

#include <stddef.h>

// Means over tokens, the token's own node and rank among them.
struct ep_mix {
    double nodes_per_token, ranks_per_token;
};

#define EP_MIX_NODES 5 // numbers of nodes that a ratio may tell

// What was drawn for a text; zero at first. A text may ask for no more than a hundred draws.
struct ep_mixes {
    size_t drawn;
    struct ep_config last;
    struct ep_mix last_mix;
    struct ep_config ratios_of; // nodes: GPUs of a node
    double ratios[EP_MIX_NODES];
};

// Of uniform top-k over the config's experts, or where it limits a token to fewer groups than nodes
// (DeepEP tests/test_internode.py) of the best of them. False: fewer experts than ranks or than
// choices, ranks that nodes do not divide, or too many draws.
bool ep_mix_of(struct ep_mixes *mixes, const struct ep_config *config, struct ep_mix *mix);

// Copies a token by what is counted.
double ep_mix_copies(const struct ep_mix *mix, const struct ep_config *config, enum ep_count count);

// How many nodes of so many GPUs make NVLink carry `ratio` times as much as RDMA: the config's own
// number if that is near (4 %), else the nearest of 2, 3, 4, 8 and 16. Beyond four nodes, of which
// a token reaches four groups at most, ratios hardly differ. 0: none is near, or two are as near.
uint32_t ep_mix_nodes(struct ep_mixes *mixes, const struct ep_config *config,
                      uint32_t gpus_per_node, double ratio);

// What DeepEP's normal tests run unless told: 256 experts, or fewer that ranks divide; of nodes as
// groups at most four.
uint32_t ep_mix_default_experts(uint32_t ranks);
uint32_t ep_mix_default_groups(uint32_t nodes);

#endif

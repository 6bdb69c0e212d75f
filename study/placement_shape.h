// What is placed, and where: the shape of a placement, for every rule that makes one.
#ifndef STUDY_PLACEMENT_SHAPE_H
#define STUDY_PLACEMENT_SHAPE_H

#include <stdint.h>

struct placement_shape {
    uint32_t experts, groups; // groups divide experts
    uint32_t ranks, nodes;    // nodes divide ranks
    uint32_t slots;           // ranks divide slots; at least experts
};

#endif

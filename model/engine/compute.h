// Compute phases: by the constants of the library's kernels (model/costs/kernels.h), else as
// rooflines of the cluster: the larger of operations over rate and bytes over HBM, plus kernel
// launches. All engines use these durations; only communication differs between them.
#ifndef MODEL_ENGINE_COMPUTE_H
#define MODEL_ENGINE_COMPUTE_H

#include "model/schedule.h"

// Picoseconds that a compute phase takes on a rank:
//
//   rmsnorm  reads and writes the residual stream, bf16
//   router   tokens x hidden x experts GEMM, bf16, and the kernel that selects
//            (cluster.select_ps per token of 256 experts); into a latent space and back, where
//            experts work in one
//   experts  grouped GEMMs, 3 x 2 x hidden x intermediate operations per token copy (SwiGLU), 2 x 2
//            without a gate, hidden being the latent width where there is one; weights of every expert that has a token are read once. Of the kernels that the
//            schedule has, masked rows where counts travel with the data, contiguous ones where
//            they are exchanged before; by the cluster's roofline, one expert after another, where there are no
//            constants
//   shared   two dense products on the rank's own tokens, by the same rule
//
// `sm_share` (0..1] is the share of the GPU's SMs left to it by communication kernels that run
// beside.
// A whole number, but maybe more than an integer holds: schedule_feasible sees to that.
double compute_phase_ps(const struct schedule *schedule, enum phase phase, uint32_t rank,
                        double sm_share);

// The kernels that the layer's experts and shared experts are, where constants are known: a bit
// 1 << kind each.
unsigned compute_kernels(const struct schedule *schedule);

// The experts phase of a rank that gets `extra` token copies more than its loads say.
uint64_t compute_experts_ps(const struct schedule *schedule, uint32_t rank, double extra);

// From expected loads, the experts phase of a rank as unlucky as the unluckiest of so many like it
// is expected to be, in rows, and in experts that have any; and one standard deviation.
struct late_experts {
    uint64_t late_ps;
    double sd_ps;
};
struct late_experts compute_late_experts(const struct schedule *schedule, uint32_t rank,
                                         double ranks);

// SMs left to compute beside the dispatcher's kernels, as a share; all of them under a receive
// hook; at least one.
double compute_sm_share(const struct schedule *schedule);

#endif

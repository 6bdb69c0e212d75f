// Laws of libraries' kernels: what a transfer takes of a rank beyond its wires. Which work comes
// before the first byte, beside the wires or after the last byte follows from how a library's
// kernels are built; the constants are the dispatcher's. Both engines add the same terms.
#ifndef MODEL_LAW_H
#define MODEL_LAW_H

#include "model/schedule.h"

// One rank's terms of one transfer, picoseconds.
struct law_terms {
    double head_ps;  // from its arrival to its first byte
    double least_ps; // from its first byte to its last one at least, whatever the wires do
    double tail_ps;  // after its last byte
    // Parts of the first two that are launches, flags and handshakes; the rest is work of SMs.
    double head_fixed_ps, least_fixed_ps;
};

// Laws, T tokens of a rank, S SMs, B bytes of a row, C copies a token:
//
//   stream  SMs copy chunk by chunk while wires move other chunks: the larger binds. Copies are
//           served by the engines themselves (transfer.copy_ps, visit_ps). Afterwards what did not
//           overlap: one row through one warp, the first chunks of each channel
//           (ramp: A n / (n + n0) rows of a channel, n = T / channels).
//   staged  a send kernel casts every token (ceil-free rounds of T / S), then wires move them, then
//           a receive kernel unpacks, S = ceil(E / ceil(E / SMs)); in combine the sum of each
//           token's copies, bounded by memory, comes last. DeepEP csrc/kernels/internode_ll.cu.
//   nccl    two protocols by the size of a peer's message; a peer's bytes are cut over channels,
//           one SM each. NVIDIA/nccl src/enqueue.cc, src/include/device.h.
//   warps   one warp a (peer, channel) moves token after token; TensorRT-LLM
//           cpp/tensorrt_llm/kernels/fusedMoeCommKernels.cu.
//   waves   a block a token, launched in waves; one flag barrier; TensorRT-LLM
//           cpp/tensorrt_llm/kernels/communicationKernels/moeAlltoAllKernels.cu.
void law_terms(const struct schedule *schedule, const struct transfer *transfer,
               const struct port_loads *loads, uint32_t rank, struct law_terms *terms);

// SMs that a transfer's kernels run on. staged: by experts; warps and waves: all of the GPU; else
// the dispatcher's.
uint32_t law_sms(const struct schedule *schedule);

// Share of NVLink's rate that the kernels' stores reach, (0..1].
double law_nvlink_share(const struct schedule *schedule, const struct transfer_cost *cost);

// SM time of one copy, and of one token that a stage handles, on one SM.
double law_copy_ps(const struct transfer_cost *cost, uint64_t token_bytes);
double law_visit_ps(const struct transfer_cost *cost, uint64_t token_bytes);

#endif

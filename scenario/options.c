#include "scenario/options.h"

#include "model/layout.h"

#include <stddef.h>

#define AT(member) offsetof(struct scenario_def, member)

// A group of some rows, all but the braces around each a macro of base/options.h.
#define GROUP(name, heading, ...)                                                                  \
    const struct option_group scenario_##name##_options = {                                        \
        heading, OPTION_ROWS(((const struct option_row[]){__VA_ARGS__}))}

GROUP(
    model, HEADING_WORKLOAD,
    {OPTION_TEXT("model", AT(model), "MODEL",
                 "preset, epsim YAML or a Hugging Face config.json (deepseek-v3; a trace: its own "
                 "shape)")});

GROUP(cluster, HEADING_WORKLOAD,
      {OPTION_TEXT("cluster", AT(cluster), "CLUSTER",
                   "preset, YAML, either with keys changed (h800-cx7:nic=200Gbps), or one line "
                   "(4x8:nvlink=450GB/s,nic=400Gbps); nominal rates are scaled to what such links "
                   "sustain, nvlink_effective= and nic_effective= are not"),
       .always_said = true},
      {OPTION_NUMBER("ep", FIELD_U32, AT(ep), "N", 1, 1024,
                     "ranks, one a GPU; sets the number of nodes (the cluster's own)"),
       .always_said = true});

GROUP(dispatcher, HEADING_WORKLOAD,
      {OPTION_TEXT("dispatcher", AT(dispatcher), "NAME",
                   "preset or YAML (the fastest by estimate of those that measured rows stand "
                   "behind; with --traffic raw)")},
      {OPTION_NUMBER("sms", FIELD_U32, AT(sms), "N", 1, 4096,
                     "SMs that move data (the dispatcher's own)")});

GROUP(kernels, HEADING_WORKLOAD,
      {OPTION_TEXT("kernels", AT(kernels), "NAME",
                   "preset or YAML of compute kernels: " KERNELS_DEFAULT
                   ", others that engines deploy, or epsim-real's own")});

// By enum dtype plus one: what a definition holds.
static const char *const payload_choices[] = {
    "auto", "fp8", "bf16", "fp32", "mxfp8", "nvfp4", "nvfp4-in-kernel", NULL};

GROUP(dtypes, HEADING_WORKLOAD,
      {OPTION_CHOICE("dispatch_dtype", AT(dispatch_dtype), "NAME", payload_choices,
                     "payload of dispatch: auto (as engines do: what the experts compute in, where "
                     "the dispatcher can, else bf16), fp8, bf16, fp32, mxfp8 or nvfp4")},
      {OPTION_CHOICE("combine_dtype", AT(combine_dtype), "NAME", payload_choices,
                     "payload of combine: auto (bf16, or as the model says), bf16, fp8, fp32 or "
                     "nvfp4-in-kernel")});

GROUP(routing, HEADING_WORKLOAD,
      {OPTION_CHOICE("routing", AT(routing), "NAME", routing_rule_names,
                     "draws experts: uniform; deepep (groups are nodes); v3 (the model's groups); "
                     "balanced")});

GROUP(layout, HEADING_WORKLOAD,
      {OPTION_TEXT("layout", AT(layout), "LAYOUT",
                   "contiguous, round-robin, a file as epsim layout, TensorRT-LLM, SGLang, vLLM, "
                   "vLLM-Ascend or EPLB write them, or eplb, eplb-global or greedy: planned on the "
                   "loads at hand")},
      {OPTION_NUMBER("redundant", FIELD_U32, AT(redundant), "N", 0, LAYOUT_MAX_SLOTS,
                     "slots beyond one an expert, of a planned layout")});

GROUP(trace, HEADING_WORKLOAD,
      {OPTION_TEXT("trace", AT(trace), "FOLDER", "recorded routing in place of a rule")});

GROUP(place, HEADING_WORKLOAD,
      {OPTION_NUMBER("layer", FIELD_U32, AT(layer), "N", 0, 1e6,
                     "MoE layer of the trace, from 0; another stream of drawn routing")},
      {OPTION_NUMBER("step", FIELD_U64, AT(step), "N", 0, 0, "step of the trace, from 0")});

GROUP(traffic, HEADING_WORKLOAD,
      {OPTION_TEXT("traffic", AT(traffic), "MATRIX",
                   "bytes from rank to rank instead of a layer: a file, uniform:1MiB, ring:1MiB, "
                   "inside:, between:, pair:0:8:1MiB or distance:")});

GROUP(seed, HEADING_WORKLOAD,
      {OPTION_NUMBER("seed", FIELD_U64, 0, "N", 0, 0, "of all that is drawn"),
       .always_said = true});

GROUP(slow, HEADING_WORKLOAD,
      {OPTION_TEXT("slow", AT(slow), "LIST",
                   "slow parts, shares of nic, nvlink, compute, or late: "
                   "gpu=5:nic=0.5,node=1:late=300us")});

GROUP(run, HEADING_RUN,
      {OPTION_NUMBER("skew_us", FIELD_NUMBER, AT(skew_us), "US", 0, 1e9,
                     "ranks arrive within this many microseconds")},
      {OPTION_CHOICE("overlap", AT(overlap), "NAME", overlap_names,
                     "shared expert: none (after combine), beside dispatch, or beside combine")});

GROUP(aligned, HEADING_RUN,
      {OPTION_SWITCH("aligned", AT(aligned),
                     "every phase starts when all ranks have ended the one before, as benchmarks "
                     "do")});

GROUP(graph, HEADING_RUN,
      {OPTION_SWITCH("graph", AT(graph),
                     "the layer is one CUDA graph: launches take the cluster's graph_launches of "
                     "their time")});

GROUP(loads, HEADING_RUN,
      {OPTION_CHOICE("loads", AT(loads), "NAME", loads_kind_names,
                     "counted (of drawn routing) or expected (in closed form; the default without "
                     "--trace)")});

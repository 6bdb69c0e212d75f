// The MoE layer's shape: what one layer of a model computes, whatever the machine.
#ifndef MODEL_MOE_H
#define MODEL_MOE_H

#include "base/field.h"
#include "base/object.h"
#include "model/formats/dtype.h"
#include "model/formats/layer_set.h"

// Where shared experts run: beside the others, each token's on its own rank; or fused into the
// routed ones, as one more choice a token.
enum shared { SHARED_APART, SHARED_ROUTED };

enum score { SCORE_SIGMOID, SCORE_SOFTMAX }; // how the router turns logits into scores

#define MOE_MAX_EXPERTS 4096
#define MOE_MAX_TOPK 64

struct moe {
    char name[FIELD_TEXT_BYTES];
    uint32_t hidden;
    uint32_t latent;  // values of the rows that travel and that experts take; 0: hidden
    uint32_t experts; // routed
    uint32_t topk;
    uint32_t groups;      // of experts, for group-limited routing; 1: none
    uint32_t topk_groups; // groups a token may use; = groups: no limit
    uint32_t shared_experts;
    enum shared shared;
    uint32_t intermediate;             // of one routed expert
    uint32_t shared_intermediate;      // of all shared experts together
    uint32_t layers;                   // MoE layers of the model
    uint32_t dense_layers;             // its layers without routed experts
    char moe_layers[FIELD_TEXT_BYTES]; // which of all are MoE layers: "3..60"
    struct layer_set layer_set;        // the same
    bool gated;                        // an expert is three matrices, else two
    enum score score;
    bool normalise;        // chosen weights divided by their sum
    double routed_scaling; // factor on the routed weights
    enum dtype dispatch_dtype;
    enum dtype combine_dtype;
    enum dtype weight_dtype;     // of the experts' matrices
    uint32_t weight_group;       // weights that share a scale; 0: as many as the format has
    enum dtype activation_dtype; // what experts compute in
    bool dispatch_given;         // dispatch_dtype was asked; if not, it follows (moe_settle)
};

extern const struct field moe_fields[];
extern const size_t moe_field_count;

// The layers of the model are numbered from 0, dense ones too, and its MoE layers as well.
uint32_t moe_model_layers(const struct moe *moe);             // how many: MoE layers and others
uint32_t moe_layer_id(const struct moe *moe, uint32_t index); // of the index-th MoE layer
#define MOE_NOT_AN_MOE_LAYER UINT32_MAX
uint32_t moe_layer_of(const struct moe *moe, uint32_t layer_id); // which MoE layer it is, or that
// So many MoE layers after so many others.
void moe_place_layers(struct moe *moe, uint32_t dense_layers, uint32_t layers);

// Every member that has a sensible default; the shape (hidden, experts, topk, intermediate) is 0.
struct moe moe_default(void);

// Reads a preset's name ("deepseek-v3", or another of the same shape: "deepseek-r1"), a path to a
// file of ours, to a published configuration (model/formats/model_config.h) or to the folder that
// holds one, or any of them with keys changed behind it: NAME:key=value,key=value. A word without
// '/' or
// '.' is a preset's name; unknown: the nearest is named. provenance, when not NULL, has
// moe_field_count zeroed entries, released by the caller.
bool moe_load(const char *what, struct moe *moe, struct provenance *provenance, struct error *err);

// Shared experts that are choices of every token; 0 where they run apart.
static inline uint32_t moe_fused_experts(const struct moe *moe)
{
    return moe->shared == SHARED_ROUTED ? moe->shared_experts : 0;
}

// Refuses a shape that cannot be: topk > experts, experts not divisible by groups, topk_groups >
// groups, fewer than topk experts in the allowed groups, a zero where there must be something,
// experts or topk above the limits. The message names the key.
bool moe_check(const struct moe *moe, struct error *err);

// Values of a row that travels and that experts take: of a latent space, where there is one, and
// else of the hidden state, which router, shared experts and norms have anyway.
uint32_t moe_expert_hidden(const struct moe *moe);

// Bytes of one of the experts' weights, scales included.
double moe_weight_bytes(const struct moe *moe);

// Weights of that format, and the activations that go with it (dtype_of_activations).
void moe_set_weights(struct moe *moe, enum dtype weights);

// Payload bytes of one token on the wire, without metadata: fp8 hidden + 4 a block of 128 (rounded
// up), bf16 2 x hidden, fp32 4 x hidden (DeepEP README: "(1 + 4/128) bytes" and 2 bytes a value).
uint64_t moe_payload_bytes(uint32_t hidden, enum dtype dtype);

// Members that nobody has said (seen[moe_field_count] is false) by those that they hang on: all
// groups, one shared width per shared expert, which layers are MoE layers, activations by the
// weights' format, and dispatch of those, as engines do. A dispatcher that cannot takes bf16:
// scenario/parts.h.
void moe_settle(struct moe *moe, const bool *seen);

// For who reads models from elsewhere: how one is read from a file of ours, moe_settle of a
// reading, and the key at fault of a struct moe, or NULL.
extern const struct object_reader moe_reader;
void moe_settle_object(struct object_reading *reading);
const char *moe_fault(void *moe, struct error *err);

// Whether the key is one of those, and has the value that moe_settle gives it.
bool moe_key_follows(const struct moe *moe, const char *key);

#endif

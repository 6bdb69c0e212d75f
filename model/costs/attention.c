#include "model/costs/attention.h"

#include <math.h>

#define FEW_ROWS 1024.0
#define QUERY_TILE 64.0
#define DIM_TILE 128.0

static double bytes_of(bool fp8)
{
    return fp8 ? 1 : 2;
}

static double peak_of(const struct cluster *cluster, bool fp8)
{
    return fp8 ? cluster->fp8_flops : cluster->bf16_flops;
}

// Down to both latents, up to queries, keys and values, and out (DeepSeek-V3 report, section 2.1).
double attention_mla_weights(const struct mla_widths *w, double heads)
{
    const double down = w->hidden * (w->q_rank + w->kv_rank + w->rope);
    const double up = heads * (w->q_rank * (w->nope + w->rope) + w->kv_rank * (w->nope + w->value));
    return down + up + heads * w->value * w->hidden;
}

// Projections and attention follow one another, each a roofline. Absorbed, every head reads the one
// latent of a token and multiplies by it twice: 2 (2 kv_rank + rope) operations a query and token
// of the cache. Below FEW_ROWS rows of all heads together, products over heads run on fewer SMs.
static double mla_decode_ps(const struct mla_decode *own, const struct cluster *cluster,
                            const struct attention_shape *shape)
{
    const struct mla_widths *w = &shape->mla;
    const double queries = shape->batch * shape->tokens;
    const double weights = attention_mla_weights(w, shape->heads);
    const double hbm = cluster->hbm_Bps;
    const double few = queries * shape->heads < FEW_ROWS ? 1 + own->few_rows : 1;
    const double attention[] = {
        shape->batch * shape->context * (w->kv_rank + w->rope) * bytes_of(shape->fp8_kv) /
            (hbm * own->kv_memory),
        2 * queries * shape->heads * shape->context * (2 * w->kv_rank + w->rope) /
            (cluster->bf16_flops * own->flops),
    };
    const double projections[] = {
        weights * bytes_of(shape->fp8_weights) / (hbm * own->weight_memory) * few,
        2 * queries * weights / (peak_of(cluster, shape->fp8_weights) * own->weight_flops),
    };
    return (double)own->start_ps + 1e12 * (roofline_norm(attention, 2, own->norm) +
                                           roofline_norm(projections, 2, own->norm));
}

// Causal: a query meets half of the chunk and all of the context before it.
static double causal_pairs(const struct attention_shape *shape)
{
    return shape->batch * shape->tokens * (shape->context - shape->tokens / 2);
}

// Not absorbed: 2 (nope + rope + value) operations a pair of tokens and head. Work by sequence is
// what many short ones show.
static double mla_prefill_ps(const struct mla_prefill *own, const struct cluster *cluster,
                             const struct attention_shape *shape)
{
    const struct mla_widths *w = &shape->mla;
    const double weights = attention_mla_weights(w, shape->heads);
    const double pairs = causal_pairs(shape);
    const double attention = 2 * pairs * shape->heads * (w->nope + w->rope + w->value) /
                             (cluster->bf16_flops * own->flops);
    const double projections = 2 * shape->batch * shape->tokens * weights /
                               (peak_of(cluster, shape->fp8_weights) * own->weight_flops);
    const double sequences =
        shape->batch * ((double)own->sequence_ps + shape->heads * (double)own->sequence_head_ps);
    const double parts[] = {(double)own->start_ps, sequences + 1e12 * (attention + projections)};
    return roofline_norm(parts, 2, own->norm);
}

// The cache once, and a tile for each sequence, KV head and QUERY_TILE of its query heads, whatever
// the tokens: many short sequences are bound by it.
static double gqa_decode_ps(const struct gqa_decode *own, const struct cluster *cluster,
                            const struct attention_shape *shape)
{
    const double kv = shape->batch * shape->kv_heads;
    const double queries = shape->tokens * shape->heads / shape->kv_heads;
    const struct roofline_work work = {
        .flops = 4 * shape->batch * shape->tokens * shape->heads * shape->context * shape->head_dim,
        .bytes = 2 * kv * shape->context * shape->head_dim * bytes_of(shape->fp8_kv),
        .peak_flops = cluster->bf16_flops};
    const double tile =
        (double)own->tile_ps + (double)own->tile_dim_ps * shape->head_dim / DIM_TILE;
    const double bounds[] = {roofline_ps(&own->roofline, cluster, &work),
                             kv * ceil(queries / QUERY_TILE) * tile};
    return (double)own->roofline.start_ps + roofline_norm(bounds, 2, own->roofline.norm);
}

static double gqa_prefill_ps(const struct roofline *own, const struct cluster *cluster,
                             const struct attention_shape *shape)
{
    const double operand = bytes_of(shape->fp8_math), out = 2;
    const double row = shape->heads * (operand + out) + 2 * shape->kv_heads * operand;
    const struct roofline_work work = {
        .flops = 4 * causal_pairs(shape) * shape->heads * shape->head_dim,
        .bytes = shape->batch * shape->tokens * shape->head_dim * row,
        .peak_flops = peak_of(cluster, shape->fp8_math)};
    return (double)own->start_ps + roofline_ps(own, cluster, &work);
}

bool attention_known(const struct attention_constants *constants,
                     const struct attention_shape *shape)
{
    switch (shape->kind) {
    case ATTENTION_MLA_DECODE:
        return constants->mla_decode.flops > 0;
    case ATTENTION_MLA_PREFILL:
        return constants->mla_prefill.flops > 0;
    case ATTENTION_GQA_DECODE:
        return constants->gqa_decode[shape->fp8_kv].roofline.flops > 0;
    default:
        return constants->gqa_prefill[shape->fp8_math].flops > 0;
    }
}

double attention_ps(const struct attention_constants *constants, const struct cluster *cluster,
                    const struct attention_shape *shape)
{
    switch (shape->kind) {
    case ATTENTION_MLA_DECODE:
        return mla_decode_ps(&constants->mla_decode, cluster, shape);
    case ATTENTION_MLA_PREFILL:
        return mla_prefill_ps(&constants->mla_prefill, cluster, shape);
    case ATTENTION_GQA_DECODE:
        return gqa_decode_ps(&constants->gqa_decode[shape->fp8_kv], cluster, shape);
    default:
        return gqa_prefill_ps(&constants->gqa_prefill[shape->fp8_math], cluster, shape);
    }
}

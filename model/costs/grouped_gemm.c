#include "model/costs/grouped_gemm.h"

#include <math.h>

#define BF16_BYTES 2.0

// DeepGEMM's masked products compute 64 rows of an expert at a time, its contiguous ones align
// experts to 128.
double grouped_tile(enum grouped_kind kind)
{
    return kind == GROUPED_MASKED ? 64 : 128;
}

double grouped_padded(enum grouped_kind kind, double rows)
{
    const double tile = grouped_tile(kind);
    return rows > 0 ? fmax(tile, rows + (tile - 1) / 2) : 0;
}

struct roofline_work grouped_work(const struct grouped_shape *shape, const struct cluster *cluster)
{
    const double matrices = shape->ungated ? 2 : 3;
    const double width = matrices * shape->hidden * shape->intermediate;
    const double row_bytes = (2 * shape->hidden + matrices * shape->intermediate) * BF16_BYTES;
    return (struct roofline_work){
        .flops = shape->padded * 2 * width,
        .bytes = shape->touched * width * shape->weight_bytes + shape->rows * row_bytes,
        .peak_flops = shape->fp8 ? cluster->fp8_flops : cluster->bf16_flops};
}

double grouped_gemm_ps(const struct grouped_constants constants[GROUPED_KINDS],
                       const struct cluster *cluster, const struct grouped_shape *shape)
{
    const struct grouped_constants *own = &constants[shape->kind];
    const struct roofline_work work = grouped_work(shape, cluster);
    const double parts[] = {
        (double)own->roofline.start_ps,
        roofline_ps(&own->roofline, cluster, &work) +
            shape->tokens * shape->hidden / GROUPED_HIDDEN * (double)own->token_ps,
    };
    return roofline_norm(parts, sizeof parts / sizeof parts[0], own->launch_norm);
}

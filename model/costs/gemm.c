#include "model/costs/gemm.h"

#include <math.h>

#define TILE_COLUMNS 128.0

double roofline_norm(const double *ps, size_t count, double p)
{
    double largest = 0, sum = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, ps[i]);
    if (p <= 0 || largest <= 0)
        return largest;
    for (size_t i = 0; i < count; i++)
        sum += pow(ps[i] / largest, p);
    return largest * pow(sum, 1 / p);
}

double roofline_ps(const struct roofline *roofline, const struct cluster *cluster,
                   const struct roofline_work *work)
{
    const double bounds[] = {
        work->flops / (work->peak_flops * roofline->flops) * 1e12,
        work->bytes / (cluster->hbm_Bps * roofline->memory) * 1e12,
    };
    return roofline_norm(bounds, sizeof bounds / sizeof bounds[0], roofline->norm);
}

// Operations of whole tiles in whole waves over the SMs: what the tensor cores are busy for, done
// or not. Up to TILE_COLUMNS rows kernels split the inner dimension too, and keep all SMs.
static double wave_flops(const struct gemm_shape *shape, double tile_rows, double sms)
{
    const double exact = 2 * shape->m * shape->n * shape->k;
    if (tile_rows <= 0 || shape->m <= TILE_COLUMNS)
        return exact;
    const double tiles = ceil(shape->m / tile_rows) * ceil(shape->n / TILE_COLUMNS);
    const double whole = tiles > sms ? ceil(tiles / sms) * sms : tiles;
    return 2 * whole * tile_rows * TILE_COLUMNS * shape->k;
}

double gemm_ps(const struct gemm_constants constants[GEMM_KINDS], const struct cluster *cluster,
               const struct gemm_shape *shape)
{
    const struct gemm_constants *own = &constants[shape->kind];
    const double operand = shape->kind == GEMM_BF16 ? 2 : 1, out = 2;
    const double m = shape->m, n = shape->n, k = shape->k;
    const double peak = shape->kind == GEMM_BF16 ? cluster->bf16_flops : cluster->fp8_flops;
    const double bounds[] = {
        wave_flops(shape, own->tile_rows, cluster->sms) /
            (peak * own->roofline.flops * shape->sm_share) * 1e12,
        (operand * (m * k + n * k) + out * m * n) / (cluster->hbm_Bps * own->roofline.memory) *
            1e12,
        k / GEMM_INNER * (double)own->inner_ps,
    };
    return (double)own->roofline.start_ps +
           roofline_norm(bounds, sizeof bounds / sizeof bounds[0], own->roofline.norm);
}

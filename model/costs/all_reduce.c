#include "model/costs/all_reduce.h"

#include <math.h>

double all_reduce_ps(const struct all_reduce_costs *costs, const struct cluster *cluster,
                     const struct all_reduce_shape *shape)
{
    const double gpus = shape->gpus;
    const struct all_reduce_constants *own = &costs->by_size[gpus <= 2   ? ALL_REDUCE_2
                                                             : gpus <= 4 ? ALL_REDUCE_4
                                                                         : ALL_REDUCE_8];
    const double sent = 2 * (gpus - 1) / gpus * shape->bytes;
    const double alone = sent / (cluster->nvlink_nominal_Bps * own->rate) * 1e12;
    const double moved = alone > 0 ? alone * pow(1 + (double)own->ramp_ps / alone, own->power) : 0;
    const double ps = (double)own->start_ps + moved;
    return shape->launched ? fmax(ps, (double)costs->launch_ps) : ps;
}

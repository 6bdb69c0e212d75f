#include "real/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// "8/0/3": tokens of ranks 0, 1, 2, and again from the first.
static bool spread_tokens(struct scenario *scenario, const char *text, uint32_t ranks,
                          struct error *err)
{
    uint32_t given[1024], count = 0;
    const char *at = text;
    while (count < 1024) {
        char *end;
        const unsigned long value = strtoul(at, &end, 10);
        if (end == at || value > 1u << 24 || (*end && *end != '/'))
            return error_set(err, EXIT_INPUT, "--tokens: '%.60s': expected counts, as 8/0/3", text);
        given[count++] = (uint32_t)value;
        if (!*end)
            break;
        at = end + 1;
    }
    for (uint32_t r = 0; r < ranks; r++)
        scenario->tokens[r] = given[r % count];
    return true;
}

// What is asked, of the job's ranks; where no cluster was asked, one of nodes of eight, or one
// node.
static bool fit_def(const struct world *world, struct scenario_def *def, struct error *err)
{
    const uint32_t ranks = world->ranks;
    if (def->ep && def->ep != ranks)
        return error_set(err, EXIT_INPUT, "--ep %u: the job has %u ranks", def->ep, ranks);
    def->ep = ranks;
    if (!def->cluster[0] && ranks % 8 == 0)
        snprintf(def->cluster, sizeof def->cluster,
                 "%ux8:nvlink_effective=1GB/s,nic_effective=1GB/s", ranks / 8);
    else if (!def->cluster[0])
        snprintf(def->cluster, sizeof def->cluster, "1x%u:nvlink_effective=1GB/s", ranks);
    return true;
}

// Shapes that the steps here do not have, though the engines put times to them.
static bool check_shape(const struct moe *moe, struct error *err)
{
    if (moe->latent)
        return error_set(err, EXIT_INPUT,
                         "--model %s: experts in a latent space of %u are not run here: expected "
                         "latent: 0",
                         moe->name, moe->latent);
    if (moe_fused_experts(moe))
        return error_set(err, EXIT_INPUT,
                         "--model %s: shared experts are run apart here: expected shared: apart",
                         moe->name);
    return moe->gated || error_set(err, EXIT_INPUT,
                                   "--model %s: experts without a gate are not run here: expected "
                                   "gated: true",
                                   moe->name);
}

// Formats that the kernels here neither make nor read, though the engines put times to them.
static bool check_formats(const struct scenario *scenario, struct error *err)
{
    const enum dtype dtypes[] = {scenario->moe.dispatch_dtype, scenario->moe.combine_dtype};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i] > DTYPE_FP32)
            return error_set(err, EXIT_INPUT, "--model: %s: expected fp8, bf16 or fp32 to run",
                             dtype_names[dtypes[i]]);
    return (scenario->dispatcher.line_payload_bytes == 0 &&
            scenario->dispatcher.scale_bytes == 4) ||
           error_set(err, EXIT_INPUT,
                     "--dispatcher %s: its wire format (lines with flags, other scales) is not run "
                     "here; expected another",
                     scenario->dispatcher.name);
}

bool workload_open(const struct world *world, const struct real_options *options,
                   struct scenario *scenario, struct error *err)
{
    struct scenario_def def = options->def;
    if (!fit_def(world, &def, err) || !scenario_open(scenario, &def, err))
        return false;
    if (check_shape(&scenario->moe, err) && check_formats(scenario, err) &&
        (!strchr(options->tokens, '/') ||
         spread_tokens(scenario, options->tokens, world->ranks, err)))
        return true;
    scenario_release(scenario);
    return false;
}

struct layer_setup workload_setup(const struct world *world, const struct real_options *options,
                                  const struct scenario *scenario)
{
    const bool recorded = scenario->view && scenario_trace(scenario)->weights.data;
    return (struct layer_setup){.scenario = scenario,
                                .rank = world->rank,
                                .router = !options_given(&options->line, "routing") &&
                                          !options->def.trace[0],
                                .device_shared = options->share_gpu,
                                .check_rows = options->verify > 0,
                                .weights = recorded ? scenario->view : NULL,
                                .device = world->device,
                                .transport = world->transport};
}

bool workload_cluster(const struct world *world, const struct real_options *options,
                      struct cluster *cluster, struct error *err)
{
    struct scenario_def def = options->def;
    struct place place;
    if (!fit_def(world, &def, err) || !place_open(&place, &def, err))
        return false;
    *cluster = place.cluster;
    place_release(&place);
    return true;
}

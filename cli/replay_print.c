// The tables and sentences of a replay.
#include "cli/replay.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define US(ps) ((ps) / 1e6)

// ---- tables ------------------------------------------------------------------------------------

// The layer by its place in the trace; `ids`: and by the model's own number.
static void add_layer_name(struct table *table, const struct replay *replay,
                           const struct replay_layer *layer, bool ids)
{
    const bool all = layer == &replay->all;
    TABLE_ADD(table, all ? cell_text("all") : cell_count(layer->layer));
    if (ids)
        TABLE_ADD(table, all ? cell_blank() : cell_count(layer->layer_id));
}

static double cost_pct(const struct replay_layer *layer, enum replay_figure figure)
{
    return 100 * replay_cost_ps(layer, figure) /
           (quantiles_mean(&layer->routed[figure]) - replay_cost_ps(layer, figure));
}

// Of picoseconds.
static struct cell us_cell(double ps)
{
    return cell_real(US(ps));
}

static void add_replay_figure(struct table *table, const struct replay_layer *layer,
                              enum replay_figure figure)
{
    const struct quantiles *routed = &layer->routed[figure];
    const double cost_ps = replay_cost_ps(layer, figure), mean_ps = quantiles_mean(routed);
    TABLE_ADD(table, cell_text(replay_figure_name(figure)), us_cell(quantiles_at(routed, 0.5)),
              us_cell(quantiles_at(routed, 0.9)), us_cell(quantiles_at(routed, 0.99)),
              us_cell(mean_ps), us_cell((double)routed->max), us_cell(mean_ps - cost_ps),
              us_cell(cost_ps), cell_real(cost_pct(layer, figure)));
}

#define FIGURE_COLUMNS                                                                             \
    "phase p50_us p90_us p99_us mean_us max_us even_us imbalance_us imbalance_pct"

static void add_figures(struct table *table, const struct replay *replay,
                        const struct replay_layer *layer)
{
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++) {
        if (!replay->present[figure])
            continue;
        add_layer_name(table, replay, layer, true);
        add_replay_figure(table, layer, figure);
    }
}

struct table *replay_figures(const struct replay *replay)
{
    struct table *table = table_new("replay", "layer layer_id " FIGURE_COLUMNS);
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_figures(table, replay, &replay->layers[l]);
    add_figures(table, replay, &replay->all);
    return table;
}

// Medians of what moves and computes, and how the whole layer's latency spreads.
static void add_latency(struct table *table, const struct replay *replay,
                        const struct replay_layer *layer)
{
    const struct quantiles *routed = &layer->routed[REPLAY_LAYER];
    add_layer_name(table, replay, layer, true);
    for (int phase = PHASE_DISPATCH; phase <= PHASE_COMBINE; phase++)
        TABLE_ADD(table, us_cell(quantiles_at(&layer->routed[phase], 0.5)));
    TABLE_ADD(table, us_cell(quantiles_at(routed, 0.5)), us_cell(quantiles_at(routed, 0.9)),
              us_cell(quantiles_at(routed, 0.99)), us_cell((double)routed->max));
}

struct table *replay_latency(const struct replay *replay)
{
    struct table *table =
        table_new("replay-latency", "layer layer_id dispatch_us experts_us combine_us p50_us "
                                    "p90_us p99_us max_us");
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_latency(table, replay, &replay->layers[l]);
    return table;
}

// A rank of a layer, and in what share of the places it was that; NULL: in none.
static void add_max(struct table *table, const struct replay_layer *layer,
                    const struct replay_rank *rank, uint64_t times)
{
    TABLE_ADD(table, rank ? cell_count((uint64_t)(rank - layer->ranks)) : cell_blank(),
              cell_real(100 * (double)times / (double)layer->max_mean_ppm.count));
}

static double share_pct(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : NAN;
}

// A person has seen the layers' ids above.
static void add_hurt(struct table *table, const struct replay *replay,
                     const struct replay_layer *layer, bool ids)
{
    const struct replay_layer *all = &replay->all;
    const struct replay_rank *hot = replay_hottest(replay, layer);
    const struct replay_rank *slow = replay_slowest(replay, layer);
    const double cost_ps = replay_cost_ps(layer, REPLAY_LAYER);
    add_layer_name(table, replay, layer, ids);
    const double part_pct = share_pct(quantiles_mean(&layer->routed[REPLAY_LAYER]),
                                      quantiles_mean(&all->routed[REPLAY_LAYER]));
    TABLE_ADD(table, cell_real(part_pct), us_cell(cost_ps),
              cell_real(cost_pct(layer, REPLAY_LAYER)),
              cell_real(share_pct(cost_ps, replay_cost_ps(all, REPLAY_LAYER))),
              cell_real(quantiles_mean(&layer->max_mean_ppm) / 1e6));
    add_max(table, layer, hot, hot ? hot->hottest : 0);
    add_max(table, layer, slow, slow ? slow->slowest : 0);
}

struct table *replay_hurt(const struct replay *replay, bool ids)
{
    struct table *table = table_new("replay-layers", ids ? "layer layer_id" : "layer");
    table_columns(table, "time_pct imbalance_us imbalance_pct share_pct max_mean hottest_rank "
                         "hottest_pct slowest_rank slowest_pct");
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_hurt(table, replay, &replay->layers[l], ids);
    add_hurt(table, replay, &replay->all, ids);
    return table;
}

static void add_ranks(struct table *table, const struct replay *replay,
                      const struct replay_layer *layer)
{
    const double places = (double)layer->max_mean_ppm.count;
    double total = 0;
    for (uint32_t r = 0; r < replay->ranks; r++)
        total += (double)layer->ranks[r].choices;
    for (uint32_t r = 0; r < replay->ranks; r++) {
        const struct replay_rank *rank = &layer->ranks[r];
        TABLE_ADD(table, cell_count(layer->layer), cell_count(layer->layer_id), cell_count(r),
                  cell_real(total > 0 ? (double)rank->choices * replay->ranks / total : 1),
                  cell_real(total > 0 ? rank->max_ratio : 1),
                  cell_real(US(rank->experts_ps / places)),
                  cell_real(100 * (double)rank->hottest / places),
                  cell_real(100 * (double)rank->slowest / places));
    }
}

struct table *replay_ranks(const struct replay *replay)
{
    struct table *table = table_new("replay-ranks", "layer layer_id rank load_ratio load_ratio_max "
                                                    "experts_us hottest_pct slowest_pct");
    for (uint32_t l = 0; l < replay->layer_count; l++)
        add_ranks(table, replay, &replay->layers[l]);
    return table;
}

struct table *replay_all(const struct replay *replay)
{
    struct table *table = table_new("replay-all", FIGURE_COLUMNS);
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++)
        if (replay->present[figure])
            add_replay_figure(table, &replay->all, figure);
    return table;
}

// ---- rows of every place -----------------------------------------------------------------------

struct table *replay_steps(void)
{
    return table_new("replay-steps",
                     "step layer tokens_per_gpu dispatcher rmsnorm_us router_us notify_us "
                     "dispatch_us experts_us combine_us shared_us layer_us even_us max_mean "
                     "hottest_rank slowest_rank");
}

static struct cell rank_cell(uint32_t rank)
{
    return rank == UINT32_MAX ? cell_blank() : cell_count(rank);
}

void replay_add_step(struct table *table, const struct replay_place *place)
{
    TABLE_ADD(table, cell_count(place->step), cell_count(place->layer), cell_count(place->tokens),
              cell_text(place->dispatcher));
    for (enum replay_figure figure = 0; figure < REPLAY_FIGURES; figure++)
        TABLE_ADD(table, figure == REPLAY_LAYER || place->present[figure]
                             ? us_cell((double)place->routed_ps[figure])
                             : cell_blank());
    TABLE_ADD(table, us_cell((double)place->balanced_ps[REPLAY_LAYER]), cell_real(place->max_mean),
              rank_cell(place->hottest), rank_cell(place->slowest));
}

// ---- what hurts --------------------------------------------------------------------------------

static int by_cost(const void *a, const void *b)
{
    const struct replay_layer *const *x = a, *const *y = b;
    const double p = replay_cost_ps(*x, REPLAY_LAYER), q = replay_cost_ps(*y, REPLAY_LAYER);
    if (p != q)
        return p < q ? 1 : -1;
    return (*x)->layer > (*y)->layer ? 1 : -1;
}

// The layers that pay most of it: some, never all.
#define NAMED 3
static void say_layers(FILE *out, const struct replay *replay)
{
    const double all_ps = replay_cost_ps(&replay->all, REPLAY_LAYER);
    const uint32_t named = replay->layer_count > NAMED ? NAMED : replay->layer_count - 1;
    const struct replay_layer **order = mem_alloc(replay->layer_count, sizeof *order);
    double part_ps = 0;
    for (uint32_t l = 0; l < replay->layer_count; l++)
        order[l] = &replay->layers[l];
    qsort(order, replay->layer_count, sizeof *order, by_cost);
    fprintf(out, "; layer%s", named == 1 ? "" : "s");
    for (uint32_t l = 0; l < named; l++) {
        fprintf(out, "%s%u", l == 0 ? " " : l + 1 == named ? " and " : ", ", order[l]->layer);
        part_ps += replay_cost_ps(order[l], REPLAY_LAYER);
    }
    fprintf(out, " pay%s %.0f%% of it", named == 1 ? "s" : "", share_pct(part_ps, all_ps));
    free(order);
}

void replay_say_what_hurts(FILE *out, const struct replay *replay)
{
    const struct replay_layer *all = &replay->all;
    const struct replay_rank *slow = replay_slowest(replay, all);
    const double cost_ps = replay_cost_ps(all, REPLAY_LAYER);
    char us[TABLE_NUMBER_BYTES];
    fprintf(out, "\nwhat hurts\n  Imbalance costs %s us a step, %.1f%% over even loads",
            table_short(US(cost_ps), us), cost_pct(all, REPLAY_LAYER));
    if (cost_ps > 0 && replay->layer_count > 1)
        say_layers(out, replay);
    fputs(".\n", out);
    if (slow)
        fprintf(out, "  gpu%u ends its experts last in %.0f%% of all layers and steps.\n",
                (unsigned)(slow - all->ranks),
                100 * (double)slow->slowest / (double)all->max_mean_ppm.count);
}

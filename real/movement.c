#include "real/calls.h"

#include "base/mem.h"

#include <stdlib.h>

// A transfer under way on this rank.
struct movement {
    struct layer *layer;
    const struct transfer *transfer;
    const struct plan *plan;
    const struct path *path;
    bool gather;
};

uint32_t movement_mark(bool gather, enum stage stage)
{
    return 2 * PHASE_COUNT + 2 * (uint32_t)gather + (uint32_t)stage;
}

struct leg movement_leg(const struct layer *layer, const struct transfer *transfer,
                        enum stage stage)
{
    const struct calls *calls = calls_of(layer);
    const struct path *path = transfer->gather ? &calls->combine : &calls->dispatch;
    const struct plan *plan = transfer->gather ? &calls->combine_plan : &calls->dispatch_plan;
    const bool relayed = transfer->rail && stage == STAGE_INTRA;
    const bool crossed = transfer->rail && stage == STAGE_INTER;
    const struct leg_end home = relayed ? (struct leg_end){&path->relayed, plan->relayed_rows}
                                        : (struct leg_end){&path->sent, plan->sent_rows};
    const struct leg_end away = crossed ? (struct leg_end){&path->crossed, plan->crossed_rows}
                                        : (struct leg_end){&path->served, plan->served_rows};
    return transfer->gather ? (struct leg){stage, away, home} : (struct leg){stage, home, away};
}

struct pieces movement_pieces(const struct round *round, bool gather, bool out)
{
    return out != gather ? (struct pieces){round->send, round->sends}
                         : (struct pieces){round->receive, round->receives};
}

static struct message *to_messages(const struct row_block *rows, struct pieces pieces)
{
    struct message *messages = mem_alloc((size_t)pieces.count + 1, sizeof *messages);
    for (uint32_t i = 0; i < pieces.count; i++) {
        const struct piece *piece = &pieces.piece[i];
        messages[i] = (struct message){.rank = piece->rank,
                                       .data = (char *)rows->base + piece->first * rows->stride,
                                       .bytes = piece->rows * rows->stride};
    }
    return messages;
}

static bool post_round(const struct movement *movement, enum stage stage, uint32_t number,
                       struct error *err)
{
    const struct round *round = &movement->plan->stage[stage][number];
    const struct leg leg = movement_leg(movement->layer, movement->transfer, stage);
    const struct pieces outs = movement_pieces(round, movement->gather, true);
    const struct pieces ins = movement_pieces(round, movement->gather, false);
    struct message *sends = to_messages(leg.from.rows, outs);
    struct message *receives = to_messages(leg.to.rows, ins);
    const bool ok = transport_post(movement->layer->setup.transport, exchange_stream(stage),
                                   &(struct exchange){.sends = sends,
                                                      .receives = receives,
                                                      .send_count = outs.count,
                                                      .receive_count = ins.count},
                                   err);
    free(sends);
    free(receives);
    return ok;
}

// Waits for an exchange and marks its end as the stage's, until the next one of the stage.
static bool wait_stage(const struct movement *movement, enum stage stage, struct error *err)
{
    const struct layer_setup *setup = &movement->layer->setup;
    const bool ok = transport_wait(setup->transport, exchange_stream(stage), err);
    device_mark(setup->device, exchange_stream(stage), movement_mark(movement->gather, stage));
    return ok;
}

static bool move_direct(const struct movement *movement, struct error *err)
{
    for (uint32_t r = 0; r < movement->plan->rounds; r++) {
        for (enum stage stage = 0; stage < STAGES; stage++)
            if (!post_round(movement, stage, r, err))
                return false;
        // What moves inside a node ends first as a rule.
        for (enum stage stage = STAGES; stage-- > 0;)
            if (!wait_stage(movement, stage, err))
                return false;
    }
    return true;
}

static struct row_block rows_from(const struct row_block *rows, uint64_t first)
{
    struct row_block part = *rows;
    part.base = (char *)rows->base + first * rows->stride;
    return part;
}

// Copies a round's crossed rows for the ranks of the node, on the intra stream.
static void relay_round(const struct movement *movement, uint32_t number)
{
    const struct layer *layer = movement->layer;
    const struct path *path = movement->path;
    const struct round *intra = &movement->plan->stage[STAGE_INTRA][number];
    device_follow(layer->setup.device, STREAM_INTRA, STREAM_INTER);
    if (intra->rows)
        device_gather(layer->setup.device, STREAM_INTRA,
                      &(struct row_gather){.out = rows_from(&path->relayed, intra->first),
                                           .in = path->crossed,
                                           .index = path->relay_from + intra->first,
                                           .count = intra->rows,
                                           .width = layer->schedule.moe.hidden});
}

// Chunk r crosses while chunk r - 1 is forwarded in the node.
static bool move_scatter(const struct movement *movement, struct error *err)
{
    const uint32_t rounds = movement->plan->rounds;
    if (!post_round(movement, STAGE_INTER, 0, err))
        return false;
    for (uint32_t r = 0; r < rounds; r++) {
        if (!wait_stage(movement, STAGE_INTER, err))
            return false;
        relay_round(movement, r);
        if (r + 1 < rounds && !post_round(movement, STAGE_INTER, r + 1, err))
            return false;
        if (!post_round(movement, STAGE_INTRA, r, err) || !wait_stage(movement, STAGE_INTRA, err))
            return false;
    }
    return true;
}

// Sums a round's copies of each token over the node, on the inter stream, before they cross.
static void reduce_round(const struct movement *movement, uint32_t number)
{
    const struct layer *layer = movement->layer;
    const struct path *path = movement->path;
    const struct round *inter = &movement->plan->stage[STAGE_INTER][number];
    device_follow(layer->setup.device, STREAM_INTER, STREAM_INTRA);
    if (inter->rows)
        device_reduce(layer->setup.device, STREAM_INTER,
                      &(struct row_sums){.out = rows_from(&path->crossed, inter->first),
                                         .in = path->relayed,
                                         .first = path->relayed_first + inter->first,
                                         .source = path->relayed_of,
                                         .count = inter->rows,
                                         .width = layer->schedule.moe.hidden});
}

// Chunk r comes together in the node while chunk r - 1 crosses.
static bool move_gather(const struct movement *movement, struct error *err)
{
    bool crossing = false;
    for (uint32_t r = 0; r < movement->plan->rounds; r++) {
        if (!post_round(movement, STAGE_INTRA, r, err) || !wait_stage(movement, STAGE_INTRA, err))
            return false;
        if (crossing && !wait_stage(movement, STAGE_INTER, err))
            return false;
        reduce_round(movement, r);
        if (!post_round(movement, STAGE_INTER, r, err))
            return false;
        crossing = true;
    }
    return wait_stage(movement, STAGE_INTER, err);
}

bool movement_run(struct layer *layer, const struct transfer *transfer, struct error *err)
{
    const bool gather = transfer->gather;
    const struct calls *calls = calls_of(layer);
    const struct movement movement = {.layer = layer,
                                      .transfer = transfer,
                                      .plan = gather ? &calls->combine_plan : &calls->dispatch_plan,
                                      .path = gather ? &calls->combine : &calls->dispatch,
                                      .gather = gather};
    for (enum stage stage = 0; stage < STAGES; stage++)
        device_follow(layer->setup.device, exchange_stream(stage), STREAM_COMPUTE);
    // A stage that moves nothing ends as it begins.
    for (enum stage stage = 0; stage < STAGES; stage++)
        device_mark(layer->setup.device, exchange_stream(stage), movement_mark(gather, stage));
    if (!transfer->rail)
        return move_direct(&movement, err);
    return gather ? move_gather(&movement, err) : move_scatter(&movement, err);
}

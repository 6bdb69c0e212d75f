// What the test of DeepEP's branch hybrid-ep prints, as measured rows. Its kernels are those that
// NCCL EP has for high throughput. A call's time (torch API) has copies and launches in it, and
// stands apart from its kernel's; those with a permutation are left out. Over several nodes a time
// is printed twice, with NVLink's rate and with RDMA's.
#include "study/ep/gather.h"
#include "study/ep/hybrid_ep_line.h"

#include <stdio.h>
#include <string.h>

// Experts: eight a rank.
static const struct ep_bench bench = {.name = "Hybrid-EP's test_hybrid_ep.py",
                                      .dispatcher = "nccl-ep-ht",
                                      .defaults = {.tokens = 4096, .hidden = 7168, .topk = 8},
                                      .experts_per_rank = 8};

struct hybrid_ep_log {
    struct ep_config config;
    struct ep_result last[2]; // dispatch and combine that NVLink's rate stood with
    bool has_inter;           // RDMA's rates stand there: several nodes
    struct ep_gather gather;
};

static bool is_same_time(const struct ep_result *a, const struct ep_result *b)
{
    return a->phase == b->phase && a->dtype == b->dtype && a->us >= b->us && a->us <= b->us &&
           a->rank == b->rank && a->mode && !strcmp(a->mode, b->mode);
}

static void take_hybrid_piece(struct hybrid_ep_log *hybrid, struct log *log,
                              const struct hybrid_ep_piece *piece)
{
    struct ep_result *last = &hybrid->last[piece->result.phase == PHASE_COMBINE];
    switch (piece->kind) {
    case HYBRID_EP_RANKS:
        hybrid->config.ranks = piece->ranks;
        break;
    case HYBRID_EP_RESULT:
        hybrid->has_inter = hybrid->has_inter || piece->is_inter;
        if (piece->is_inter && is_same_time(last, &piece->result))
            break;
        *last = piece->result;
        ep_gather_add(&hybrid->gather, log, &bench, &hybrid->config, &piece->result);
        break;
    case HYBRID_EP_PERMUTE:
        log_leave_out(log, "left out: a dispatch or combine of Hybrid-EP with a permutation in its "
                           "time, which is not modelled");
        break;
    case HYBRID_EP_BROKEN:
        log_leave_out(log, "left out: a line of Hybrid-EP's test that does not go on as it begins");
        break;
    case HYBRID_EP_END:
        break;
    }
}

static bool is_hybrid_ep(const char *text)
{
    struct scan scan = {text};
    return hybrid_ep_read(&scan).kind != HYBRID_EP_END;
}

static bool read_hybrid_ep_line(void *state, struct log *log, const char *text)
{
    struct scan scan = {text};
    struct hybrid_ep_piece piece;
    do {
        piece = hybrid_ep_read(&scan);
        take_hybrid_piece(state, log, &piece);
    } while (piece.kind == HYBRID_EP_RESULT || piece.kind == HYBRID_EP_PERMUTE);
    return true;
}

static bool end_hybrid_ep(void *state, struct log *log)
{
    struct hybrid_ep_log *hybrid = state;
    const struct ep_config one_node = {.nodes = hybrid->has_inter ? 0 : 1};
    ep_gather_fill(&hybrid->gather, &one_node);
    ep_gather_end(&hybrid->gather, log);
    return true;
}

static void release_hybrid_ep(void *state)
{
    ep_gather_release(&((struct hybrid_ep_log *)state)->gather);
}

const struct log_reader log_reader_hybrid_ep = {"what Hybrid-EP's test prints",
                                                sizeof(struct hybrid_ep_log),
                                                is_hybrid_ep,
                                                read_hybrid_ep_line,
                                                end_hybrid_ep,
                                                release_hybrid_ep};

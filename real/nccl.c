// The NCCL transport: GPU memory from rank to rank by grouped sends and receives, in the order of
// the stage's stream. MPI carries what opens it and the barrier.
//
// Each stage has a communicator of its own, so that its exchanges may run beside the other's. The
// communicators do not block: every wait on them ends after LIMIT_S, so that a lost peer ends the
// job instead of hanging it. Exchanges that are kept in graphs need others, which do: a group that
// does not block is launched by a thread of NCCL's own, and its documentation does not say that
// such a group can be captured. What blocks there is the making of connections alone. The one that
// libraries take (nccl_communicator) blocks too: a peer lost there ends the job by its launcher's
// SIGTERM (lost.h).
#include "real/nccl.h"

#include "base/mem.h"
#include "real/cuda.h"
#include "real/poll.h"

#include <assert.h>
#include <mpi.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 28, 0)
#error "NCCL 2.28 or later is needed"
#endif

#define LIMIT_S 20.0 // of one wait; what is left of 30 s is for ending
#define SPINS 2000   // polls before the first sleep
#define AWAKE 100000 // polls before the first sleep where ranks meet
#define STAGES 2

struct nccl {
    struct transport base;
    struct device *device;
    int rank, ranks;
    ncclComm_t comms[STAGES];
    ncclComm_t whole; // nccl_communicator's
    bool grouped;     // between ncclGroupStart and ncclGroupEnd
};

static struct nccl *nccl_of(struct transport *transport)
{
    return (struct nccl *)transport;
}

static uint32_t stage_index(enum stream stage)
{
    assert(stage == STREAM_INTER || stage == STREAM_INTRA);
    return stage == STREAM_INTER ? 0 : 1;
}

// ---- errors -------------------------------------------------------------------------------------

static void abort_comms(struct nccl *t)
{
    if (t->whole)
        ncclCommAbort(t->whole);
    t->whole = NULL;
    for (uint32_t i = STAGES; i-- > 0;) {
        if (t->comms[i])
            ncclCommAbort(t->comms[i]);
        t->comms[i] = NULL;
    }
}

// Keeps the first failure, told as "host: file:line: call: why (NCCL's own last word)", and ends
// the communicators, which frees the streams. Returns false.
static bool nccl_fail(struct nccl *t, ncclComm_t comm, const char *call, int line, const char *why)
{
    char host[64] = "?";
    const char *last = ncclGetLastError(comm);
    if (t->base.failed)
        return false;
    gethostname(host, sizeof host - 1);
    error_set(&t->base.error, EXIT_RUNTIME, "%s: %s:%d: rank %d: %.*s: %s%s%s%s", host, __FILE__,
              line, t->rank, (int)strcspn(call, "("), call, why, last && *last ? " (" : "",
              last ? last : "", last && *last ? ")" : "");
    t->base.failed = true;
    if (t->grouped) // or the abort would wait for the group's end
        ncclGroupEnd();
    abort_comms(t);
    return false;
}

static bool check_nccl(struct nccl *t, ncclComm_t comm, ncclResult_t result, const char *call,
                       int line)
{
    return result == ncclSuccess || result == ncclInProgress ||
           nccl_fail(t, comm, call, line, ncclGetErrorString(result));
}

#define NCCLCHECK(t, comm, call) check_nccl(t, comm, call, #call, __LINE__)

// ---- waiting ------------------------------------------------------------------------------------

// Waits until what has been asked of the communicator is under way on its stream.
static bool nccl_settle(struct nccl *t, ncclComm_t comm, const char *what, int line)
{
    const double start = poll_now_s();
    for (uint32_t poll = 0;; poll++) {
        ncclResult_t state = ncclInProgress;
        if (!NCCLCHECK(t, comm, ncclCommGetAsyncError(comm, &state)))
            return false;
        if (state != ncclInProgress)
            return check_nccl(t, comm, state, what, line);
        if (poll_now_s() - start > LIMIT_S)
            return nccl_fail(t, comm, what, line, "no answer from the other ranks");
        poll_pause(poll, SPINS);
    }
}

#define SETTLE(t, comm, what) nccl_settle(t, comm, what, __LINE__)

// The device's watch: a rank that NCCL has lost, or that does not take its part in time.
static bool nccl_watch(void *context, double waited_s, struct error *err)
{
    struct nccl *t = context;
    for (uint32_t i = 0; i < STAGES && !t->base.failed; i++) {
        ncclResult_t state = ncclSuccess;
        if (NCCLCHECK(t, t->comms[i], ncclCommGetAsyncError(t->comms[i], &state)))
            check_nccl(t, t->comms[i], state, "exchange", __LINE__);
    }
    if (!t->base.failed && waited_s > LIMIT_S)
        nccl_fail(t, t->comms[0], "exchange", __LINE__,
                  "not done in time: a rank is lost or stuck");
    return transport_report(&t->base, err);
}

// ---- opening ------------------------------------------------------------------------------------

// Several ranks on one GPU: a host id of its own makes NCCL take each for another machine, so that
// it accepts them, and reach them by its network transport, here the loopback.
static void pretend_hosts(const struct nccl *t)
{
    MPI_Comm here;
    int ranks_here = 0;
    char host[64] = "host", id[128];
    gethostname(host, sizeof host - 1);
    snprintf(id, sizeof id, "epsim-%s-%d", host, t->rank);
    setenv("NCCL_HOSTID", id, 1);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &ranks_here);
    MPI_Comm_free(&here);
    if (ranks_here == t->ranks)
        setenv("NCCL_SOCKET_IFNAME", "lo", 0);
}

// The id that the ranks meet under comes from rank 0; an empty one says that it has none.
static bool share_id(struct nccl *t, ncclUniqueId *id)
{
    int made = 0;
    if (t->rank == 0)
        made = NCCLCHECK(t, NULL, ncclGetUniqueId(id));
    MPI_Bcast(&made, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Bcast(id, sizeof *id, MPI_BYTE, 0, MPI_COMM_WORLD);
    return made || nccl_fail(t, NULL, "ncclGetUniqueId", __LINE__, "failed on rank 0");
}

// The second communicator shares the first one's buffers and threads where ranks share a GPU: cores
// and memory are short there.
static bool open_comms(struct nccl *t, const struct transport_use *use)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    config.blocking = use->graphs;
    config.splitShare = use->share_gpu;
    return share_id(t, &id) &&
           NCCLCHECK(t, t->comms[0],
                     ncclCommInitRankConfig(&t->comms[0], t->ranks, id, t->rank, &config)) &&
           SETTLE(t, t->comms[0], "ncclCommInitRankConfig") &&
           NCCLCHECK(t, t->comms[0],
                     ncclCommSplit(t->comms[0], 0, t->rank, &t->comms[1], &config)) &&
           SETTLE(t, t->comms[0], "ncclCommSplit") && SETTLE(t, t->comms[1], "ncclCommSplit");
}

ncclComm_t nccl_communicator(struct transport *transport, struct error *err)
{
    struct nccl *t = nccl_of(transport);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    if (!t->whole && !t->base.failed && share_id(t, &id))
        NCCLCHECK(t, t->whole, ncclCommInitRankConfig(&t->whole, t->ranks, id, t->rank, &config));
    transport_report(&t->base, err);
    return t->base.failed ? NULL : t->whole;
}

static bool nccl_open(struct transport **transport, struct device *device,
                      const struct transport_use *use, struct error *err)
{
    struct nccl *t = mem_alloc(1, sizeof *t);
    *transport = NULL;
    t->base.ops = &transport_nccl;
    t->device = device;
    MPI_Comm_rank(MPI_COMM_WORLD, &t->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &t->ranks);
    if (use->share_gpu)
        pretend_hosts(t);
    if (!open_comms(t, use)) {
        transport_report(&t->base, err);
        free(t);
        return false;
    }
    cuda_watch(device, nccl_watch, t);
    *transport = &t->base;
    return true;
}

// What was asked of the streams is done, or has failed, before the communicators go.
static void nccl_close(struct transport *transport)
{
    struct nccl *t = nccl_of(transport);
    struct error ignored;
    if (!device_sync(t->device, &ignored))
        abort_comms(t);
    cuda_watch(t->device, NULL, NULL);
    for (uint32_t i = STAGES; i-- > 0 && !t->base.failed;)
        if (t->comms[i] && NCCLCHECK(t, t->comms[i], ncclCommFinalize(t->comms[i])))
            SETTLE(t, t->comms[i], "ncclCommFinalize");
    if (t->whole && !t->base.failed)
        ncclCommDestroy(t->whole);
    for (uint32_t i = STAGES; i-- > 0 && !t->base.failed;)
        if (t->comms[i])
            ncclCommDestroy(t->comms[i]);
    free(t);
}

// ---- exchanges ----------------------------------------------------------------------------------

// Sends and receives of a group, in order; the bytes of sends to others are counted. NCCL copies
// messages to itself beside the others (where they are in place it has nothing to do).
static bool give_group(struct nccl *t, enum stream stage, const struct exchange *exchange)
{
    const ncclComm_t comm = t->comms[stage_index(stage)];
    const cudaStream_t stream = cuda_stream(t->device, stage);
    for (uint32_t i = 0; i < exchange->send_count; i++) {
        const struct message *m = &exchange->sends[i];
        if (!NCCLCHECK(t, comm, ncclSend(m->data, m->bytes, ncclUint8, (int)m->rank, comm, stream)))
            return false;
        t->base.bytes_sent[stage] += m->rank == (uint32_t)t->rank ? 0 : m->bytes;
    }
    for (uint32_t i = 0; i < exchange->receive_count; i++) {
        const struct message *m = &exchange->receives[i];
        if (!NCCLCHECK(t, comm, ncclRecv(m->data, m->bytes, ncclUint8, (int)m->rank, comm, stream)))
            return false;
    }
    return true;
}

static bool nccl_post(struct transport *transport, enum stream stage,
                      const struct exchange *exchange, struct error *err)
{
    struct nccl *t = nccl_of(transport);
    const ncclComm_t comm = t->comms[stage_index(stage)];
    if (t->base.failed || exchange->send_count + exchange->receive_count == 0)
        return transport_report(&t->base, err);
    t->grouped = NCCLCHECK(t, comm, ncclGroupStart());
    if (t->grouped && give_group(t, stage, exchange)) {
        t->grouped = false;
        if (NCCLCHECK(t, comm, ncclGroupEnd()))
            SETTLE(t, comm, "ncclGroupEnd");
    }
    return transport_report(&t->base, err);
}

// The stream's order is the wait; a failure that NCCL already knows of is told here.
static bool nccl_wait(struct transport *transport, enum stream stage, struct error *err)
{
    struct nccl *t = nccl_of(transport);
    (void)stage;
    return transport_report(&t->base, err) && nccl_watch(t, 0, err);
}

// A rank that sleeps would leave after the others: it gives its core away instead.
static bool nccl_meet(struct transport *transport, struct error *err)
{
    MPI_Request request;
    int arrived = 0;
    if (!transport_report(transport, err))
        return false;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    for (uint32_t poll = 0;; poll++) {
        MPI_Test(&request, &arrived, MPI_STATUS_IGNORE);
        if (arrived)
            return true;
        poll_pause(poll < AWAKE ? 0 : poll, SPINS);
    }
}

static bool nccl_barrier(struct transport *transport, struct error *err)
{
    struct nccl *t = nccl_of(transport);
    return transport_report(&t->base, err) && device_sync(t->device, err) &&
           nccl_meet(transport, err);
}

const struct transport_ops transport_nccl = {
    .name = "nccl",
    .open = nccl_open,
    .close = nccl_close,
    .post = nccl_post,
    .wait = nccl_wait,
    .barrier = nccl_barrier,
    .meet = nccl_meet,
};

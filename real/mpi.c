// The MPI transport: host memory, nonblocking messages, and waiting that leaves the cores to ranks
// with work to do. MPI is started and ended by main.
#include "real/transport.h"

#include "base/mem.h"
#include "real/poll.h"

#include <assert.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A count of MPI is an int, so larger messages travel in pieces; order between two ranks is MPI's.
#define PIECE_BYTES ((uint64_t)1 << 30)

#define SPINS 16 // polls before the first sleep

// What a request is about, for checks and messages.
struct mpi_piece {
    uint32_t rank;
    int bytes;
    bool receive;
};

// One exchange under way. Arrays are kept from one to the next.
struct flight {
    uint32_t count, capacity;
    MPI_Request *requests;
    MPI_Status *statuses;
    int *done; // indices of those just completed
    struct mpi_piece *pieces;
};

struct mpi {
    struct transport base;
    MPI_Comm comm;
    uint32_t rank;
    bool crowded; // more ranks than cores here
    struct flight flights[STREAMS];
};

static struct mpi *mpi_of(struct transport *transport)
{
    return (struct mpi *)transport;
}

static bool mpi_fail(struct mpi *mpi, int code, struct error *err, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;
    MPI_Error_string(code, text, &length);
    if (!mpi->base.failed)
        error_set(&mpi->base.error, EXIT_RUNTIME, "mpi: rank %u: %s: %s", mpi->rank, what, text);
    mpi->base.failed = true;
    *err = mpi->base.error;
    return false;
}

static bool fail_peer(struct mpi *mpi, int code, struct error *err, const struct mpi_piece *piece)
{
    char what[64];
    snprintf(what, sizeof what, "%s rank %u", piece->receive ? "receive from" : "send to",
             piece->rank);
    return mpi_fail(mpi, code, err, what);
}

// --- opening -----------------------------------------------------------------------------------

// Spinning ranks are harmless until there are more of them than cores. Each may be bound to cores
// of its own, so the host's are those of all its ranks together.
static int find_crowd(struct mpi *mpi)
{
    MPI_Comm host;
    int ranks = 1;
    cpu_set_t cores, all;
    int code = MPI_Comm_split_type(mpi->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    if (code != MPI_SUCCESS)
        return code;
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    code = MPI_Allreduce(&cores, &all, sizeof all, MPI_BYTE, MPI_BOR, host);
    MPI_Comm_size(host, &ranks);
    mpi->crowded = code == MPI_SUCCESS && ranks > CPU_COUNT(&all);
    MPI_Comm_free(&host);
    return code;
}

static int mpi_join(struct mpi *mpi)
{
    int rank;
    int code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_dup(MPI_COMM_WORLD, &mpi->comm);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_set_errhandler(mpi->comm, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_rank(mpi->comm, &rank);
    if (code == MPI_SUCCESS) {
        mpi->rank = (uint32_t)rank;
        code = find_crowd(mpi);
    }
    return code;
}

static bool mpi_open(struct transport **transport, struct device *device,
                     const struct transport_use *use, struct error *err)
{
    (void)device;
    (void)use;
    struct mpi *opened = mem_alloc(1, sizeof *opened);
    opened->base.ops = &transport_mpi;
    const int code = mpi_join(opened);
    if (code != MPI_SUCCESS) {
        mpi_fail(opened, code, err, "joining the other ranks");
        free(opened);
        return false;
    }
    *transport = &opened->base;
    return true;
}

static void mpi_close(struct transport *transport)
{
    struct mpi *mpi = mpi_of(transport);
    if (!mpi->base.failed) // to be freed by all ranks together, and some may be gone
        MPI_Comm_free(&mpi->comm);
    for (int s = 0; s < STREAMS; s++) {
        free(mpi->flights[s].requests);
        free(mpi->flights[s].statuses);
        free(mpi->flights[s].done);
        free(mpi->flights[s].pieces);
    }
    free(mpi);
}

// --- posting ------------------------------------------------------------------------------------

static void make_room(struct flight *flight)
{
    if (flight->count < flight->capacity)
        return;
    flight->capacity = flight->capacity ? 2 * flight->capacity : 64;
    flight->requests = mem_grow(flight->requests, flight->capacity, sizeof *flight->requests);
    flight->statuses = mem_grow(flight->statuses, flight->capacity, sizeof *flight->statuses);
    flight->done = mem_grow(flight->done, flight->capacity, sizeof *flight->done);
    flight->pieces = mem_grow(flight->pieces, flight->capacity, sizeof *flight->pieces);
}

// Starts one message, piece by piece. The stage is the tag, so stages cannot take each other's.
static bool start_message(struct mpi *mpi, enum stream stage, const struct message *message,
                          bool receive, struct error *err)
{
    struct flight *flight = &mpi->flights[stage];
    const int peer = (int)message->rank, tag = (int)stage;
    if (message->rank == mpi->rank)
        return true;
    for (uint64_t at = 0; at < message->bytes; at += PIECE_BYTES) {
        const uint64_t left = message->bytes - at;
        const int bytes = (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
        const struct mpi_piece piece = {message->rank, bytes, receive};
        unsigned char *data = (unsigned char *)message->data + at;
        make_room(flight);
        MPI_Request *request = &flight->requests[flight->count];
        const int code = receive ? MPI_Irecv(data, bytes, MPI_BYTE, peer, tag, mpi->comm, request)
                                 : MPI_Isend(data, bytes, MPI_BYTE, peer, tag, mpi->comm, request);
        if (code != MPI_SUCCESS)
            return fail_peer(mpi, code, err, &piece);
        flight->pieces[flight->count++] = piece;
    }
    if (!receive)
        mpi->base.bytes_sent[stage] += message->bytes;
    return true;
}

// The next message of a list, from i on, that is the rank's own.
static uint32_t next_own(const struct mpi *mpi, const struct message *messages, uint32_t count,
                         uint32_t i)
{
    while (i < count && messages[i].rank != mpi->rank)
        i++;
    return i;
}

// Messages of a rank to itself never meet MPI, nor the count of bytes sent.
static void copy_own(const struct mpi *mpi, const struct exchange *exchange)
{
    const struct message *sends = exchange->sends, *receives = exchange->receives;
    const uint32_t send_count = exchange->send_count, receive_count = exchange->receive_count;
    uint32_t from = next_own(mpi, sends, send_count, 0);
    uint32_t to = next_own(mpi, receives, receive_count, 0);
    while (from < send_count && to < receive_count) {
        assert(sends[from].bytes == receives[to].bytes);
        memcpy(receives[to].data, sends[from].data, sends[from].bytes);
        from = next_own(mpi, sends, send_count, from + 1);
        to = next_own(mpi, receives, receive_count, to + 1);
    }
    assert(from >= send_count && to >= receive_count);
}

static bool mpi_post(struct transport *transport, enum stream stage,
                     const struct exchange *exchange, struct error *err)
{
    struct mpi *mpi = mpi_of(transport);
    if (!transport_report(&mpi->base, err))
        return false;
    assert(mpi->flights[stage].count == 0); // the last exchange of the stage has been waited for
    for (uint32_t i = 0; i < exchange->receive_count; i++)
        if (!start_message(mpi, stage, &exchange->receives[i], true, err))
            return false;
    for (uint32_t i = 0; i < exchange->send_count; i++)
        if (!start_message(mpi, stage, &exchange->sends[i], false, err))
            return false;
    copy_own(mpi, exchange);
    return true;
}

// --- waiting ------------------------------------------------------------------------------------

// Where ranks have a core each, yielding keeps messages moving fastest. Where they have not, a rank
// that polls takes turns from one that works, and only sleep gives them back.
static void mpi_idle(const struct mpi *mpi, uint32_t *polls)
{
    poll_pause(mpi->crowded ? (*polls)++ : 0, SPINS);
}

// A message shorter than agreed is no error to MPI, but leaves old data behind it.
static bool check_piece(struct mpi *mpi, const struct mpi_piece *piece, const MPI_Status *status,
                        struct error *err)
{
    int bytes;
    if (!piece->receive ||
        (MPI_Get_count(status, MPI_BYTE, &bytes) == MPI_SUCCESS && bytes == piece->bytes))
        return true;
    error_set(&mpi->base.error, EXIT_RUNTIME,
              "mpi: rank %u: receive from rank %u: %d bytes came, expected %d", mpi->rank,
              piece->rank, bytes, piece->bytes);
    mpi->base.failed = true;
    *err = mpi->base.error;
    return false;
}

// Takes what has completed; *left is what has not.
static bool collect(struct mpi *mpi, struct flight *flight, uint32_t *left, struct error *err)
{
    int done = 0;
    const int code =
        MPI_Testsome((int)flight->count, flight->requests, &done, flight->done, flight->statuses);
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS)
        return mpi_fail(mpi, code, err, "waiting");
    for (int i = 0; i < done; i++) {
        const struct mpi_piece *piece = &flight->pieces[flight->done[i]];
        const MPI_Status *status = &flight->statuses[i];
        if (code == MPI_ERR_IN_STATUS && status->MPI_ERROR != MPI_SUCCESS)
            return fail_peer(mpi, status->MPI_ERROR, err, piece);
        if (!check_piece(mpi, piece, status, err))
            return false;
    }
    *left -= done > 0 ? (uint32_t)done : 0; // MPI_UNDEFINED, negative: none was left
    return true;
}

static bool mpi_wait(struct transport *transport, enum stream stage, struct error *err)
{
    struct mpi *mpi = mpi_of(transport);
    struct flight *flight = &mpi->flights[stage];
    uint32_t left = flight->count, polls = 0;
    while (left > 0 && !mpi->base.failed) {
        const uint32_t before = left;
        if (!collect(mpi, flight, &left, err))
            return false;
        if (left == before)
            mpi_idle(mpi, &polls);
        else
            polls = 0;
    }
    flight->count = 0;
    return transport_report(&mpi->base, err);
}

static bool mpi_barrier(struct transport *transport, struct error *err)
{
    struct mpi *mpi = mpi_of(transport);
    MPI_Request request;
    uint32_t polls = 0;
    int done = 0;
    if (!transport_report(&mpi->base, err))
        return false;
    int code = MPI_Ibarrier(mpi->comm, &request);
    while (code == MPI_SUCCESS && !done) {
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (!done)
            mpi_idle(mpi, &polls);
    }
    return code == MPI_SUCCESS || mpi_fail(mpi, code, err, "barrier");
}

const struct transport_ops transport_mpi = {
    .name = "mpi",
    .open = mpi_open,
    .close = mpi_close,
    .post = mpi_post,
    .wait = mpi_wait,
    .barrier = mpi_barrier,
    .meet = mpi_barrier, // the host does work as it is given
};

// A wire that damages what it carries: preloaded into a rank, it harms one message of the transport
// over MPI and leaves a mark that it did. tests/flips.sh runs it.
//
//     FLIP_MARK      the file that gets "sender receiver bit" once the harm is done
//     FLIP_RANK      whose message, by its place in MPI_COMM_WORLD; unset: harms nothing, and every
//                    rank appends "rank sends receives" to FLIP_MARK at its end
//     FLIP_MESSAGE   which of its messages, from 0
//     FLIP_BIT       of the message, modulo its length: what is sent has it flipped, and the
//                    sender's own copy has not
//     FLIP_LOSE      of the messages that it receives instead: this one goes astray
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long sends, receives;

static unsigned long flip_number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : 0;
}

static int own_rank(void)
{
    int rank;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static void mark(const char *mode, unsigned long a, unsigned long b, unsigned long c)
{
    FILE *out = fopen(getenv("FLIP_MARK"), mode);
    if (!out)
        return;
    fprintf(out, "%lu %lu %lu\n", a, b, c);
    fclose(out);
}

// Whether message `number` of those that are sent, or received, is the one.
static bool is_the_one(bool received, unsigned long number)
{
    return getenv("FLIP_RANK") && (getenv("FLIP_LOSE") != NULL) == received &&
           flip_number("FLIP_RANK") == (unsigned long)own_rank() &&
           flip_number("FLIP_MESSAGE") == number;
}

// Bytes of a message; never freed, for the message may be under way until the end.
static unsigned char *room_for(int count, MPI_Datatype type, size_t *bytes)
{
    int size;
    PMPI_Type_size(type, &size);
    *bytes = (size_t)count * (size_t)size;
    return malloc(*bytes);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    if (is_the_one(false, sends++)) {
        size_t bytes;
        unsigned char *copy = room_for(count, type, &bytes);
        const unsigned long bit = flip_number("FLIP_BIT") % (8 * bytes);
        memcpy(copy, data, bytes);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        data = copy;
        mark("w", (unsigned long)own_rank(), (unsigned long)to, bit);
    }
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    if (is_the_one(true, receives++)) {
        size_t bytes;
        data = room_for(count, type, &bytes);
        mark("w", (unsigned long)from, (unsigned long)own_rank(), 0);
    }
    return PMPI_Irecv(data, count, type, from, tag, comm, request);
}

int MPI_Finalize(void)
{
    if (!getenv("FLIP_RANK"))
        mark("a", (unsigned long)own_rank(), sends, receives);
    return PMPI_Finalize();
}

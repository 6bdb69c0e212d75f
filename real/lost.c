#include "real/lost.h"

#include "base/outfile.h"

#include <mpi.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic(int) *told; // in memory that the ranks of a host share; theirs until the job ends
static char line[160];
static size_t line_length;
static struct sigaction before;

bool lost_tell(void)
{
    return !told || atomic_exchange(told, 1) == 0;
}

// Only what a handler may call: the exchange is lock-free.
static void on_term(int number)
{
    before.sa_handler(number); // removes unfinished files; the signal that it raises waits
    if (lost_tell() && write(STDERR_FILENO, line, line_length) < 0)
        line_length = 0; // nobody to tell
    signal(number, SIG_DFL);
}

static void share_flag(void)
{
    MPI_Comm host;
    MPI_Win window;
    MPI_Aint size;
    int place, unit;
    void *mine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &place);
    MPI_Win_allocate_shared(place == 0 ? sizeof *told : 0, sizeof *told, MPI_INFO_NULL, host, &mine,
                            &window);
    MPI_Win_shared_query(window, 0, &size, &unit, &mine);
    if (place == 0)
        atomic_init((_Atomic(int) *)mine, 0);
    MPI_Barrier(host);
    told = mine;
}

void lost_watch(void)
{
    struct sigaction action;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    share_flag();
    snprintf(line, sizeof line,
             "epsim-real: error: rank %d was told to end: another rank was lost, or the job was "
             "cancelled; nothing was written\n",
             rank);
    line_length = strlen(line);
    outfile_watch_signals();
    if (sigaction(SIGTERM, NULL, &before) != 0 || before.sa_handler == SIG_IGN)
        return; // an ignored signal stays ignored
    memset(&action, 0, sizeof action);
    action.sa_handler = on_term;
    sigaction(SIGTERM, &action, NULL);
}

void lost_ignore(void)
{
    if (before.sa_handler && before.sa_handler != SIG_IGN)
        sigaction(SIGTERM, &before, NULL);
    told = NULL;
}

#include "real/lost.h"

#include "base/mem.h"
#include "base/outfile.h"

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Long enough for every other rank to look whether this one lives; launchers wait a second or more
// before they send SIGKILL.
#define LINGER_NS 300000000L

static int *lower; // processes of this host's ranks below this one's
static int lower_count;
static char line[160];
static size_t line_length;
static struct sigaction before;

// Only what a handler may call. A rank that has died is reaped by its launcher before others are
// ended, so kill finds it gone.
static void on_term(int number)
{
    bool first = true;
    before.sa_handler(number); // removes unfinished files; the signal that it raises waits
    for (int i = 0; i < lower_count; i++)
        first = first && kill(lower[i], 0) != 0;
    if (first && write(STDERR_FILENO, line, line_length) > 0) {
        const struct timespec linger = {.tv_nsec = LINGER_NS};
        nanosleep(&linger, NULL);
    }
    signal(number, SIG_DFL);
}

// Sets lower to the processes of the ranks that come first on this host.
static void know_neighbours(void)
{
    MPI_Comm host;
    int place, size, mine = (int)getpid();
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &place);
    MPI_Comm_size(host, &size);
    lower = mem_alloc((size_t)size, sizeof *lower);
    MPI_Allgather(&mine, 1, MPI_INT, lower, 1, MPI_INT, host);
    lower_count = place;
    MPI_Comm_free(&host);
}

void lost_watch(void)
{
    struct sigaction action;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    know_neighbours();
    snprintf(line, sizeof line,
             "epsim-real: error: rank %d was told to end: another rank was lost, or the job was "
             "cancelled; nothing was written\n",
             rank);
    line_length = strlen(line);
    outfile_watch_signals();
    memset(&action, 0, sizeof action);
    action.sa_handler = on_term;
    if (sigaction(SIGTERM, NULL, &before) != 0 || before.sa_handler == SIG_IGN)
        return; // an ignored signal stays ignored
    sigaction(SIGTERM, &action, NULL);
}

void lost_ignore(void)
{
    if (before.sa_handler && before.sa_handler != SIG_IGN)
        sigaction(SIGTERM, &before, NULL);
    free(lower);
    lower = NULL;
    lower_count = 0;
}

#include "study/rows/nccl_run.h"

#include <stdlib.h>
#include <string.h>

const struct nccl_program nccl_programs[] = {
    [NCCL_ALLTOALL] = {"alltoall_perf", "nccl-tests-alltoall", ""},
    [NCCL_SENDRECV] = {"sendrecv_perf", "nccl-tests-sendrecv", "ring"},
    [NCCL_ALLTOALLV] = {"alltoallv_perf", "nccl-tests-alltoallv", "distance"}};

void nccl_run_release(struct nccl_run *run)
{
    free(run->hosts);
    *run = (struct nccl_run){0};
}

void nccl_run_begin(struct nccl_reader *reader, enum nccl_test test)
{
    nccl_run_release(&reader->run);
    reader->run.test = test;
}

bool nccl_complain(const struct nccl_reader *reader)
{
    return error_prefix(reader->err, "%s:%zu", reader->path, reader->lines.number);
}

const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

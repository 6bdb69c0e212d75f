#include "real/cuda_status.h"

#include <string.h>
#include <unistd.h>

void cuda_stick(struct cuda_status *status, const struct cuda_place *place, const char *why)
{
    char host[64] = "?";
    const int name = (int)strcspn(place->call, "(");
    if (status->failed)
        return;
    gethostname(host, sizeof host - 1);
    error_set(&status->error, EXIT_RUNTIME, "%s: %s:%d: %.*s: %s", host, place->file, place->line,
              name, place->call, why);
    status->failed = true;
}

void cuda_check(struct cuda_status *status, cudaError_t result, const struct cuda_place *place)
{
    if (result != cudaSuccess)
        cuda_stick(status, place, cudaGetErrorString(result));
}

void cuda_check_blas(struct cuda_status *status, cublasStatus_t result,
                     const struct cuda_place *place)
{
    if (result != CUBLAS_STATUS_SUCCESS)
        cuda_stick(status, place, cublasGetStatusString(result));
}

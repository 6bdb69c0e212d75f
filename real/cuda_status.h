// How the CUDA device's files note errors: the first sticks, and nothing is called any more after
// it.
#ifndef REAL_CUDA_STATUS_H
#define REAL_CUDA_STATUS_H

#include "base/error.h"

#include <cublas_v2.h>

struct cuda_status {
    bool failed;
    struct error error; // the first that stuck
};

// Where a call stands, for the message.
struct cuda_place {
    const char *call, *file;
    int line;
};

// Keep the first failure, told as "host: file:line: call: why". The call is quoted up to its
// arguments.
void cuda_stick(struct cuda_status *status, const struct cuda_place *place, const char *why);
void cuda_check(struct cuda_status *status, cudaError_t result, const struct cuda_place *place);
void cuda_check_blas(struct cuda_status *status, cublasStatus_t result,
                     const struct cuda_place *place);

#define CUDA_PLACE(call) (&(struct cuda_place){call, __FILE__, __LINE__})
#define CUDA(status, call)                                                                         \
    do {                                                                                           \
        if (!(status)->failed)                                                                     \
            cuda_check(status, call, CUDA_PLACE(#call));                                           \
    } while (0)
#define BLAS(status, call)                                                                         \
    do {                                                                                           \
        if (!(status)->failed)                                                                     \
            cuda_check_blas(status, call, CUDA_PLACE(#call));                                      \
    } while (0)

#endif

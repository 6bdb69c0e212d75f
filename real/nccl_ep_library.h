// NVIDIA's NCCL EP library, found at run time: $EPSIM_NCCL_EP, or libnccl_ep.so.0 where the loader
// looks. Its kernels are compiled at their first use by nvcc from its own headers and NCCL's.
#ifndef REAL_NCCL_EP_LIBRARY_H
#define REAL_NCCL_EP_LIBRARY_H

#include "base/error.h"

#include <nccl_ep.h>
#include <stdbool.h>

// Its functions, as nccl_ep.h declares them.
struct nccl_ep_library {
    __typeof__(ncclEpGetVersion) *get_version;
    __typeof__(ncclEpCreateGroup) *create_group;
    __typeof__(ncclEpGroupDestroy) *group_destroy;
    __typeof__(ncclEpInitHandle) *init_handle;
    __typeof__(ncclEpUpdateHandle) *update_handle;
    __typeof__(ncclEpHandleDestroy) *handle_destroy;
    __typeof__(ncclEpDispatch) *dispatch;
    __typeof__(ncclEpCombine) *combine;
};

// Loads it once; EXIT_ABSENT, in one line, when it or what it needs is absent or too old. It stays
// until the process ends. NULL with err when absent.
const struct nccl_ep_library *nccl_ep_library(struct error *err);

// "0.2.0", or "" when it has not been loaded.
const char *nccl_ep_version(void);

#endif

#include "real/backend.h"

// In the order of enum dispatcher_backend; NULL: not in this build.
static const struct backend *const backends[] = {
    [BACKEND_CALLS] = &backend_calls,
#ifdef EPSIM_NCCL_EP
    [BACKEND_NCCL_EP_LL] = &backend_nccl_ep_ll,
    [BACKEND_NCCL_EP_HT] = &backend_nccl_ep_ht,
#else
    [BACKEND_NCCL_EP_LL] = NULL,
    [BACKEND_NCCL_EP_HT] = NULL,
#endif
};

const struct backend *backend_find(const struct dispatcher *dispatcher, struct error *err)
{
    const struct backend *backend = NULL;
    if (dispatcher->backend == BACKEND_NONE)
        error_set(err, EXIT_INPUT,
                  "--dispatcher %s: its library's kernels are not run here; expected a dispatcher "
                  "of NCCL calls (nccl-calls-ll and nccl-calls-normal have DeepEP's schedules) or "
                  "of NCCL EP",
                  dispatcher->name);
    else if (!(backend = backends[dispatcher->backend]))
        error_set(err, EXIT_ABSENT, "--dispatcher %s: built without NCCL EP's header",
                  dispatcher->name);
    return backend;
}

#include "real/nccl_ep_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIBRARY "libnccl_ep.so.0"
#define NCCL_MIN NCCL_VERSION(2, 30, 7) // what its release is built for: its wheel's metadata

static struct nccl_ep_library library;
static void *loaded;
static char loaded_version[32];

const char *nccl_ep_version(void)
{
    return loaded_version;
}

// A folder that the library compiles its kernels from: `variable` names it or its parent, `file`
// stands in it.
static bool check_sources(const char *variable, const char *file, struct error *err)
{
    char path[4096];
    const char *home = getenv(variable);
    if (!home || !home[0])
        return error_set(err, EXIT_ABSENT,
                         "NCCL EP: %s is not set: expected the folder that holds %s", variable,
                         file);
    snprintf(path, sizeof path, "%s/%s", home, file);
    return access(path, R_OK) == 0 ||
           error_set(err, EXIT_ABSENT, "NCCL EP: %s: %s holds no %s", variable, home, file);
}

static bool check_nccl_version(struct error *err)
{
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess)
        return error_set(err, EXIT_ABSENT, "NCCL EP: NCCL does not tell its version");
    return version >= NCCL_MIN ||
           error_set(err, EXIT_ABSENT, "NCCL EP: NCCL %d.%d.%d is loaded: expected 2.30.7 or later",
                     version / 10000, version / 100 % 100, version % 100);
}

static bool find_symbols(void *handle, struct error *err)
{
    const struct {
        const char *name;
        void **at;
    } symbols[] = {
        {"ncclEpGetVersion", (void **)&library.get_version},
        {"ncclEpCreateGroup", (void **)&library.create_group},
        {"ncclEpGroupDestroy", (void **)&library.group_destroy},
        {"ncclEpInitHandle", (void **)&library.init_handle},
        {"ncclEpUpdateHandle", (void **)&library.update_handle},
        {"ncclEpHandleDestroy", (void **)&library.handle_destroy},
        {"ncclEpDispatch", (void **)&library.dispatch},
        {"ncclEpCombine", (void **)&library.combine},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (!(*symbols[i].at = dlsym(handle, symbols[i].name)))
            return error_set(err, EXIT_ABSENT, "NCCL EP: the library has no %s", symbols[i].name);
    return true;
}

static bool check_library(struct error *err)
{
    int version = 0;
    if (library.get_version(&version) != ncclSuccess || version < NCCL_EP_VERSION_CODE)
        return error_set(err, EXIT_ABSENT, "NCCL EP: version %d.%d.%d is loaded: expected %d.%d.%d",
                         version / 10000, version / 100 % 100, version % 100, NCCL_EP_MAJOR,
                         NCCL_EP_MINOR, NCCL_EP_PATCH);
    snprintf(loaded_version, sizeof loaded_version, "%d.%d.%d", version / 10000,
             version / 100 % 100, version % 100);
    return true;
}

const struct nccl_ep_library *nccl_ep_library(struct error *err)
{
    const char *name = getenv("EPSIM_NCCL_EP");
    if (loaded)
        return &library;
    void *handle = dlopen(name && name[0] ? name : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        error_set(err, EXIT_ABSENT, "NCCL EP: %s", dlerror());
        return NULL;
    }
    if (!find_symbols(handle, err) || !check_library(err) || !check_nccl_version(err) ||
        !check_sources("NCCL_EP_HOME", "include/nccl_ep/device/ll_ep.cuh", err) ||
        !check_sources("NCCL_HOME", "include/nccl_device.h", err)) {
        loaded_version[0] = '\0';
        dlclose(handle);
        return NULL;
    }
    loaded = handle;
    return &library;
}

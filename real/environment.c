#include "real/environment.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef EPSIM_CUDA
#include <cuda_runtime_api.h>
#include <nccl.h>
#endif

static void set_text(json_t *json, const char *key, const char *text)
{
    json_object_set_new(json, key, json_string(text));
}

#ifdef EPSIM_CUDA
static void set_version(json_t *json, const char *key, int major, int minor, int patch)
{
    char text[48];
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    set_text(json, key, text);
}

static void set_gpu(json_t *json)
{
    struct cudaDeviceProp properties;
    int device = 0, driver = 0, runtime = 0, nccl = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaGetDeviceProperties(&properties, device) != cudaSuccess)
        return;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    ncclGetVersion(&nccl);
    set_text(json, "gpu", properties.name);
    json_object_set_new(json, "gpu_sms", json_integer(properties.multiProcessorCount));
    set_version(json, "cuda_driver", driver / 1000, driver % 1000 / 10, driver % 10);
    set_version(json, "cuda_runtime", runtime / 1000, runtime % 1000 / 10, runtime % 10);
    set_version(json, "nccl", nccl / 10000, nccl / 100 % 100, nccl % 100);
    set_text(json, "mps", access("/tmp/nvidia-mps/control", F_OK) == 0 ? "yes" : "unknown");
}
#endif

json_t *environment_json(const struct world *world)
{
    json_t *json = json_object();
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    struct utsname host;
    int length = 0;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = '\0';
    if (uname(&host) == 0) {
        set_text(json, "kernel", host.release);
        set_text(json, "machine", host.machine);
    }
    json_object_set_new(json, "ranks", json_integer(world->ranks));
    json_object_set_new(json, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    set_text(json, "mpi", library);
    set_text(json, "transport", world->transport->ops->name);
    set_text(json, "device", world->device->ops->name);
#ifdef EPSIM_CUDA
    if (world->device->ops == &device_cuda)
        set_gpu(json);
#endif
    return json;
}

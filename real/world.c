#include "real/world.h"

#include "base/embedded.h"
#include "base/table.h"

#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef EPSIM_CUDA
#include <nccl.h>
#endif

bool world_agrees(const struct world *world, bool ok, struct error *err)
{
    const uint32_t none = UINT32_MAX, mine = ok ? none : world->rank;
    uint32_t first = none;
    MPI_Allreduce(&mine, &first, 1, MPI_UINT32_T, MPI_MIN, MPI_COMM_WORLD);
    if (first == none)
        return true;
    // All ranks leave with the first one's code; it alone keeps the message.
    int code = ok ? 0 : (int)err->code;
    MPI_Bcast(&code, 1, MPI_INT, (int)first, MPI_COMM_WORLD);
    if (world->rank != first)
        *err = (struct error){0};
    err->code = (enum exit_code)code;
    return false;
}

// A rank's place among those of its host.
static void place_on_host(int *local, int *locals)
{
    MPI_Comm host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, local);
    MPI_Comm_size(host, locals);
    MPI_Comm_free(&host);
}

// The ranks of a host share its cores: threads that spin for work would take them from each other.
void world_join(struct world *world)
{
    int rank, ranks, local, locals;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    *world = (struct world){.rank = (uint32_t)rank, .ranks = (uint32_t)ranks};
    place_on_host(&local, &locals);
    const int cores = omp_get_num_procs() / locals;
    omp_set_num_threads(cores > 1 ? cores : 1);
}

bool world_same_version(const struct world *world, struct error *err)
{
    char first[128] = "";
    snprintf(first, sizeof first, "%s", version());
    MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
    const bool same = !strncmp(first, version(), sizeof first - 1);
    if (!same)
        error_set(err, EXIT_RUNTIME, "rank %u runs version %s, rank 0 %s: expected one version",
                  world->rank, version(), first);
    return world_agrees(world, same, err);
}

// The GPU of a rank: its place among the host's ranks, in turns where they share.
static uint32_t choose_gpu(bool share_gpu)
{
    int local = 0, gpus = 0;
#ifdef EPSIM_CUDA
    int locals;
    place_on_host(&local, &locals);
    if (cudaGetDeviceCount(&gpus) != cudaSuccess)
        gpus = 0; // opening will say so
#endif
    return (uint32_t)(share_gpu && gpus ? local % gpus : local);
}

static bool open_on(struct world *world, const struct device_ops *device,
                    const struct transport_ops *transport, const struct transport_use *use,
                    struct error *err)
{
    const uint32_t index = choose_gpu(use->share_gpu);
    if (!world_agrees(world, device->open(&world->device, index, err), err))
        return false;
    return world_agrees(world, transport->open(&world->transport, world->device, use, err), err);
}

bool world_open(struct world *world, enum transport_choice choice, const struct transport_use *use,
                struct error *err)
{
#ifdef EPSIM_CUDA
    if (choice != TRANSPORT_MPI)
        return open_on(world, &device_cuda, &transport_nccl, use, err);
#else
    if (choice == TRANSPORT_NCCL)
        return error_set(err, EXIT_ABSENT, "--transport nccl: built without CUDA and NCCL");
#endif
    return open_on(world, &device_host, &transport_mpi, use, err);
}

void world_close(struct world *world)
{
    if (world->transport)
        transport_close(world->transport);
    if (world->device)
        device_close(world->device);
}

// --- where it ran -----------------------------------------------------------------------------

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

static json_t *environment_json(const struct world *world)
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

void world_write_json(const struct world *world, const char *schema, json_t *rest, FILE *out)
{
    json_t *document = json_pack("{s:s s:s s:o}", "schema", schema, "version", version(),
                                 "environment", environment_json(world));
    json_object_update(document, rest);
    json_dumpf(document, out, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    fputc('\n', out);
    json_decref(document);
    json_decref(rest);
}

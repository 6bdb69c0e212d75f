#include "real/probe.h"

#include "base/mem.h"

#include <stdlib.h>

#define LAUNCHES 500 // a queue takes about twice as many

// --- memory ---------------------------------------------------------------------------------

// Memory of so many values, filled, for untouched pages and zeros are quicker than data.
static void *probe_filled(struct probe *probe, uint64_t values, uint64_t number)
{
    struct device *device = probe->world->device;
    void *memory = device_alloc(device, values * device_value_bytes(device));
    if (memory)
        device_fill(device, &(struct tensor_fill){memory, values, 1, number, 1.0f / 32});
    return memory;
}

bool probe_memory_open(struct probe *probe, struct error *err)
{
    struct device *device = probe->world->device;
    struct probe_memory *memory = &probe->memory;
    const struct probe_shape *shape = &probe->shape;
    const size_t value_bytes = device_value_bytes(device);
    const uint64_t rows = shape->rows, hidden = shape->hidden, inner = shape->intermediate;
    const uint64_t exchanged =
        probe->options->max + (probe->world->ranks + 1) * (uint64_t)PROBE_ALIGN;
    const uint64_t copied = (uint64_t)PROBE_COPY_ROWS * PROBE_COPY_ROW_BYTES / value_bytes;
    memory->send = probe_filled(probe, exchanged / value_bytes, 1);
    memory->receive = probe_filled(probe, exchanged / value_bytes, 2);
    memory->from = probe_filled(probe, copied, 3);
    memory->to = probe_filled(probe, copied, 4);
    memory->index = device_alloc(device, PROBE_COPY_ROWS * sizeof *memory->index);
    memory->in = probe_filled(probe, rows * hidden, 5);
    memory->out = probe_filled(probe, rows * hidden, 6);
    memory->middle = probe_filled(probe, rows * inner * 3, 7);
    memory->gate_up = probe_filled(probe, hidden * inner * 2, 8);
    memory->down = probe_filled(probe, hidden * inner, 9);
    return device_sync(device, err);
}

void probe_memory_close(struct probe *probe)
{
    struct probe_memory *memory = &probe->memory;
    void *const held[] = {memory->send,    memory->receive, memory->from, memory->to,
                          memory->index,   memory->in,      memory->out,  memory->middle,
                          memory->gate_up, memory->down};
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++)
        device_release(probe->world->device, held[i]);
}

// --- trials ---------------------------------------------------------------------------------

static bool copy_scattered(struct probe *probe, const struct trial *trial, struct error *err)
{
    struct device *device = probe->world->device;
    const struct probe_memory *memory = &probe->memory;
    const uint32_t width = (uint32_t)(PROBE_COPY_ROW_BYTES / device_value_bytes(device));
    (void)err;
    device_gather(device, STREAM_COMPUTE,
                  &(struct row_gather){.out = device_dense(device, memory->to, width),
                                       .in = device_dense(device, memory->from, width),
                                       .index = memory->index,
                                       .count = trial->copy_rows,
                                       .width = width});
    return true;
}

// Rows in another order than they came: an odd step visits each of a power of two once.
static void scatter_index(struct probe *probe, uint32_t rows)
{
    uint32_t *index = mem_alloc(rows, sizeof *index);
    for (uint32_t i = 0; i < rows; i++)
        index[i] = i * 7919u % rows;
    device_upload(probe->world->device, probe->memory.index, index, rows * sizeof *index);
    free(index);
}

static bool probe_copy(struct probe *probe, struct error *err)
{
    struct trial trial = {.name = "copy",
                          .place = ON_DEVICE,
                          .repeats = 1,
                          .stream = STREAM_COMPUTE,
                          .once = copy_scattered};
    for (uint32_t rows = PROBE_COPY_ROWS / PROBE_STEP / PROBE_STEP; rows <= PROBE_COPY_ROWS;
         rows *= PROBE_STEP) {
        scatter_index(probe, rows);
        trial.copy_rows = rows;
        trial.bytes = (uint64_t)rows * PROBE_COPY_ROW_BYTES;
        trial.moved = 2.0 * (double)trial.bytes;
        if (!probe_trial(probe, &trial, err))
            return false;
    }
    return true;
}

static bool launch_copies(struct probe *probe, const struct trial *trial, struct error *err)
{
    for (uint32_t i = 0; i < LAUNCHES; i++)
        copy_scattered(probe, trial, err);
    return true;
}

static bool probe_launch(struct probe *probe, struct error *err)
{
    const struct trial trial = {.name = "launch",
                                .place = ON_DEVICE,
                                .repeats = LAUNCHES,
                                .stream = STREAM_COMPUTE,
                                .once = launch_copies,
                                .copy_rows = 1};
    return probe_trial(probe, &trial, err);
}

static bool multiply_once(struct probe *probe, const struct trial *trial, struct error *err)
{
    (void)err;
    device_ffn(probe->world->device, trial->ffn);
    return true;
}

static bool probe_gemm(struct probe *probe, struct error *err)
{
    const struct probe_shape *shape = &probe->shape;
    const struct probe_memory *memory = &probe->memory;
    const uint64_t first[2] = {0, shape->rows};
    const struct ffn ffn = {.groups = 1,
                            .hidden = shape->hidden,
                            .intermediate = shape->intermediate,
                            .first = first,
                            .gate_up = (const void *const[]){memory->gate_up},
                            .down = (const void *const[]){memory->down},
                            .in = memory->in,
                            .out = memory->out,
                            .middle = memory->middle};
    const struct trial trial = {.name = "gemm",
                                .place = ON_DEVICE,
                                .flops = 6.0 * shape->rows * shape->hidden * shape->intermediate,
                                .repeats = 1,
                                .stream = STREAM_COMPUTE,
                                .once = multiply_once,
                                .ffn = &ffn};
    return probe_trial(probe, &trial, err);
}

bool probe_device(struct probe *probe, struct error *err)
{
    return probe_copy(probe, err) && probe_launch(probe, err) && probe_gemm(probe, err);
}

// Speed and memory of the engines: each alone, in this process, and the whole program as a child.
// usage: bench EPSIM
#include "base/mem.h"
#include "base/rng.h"
#include "model/engine/estimate.h"
#include "scenario/scenario.h"
#include "sim/heap.h"
#include "sim/simulate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS 5

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_row(const char *what, double seconds, double events, double megabytes)
{
    char rate[32] = "-", count[32] = "-", memory[32] = "-";
    if (events > 0) {
        snprintf(count, sizeof count, "%.0f", events);
        snprintf(rate, sizeof rate, "%.1f", events / seconds / 1e6);
    }
    if (megabytes > 0)
        snprintf(memory, sizeof memory, "%.1f", megabytes);
    printf("%-50s %10.3f %10s %10s %9s\n", what, seconds * 1e3, count, rate, memory);
}

static void fail(const char *what, const struct error *err)
{
    fprintf(stderr, "bench: %s: %s\n", what, err->text);
    exit(EXIT_RUNTIME);
}

// The best of several runs of an engine on loads that stand.
static void bench_engine(const char *what, const struct scenario *scenario, const struct engine *engine)
{
    double best = 1e9, events = 0;
    for (int i = 0; i < RUNS; i++) {
        struct timing timing;
        const double start = now_s();
        engine->run(scenario->schedule, &scenario->run, &timing);
        const double took = now_s() - start;
        best = took < best ? took : best;
        events = (double)timing.events;
        timing_release(&timing);
    }
    print_row(what, best, events, 0);
}

static void resolve(struct scenario *scenario, const struct scenario_def *def)
{
    struct error err = {0};
    if (!scenario_open(scenario, def, &err))
        fail("question", &err);
}

// The best time that loads and schedule take; left loaded.
static void bench_loads(const char *what, struct scenario *scenario, const struct scenario_def *def,
                        enum loads_kind kind)
{
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        if (i)
            scenario_release(scenario);
        resolve(scenario, def);
        const double start = now_s();
        scenario_load(scenario, kind);
        const double took = now_s() - start;
        best = took < best ? took : best;
    }
    print_row(what, best, 0, 0);
}

static struct scenario_def deepseek(const char *dispatcher, uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    def.ep = 32;
    def.tokens = tokens;
    strcpy(def.dispatcher, dispatcher);
    return def;
}

static void bench_layers(void)
{
    const struct scenario_def prefill = deepseek("deepep-normal", 4096);
    const struct scenario_def decode = deepseek("deepep-ll", 128);
    struct scenario scenario;
    bench_loads("EP32 prefill 4096, count loads", &scenario, &prefill, LOADS_COUNTED);
    bench_engine("EP32 prefill 4096, simulate", &scenario, &engine_simulate);
    bench_engine("EP32 prefill 4096, estimate (counted)", &scenario, &engine_estimate);
    scenario_release(&scenario);
    bench_loads("EP32 prefill 4096, expect loads", &scenario, &prefill, LOADS_EXPECTED);
    bench_engine("EP32 prefill 4096, estimate (expected)", &scenario, &engine_estimate);
    scenario_release(&scenario);
    bench_loads("EP32 decode 128, count loads", &scenario, &decode, LOADS_COUNTED);
    bench_engine("EP32 decode 128, simulate", &scenario, &engine_simulate);
    scenario_release(&scenario);
}

// An uneven matrix over 32 GPUs, cut in 64 KiB chunks: 992 messages of 1 to 62 chunks.
static void fill_uneven(uint64_t *bytes)
{
    for (uint64_t s = 0; s < 32; s++)
        for (uint64_t d = 0; d < 32; d++)
            bytes[s * 32 + d] =
                65536 * (1 + (37 * s + 101 * d + 13 * s * d) % 31) * (d % 8 == 3 ? 2 : 1);
}

static void bench_traffic(void)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    strcpy(def.cluster, "4x8:nvlink_effective=160GB/s,nic_effective=50GB/s");
    strcpy(def.traffic, "uniform:1B"); // its cells are replaced below
    resolve(&scenario, &def);
    fill_uneven(scenario.traffic);
    scenario_load(&scenario, LOADS_COUNTED);
    bench_engine("uneven matrix of 32, 64 KiB chunks, simulate", &scenario, &engine_simulate);
    scenario_release(&scenario);
}

// PHOLD: pop, then push some time later, at a constant number pending.
static void bench_heap(uint32_t pending)
{
    const int holds = 2000000;
    struct rng rng = rng_stream(1, pending, 0, 0);
    struct heap heap;
    uint64_t time_ps, payload;
    char what[64];
    heap_init(&heap, pending);
    for (uint32_t i = 0; i < pending; i++)
        heap_push(&heap, rng_below(&rng, 1000000), i);
    const double start = now_s();
    for (int i = 0; i < holds; i++) {
        if (!heap_pop(&heap, &time_ps, &payload))
            abort();
        heap_push(&heap, time_ps + rng_below(&rng, 2000000), payload);
    }
    const double took = now_s() - start;
    heap_release(&heap);
    snprintf(what, sizeof what, "heap, %u pending: %.1f ns a hold", pending, took / holds * 1e9);
    print_row(what, took, holds, 0);
}

// Runs a command line in a child, its output thrown away; wall time and the child's peak memory.
static double run_child(char *const *argv, double *megabytes)
{
    struct rusage usage;
    int status = 0;
    const double start = now_s();
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
            _exit(EXIT_RUNTIME);
        execv(argv[0], argv);
        _exit(EXIT_ABSENT);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
        fprintf(stderr, "bench: %s %s: failed\n", argv[0], argv[1]);
        exit(EXIT_RUNTIME);
    }
    *megabytes = (double)usage.ru_maxrss / 1024; // KiB on Linux
    return now_s() - start;
}

// `line` after the program's name, words parted by single spaces, and what to call it.
static void bench_process(const char *epsim, const char *line, const char *what)
{
    char *copy = mem_copy_text(line), *program = mem_copy_text(epsim), *save = NULL;
    char *argv[16] = {program};
    size_t count = 1;
    double best = 1e9, peak = 0;
    for (char *word = strtok_r(copy, " ", &save); word && count < 15;
         word = strtok_r(NULL, " ", &save))
        argv[count++] = word;
    for (int i = 0; i < RUNS; i++) {
        double megabytes;
        const double took = run_child(argv, &megabytes);
        best = took < best ? took : best;
        peak = megabytes > peak ? megabytes : peak;
    }
    print_row(what, best, 0, peak);
    free(copy);
    free(program);
}

static void bench_program(const char *epsim)
{
    static const char *const lines[] = {"epsim simulate --ep 32 --tokens 4096",
                                        "epsim simulate --ep 32 --tokens 128",
                                        "epsim estimate --ep 32 --tokens 4096", "epsim --version"};
    char path[] = "/tmp/epsim-bench-XXXXXX", line[160];
    static uint64_t bytes[32 * 32];
    const int descriptor = mkstemp(path);
    FILE *out = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (!out)
        exit(EXIT_RUNTIME);
    fill_uneven(bytes);
    for (int i = 0; i < 32 * 32; i++)
        fprintf(out, "%llu%c", (unsigned long long)bytes[i], i % 32 == 31 ? '\n' : ' ');
    fclose(out);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        bench_process(epsim, lines[i] + strlen("epsim "), lines[i]);
    snprintf(line, sizeof line, "simulate --cluster 4x8:nvlink_effective=160GB/s,nic_effective=50GB/s --traffic %s",
             path);
    bench_process(epsim, line, "epsim simulate --traffic (the uneven matrix)");
    unlink(path);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench EPSIM\n");
        return EXIT_INPUT;
    }
    notice_quiet(true);
    printf("%-50s %10s %10s %10s %9s\n", "best of 5", "wall_ms", "events", "Mevents/s", "peak_MiB");
    // First: a child's peak counts what it had of this process before it became epsim.
    fflush(stdout);
    bench_program(argv[1]);
    bench_layers();
    bench_traffic();
    for (uint32_t pending = 64; pending <= 262144; pending *= 16)
        bench_heap(pending);
    return EXIT_DONE;
}

// study/rows/nccl_tests: every format that the tests have printed, every refusal, and a machine
// found again from text that is made of its own predictions.
//
// The texts are written here by hand, in the formats of nccl-tests' printf calls (2.10, 2.13 and
// 2.19 of common.cu and util.cu); no output of a real run is among them.
#include "base/rng.h"
#include "study/rows/measured.h"
#include "base/preset.h"
#include "study/calibrate.h"
#include "tests/fixture.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <math.h>

// Of 2025 and later: the version, the test's name, bus ids of three parts, #wrong set off by two.
#define NAMED(test)                                                                                \
    "# nccl-tests version 2.19.6 nccl-headers=22907 nccl-library=22907\n"                          \
    "# Collective test starting: " test "\n"
#define PARAMETERS                                                                                 \
    "# nThread 1 nGpus 1 minBytes 1024 maxBytes 1048576 step: 2(factor) warmup iters: 1 iters: 20" \
    " agg iters: 1 validation: 1 graph: 0 unalign: 0\n#\n# Using devices\n"
#define RANK(rank, host)                                                                           \
    "#  Rank " rank " Group  0 Pid  41230 on " host " device  0 [0000:1b:00] NVIDIA H100 80GB "    \
    "HBM3\n"
#define TWO RANK(" 0", "   node-00") RANK(" 1", "   node-00")
#define FOUR TWO RANK(" 2", "   node-01") RANK(" 3", "   node-01")
#define HEAD                                                                                       \
    "#\n#                                                              out-of-place            "   \
    "           in-place          \n"                                                              \
    "#       size         count      type   redop    root     time   algbw   busbw  #wrong     "   \
    "time   algbw   busbw  #wrong \n"                                                              \
    "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             "   \
    "(us)  (GB/s)  (GB/s)         \n"
#define TAIL                                                                                       \
    "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 1.4 \n#\n"                            \
    "# Collective test concluded: alltoall_perf\n"
#define ROW                                                                                        \
    "        4096           256     float    none      -1    14.37    0.29    0.27       0    "    \
    "14.54    0.28    0.26    N/A\n"

struct expected {
    const char *family, *traffic, *gpu;
    uint32_t nodes, gpus_per_node;
    uint64_t bytes;
    double us;
};

static const struct {
    const char *text;
    size_t rows;
    struct expected last;
} texts[] = {
    {NAMED("alltoall_perf") PARAMETERS FOUR HEAD ROW TAIL,
     1,
     {"nccl-tests-alltoall", "", "h100", 2, 2, 4096, 14.37}},
    {NAMED("alltoall_perf_mpi") PARAMETERS TWO HEAD
     "        4096           512     float    none      -1    14.37    0.29    0.27       0    "
     "14.54    0.28    0.26    N/A\n",
     1,
     {"nccl-tests-alltoall", "", "h100", 1, 2, 4096, 14.37}},
    {NAMED("sendrecv_perf") PARAMETERS FOUR HEAD
     "  1073741824     268435456     float     sum      -1  24248.4   44.28   44.28       0  "
     "24886.8   43.15   43.15    N/A\n",
     1,
     {"nccl-tests-sendrecv", "ring", "h100", 2, 2, 1073741824, 24248.4}},
    // Of 2022: no test's name, one part of the bus id; NCCL's own log between.
    {"# nThread 1 nGpus 2 minBytes 8 maxBytes 1024 step: 2(factor) warmup iters: 5 iters: 20 agg "
     "iters: 1 validation: 1 graph: 0\n#\n# Using devices\n"
     "#  Rank  0 Group  0 Pid   8756 on     Meowth device  0 [0x8d] NVIDIA A100-SXM4-80GB\n"
     "#  Rank  1 Group  0 Pid   8756 on     Meowth device  1 [0x91] NVIDIA A100-SXM4-80GB\n"
     "Meowth:8756:8756 [0] NCCL INFO Bootstrap : Using eth0:192.168.0.183<0>\n"
     "NCCL version 2.16.5+cuda11.8\n#\n"
     "#                                                              out-of-place                 "
     "      in-place          \n"
     "#       size         count      type   redop    root     time   algbw   busbw #wrong     "
     "time   algbw   busbw #wrong\n"
     "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            "
     "(us)  (GB/s)  (GB/s)       \n"
     "           0             0     float    none      -1     5.71    0.00    0.00      0     "
     "5.60 "
     "   0.00    0.00    N/A\n"
     "Meowth:8756:8771 [0] NCCL INFO Connected all trees\n"
     "        1024           128     float    none      -1    8.210    0.12    0.06      0     "
     "8.20 "
     "   0.12    0.06    N/A\n",
     1,
     {"nccl-tests-alltoall", "", "a100", 1, 2, 1024, 8.21}},
    // Without a name: a count of all bytes is sendrecv's.
    {PARAMETERS TWO HEAD "        4096          1024     float     sum      -1    14.54    0.28    "
                         "0.28       0    14.46 "
                         "   0.28    0.28    N/A\n",
     1,
     {"nccl-tests-sendrecv", "ring", "h100", 1, 2, 4096, 14.54}},
    // Of 2021: `error`, ranks without groups, redop and root left blank; the name put in by hand.
    {"# Collective test starting: alltoall_perf\n"
     "# nThread 1 nGpus 1 minBytes 1 maxBytes 2 step: 2(factor) warmup iters: 5 iters: 20 "
     "validation: 1 \n#\n# Using devices\n"
     "#   Rank  0 Pid  12345 on      gpu-a device  0 [0x00] Tesla V100-SXM2-16GB\n"
     "#   Rank  1 Pid  12346 on      gpu-b device  0 [0x00] Tesla V100-SXM2-16GB\n#\n"
     "#                                                       out-of-place                       "
     "in-place          \n"
     "#       size         count      type   redop     time   algbw   busbw  error     time   "
     "algbw "
     "  busbw  error\n"
     "#        (B)    (elements)                       (us)  (GB/s)  (GB/s)            (us)  "
     "(GB/s) "
     " (GB/s)       \n"
     "   268435456      33554432     float           520935    0.52    0.51  0e+00   519562    "
     "0.52  "
     "  0.51  1e+00\n",
     1,
     {"nccl-tests-alltoall", "", "v100", 2, 1, 268435456, 520935}},
    // alltoallv's own pattern: a count of 64 for each of four peers is 1,024 bytes in all.
    {NAMED("alltoallv_perf") PARAMETERS FOUR HEAD "        1008            64     float    none    "
                                                  "  -1    15.00    0.07    0.05       0    15.00 "
                                                  "   0.07    0.05    N/A\n",
     1,
     {"nccl-tests-alltoallv", "distance", "h100", 2, 2, 1024, 15}},
    // And by a matrix file: no count.
    {NAMED("alltoallv_perf") PARAMETERS FOUR HEAD "     1000000             0     float    none    "
                                                  "  -1    55.00   18.18   13.64       0    55.00 "
                                                  "  18.18   13.64    N/A\n",
     1,
     {"nccl-tests-alltoallv", "matrix", "h100", 2, 2, 1000000, 55}},
    // Figures of iterations, the time of day, mpirun's and srun's tags, two runs, another test.
    {"[1,0]<stdout>:" NAMED("all_reduce_perf") PARAMETERS TWO HEAD ROW NAMED("alltoall_perf")
         PARAMETERS
     "[1,0]<stdout>:#  Rank  0 Group  0 Pid 1 on a device  0 [0000:1b:00] NVIDIA "
     "GB200\n"
     "0: #  Rank  1 Group  0 Pid 1 on a device  1 [0000:1c:00] NVIDIA GB200\n"
     "[1,0]<stdout>:#       size         count      type   redop    root     time   algbw   busbw  "
     "#wrong    i_min    i_max    i_p99    i_cv%     time   algbw   busbw  #wrong    i_min    "
     "i_max "
     "   i_p99    i_cv%           timestamp\n"
     "[1,0]<stdout>:        8192          1024     float    none      -1    14.37    0.57    0.29  "
     " "
     "    0    14.00    15.00    15.00     1.00    14.54    0.28    0.26    N/A    14.00    15.00  "
     " "
     " 15.00     1.00  2026-07-09 10:11:12\n"
     "# Collective test concluded: alltoall_perf\n" NAMED("alltoall_perf") PARAMETERS FOUR HEAD ROW,
     2,
     {"nccl-tests-alltoall", "", "h100", 2, 2, 4096, 14.37}},
};

START_TEST(reads)
{
    const struct fixture file = fixture_make(texts[_i].text, ".txt");
    const struct expected *last = &texts[_i].last;
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, texts[_i].rows);
    const struct measured_row *row = &measured.rows[measured.count - 1];
    ck_assert_str_eq(row->family, last->family);
    ck_assert_str_eq(row->traffic, last->traffic);
    ck_assert_str_eq(row->gpu, last->gpu);
    ck_assert_uint_eq(row->nodes, last->nodes);
    ck_assert_uint_eq(row->gpus_per_node, last->gpus_per_node);
    ck_assert_uint_eq(row->bytes_per_rank, last->bytes);
    ck_assert_double_eq_tol(row->latency_us, last->us, 1e-9);
    ck_assert_str_eq(row->cluster, "");
    ck_assert_str_eq(row->stat, "slowest");
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

#define BEFORE NAMED("alltoall_perf") PARAMETERS FOUR HEAD

// What clusters call a GPU, and which NCCL ran: the tests' own word for it, or NCCL's log.
static const struct {
    const char *before, *gpu, *name, *source;
} machines[] = {
    {NAMED("alltoall_perf"), "NVIDIA H20-3e", "h20", "nccl-tests 2.19.6; NCCL 2.29.7"},
    {"# nccl-tests version 2.13 nccl-headers=2804 nccl-library=2804\n", "NVIDIA H100", "h100",
     "nccl-tests 2.13; NCCL 2.8.4"},
    {"# nccl-tests version 2.13 nccl-headers=20908 nccl-library=20908\n", "NVIDIA H100", "h100",
     "nccl-tests 2.13; NCCL 2.9.8"},
    {"", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtxpro6000", "nccl-tests"},
    {"a:1:2 [0] NCCL INFO NCCL version 2.26.5+cuda12.2\n", "NVIDIA GeForce RTX 4090", "rtx4090",
     "nccl-tests; NCCL 2.26.5"},
    {"NCCL version 2.28.7+cuda13.0\n", "NVIDIA GB300", "gb300", "nccl-tests; NCCL 2.28.7"},
    {"", "NVIDIA Graphics Device", "", "nccl-tests"},
};

START_TEST(knows_machines)
{
    char text[2048];
    snprintf(text, sizeof text,
             "%s# Collective test starting: alltoall_perf\n" PARAMETERS
             "# Rank 0 Group 0 Pid 1 on a device 0 [0000:1b:00] %s\n"
             "# Rank 1 Group 0 Pid 2 on a device 1 [0000:1c:00] %s\n" HEAD
             " 4096 512 float none -1 14.37 0.29 0.27 0 14.54 0.28 0.26 N/A\n",
             machines[_i].before, machines[_i].gpu, machines[_i].gpu);
    const struct fixture file = fixture_make(text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_str_eq(measured.rows[0].gpu, machines[_i].name);
    ck_assert_str_eq(measured.rows[0].source, machines[_i].source);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {PARAMETERS, ": no rows: expected"},
    {NAMED("alltoall_perf") PARAMETERS FOUR HEAD TAIL, ": no rows: expected"},
    {NAMED("all_reduce_perf") PARAMETERS FOUR HEAD ROW,
     ":14: no rows: rows of all_reduce_perf are left out: only alltoall_perf"},
    {NAMED("all_reduce_perf") PARAMETERS FOUR HEAD,
     ":13: no rows: rows of all_reduce_perf are left out: only alltoall_perf"},
    {NAMED("alltoall_perf") PARAMETERS HEAD ROW,
     ":10: lines of ranks are left out, and how many a host has is not known either: expected "
     "--cluster NxG (nodes x GPUs of each), 4 ranks in all"},
    {NAMED("sendrecv_perf") PARAMETERS HEAD ROW, ":10: a table without ranks: expected"},
    {NAMED("alltoall_perf") PARAMETERS TWO RANK(" 1", "a"), ":8: rank 1 stands twice: expected"},
    {NAMED("alltoall_perf") PARAMETERS RANK(" 0", "a") RANK(" 0", "b"),
     ":7: rank 0 stands twice: expected one job"},
    {NAMED("alltoall_perf") PARAMETERS TWO
     "#  Rank  2 Group  1 Pid 1 on a device  0 [0000:1b:00] NVIDIA H100\n",
     ":8: group 1: expected one group"},
    {NAMED("alltoall_perf") PARAMETERS TWO
     "#  Rank  2 Group  0 Pid 1 on a device  0 [0000:1b:00] NVIDIA A100-SXM4\n",
     ":8: GPU 'a100': expected one kind, h100"},
    {NAMED("alltoall_perf") PARAMETERS "#  Rank  0 Group  0 Pid 1 on\n", ":6: a rank: expected"},
    {NAMED("alltoall_perf") PARAMETERS TWO RANK(" 2", "b") HEAD ROW, ":13: ranks are not placed"},
    {NAMED("alltoall_perf") PARAMETERS RANK(" 0", "a") RANK(" 1", "b") RANK(" 2", "a")
         RANK(" 3", "b") HEAD ROW,
     ":14: ranks are not placed"},
    {NAMED("alltoall_perf") PARAMETERS TWO "# size count type time algbw busbw\n",
     ":8: a table's header: expected"},
    {BEFORE "        4096           128     float    none      -1    14.37    0.29    0.27       0 "
            "   14.54    0.28    0.26    N/A\n",
     ":14: size: 4096 bytes: expected count 128 x 4 bytes of float x 4 peers"},
    {BEFORE "        4096           256     float    none\n",
     ":14: no rows: rows whose end is not there"},
    {BEFORE "        4096           256     float    none      -1    14.37    0.29    0.27       0 "
            "   14.54    0.28\n",
     ":14: no rows: rows whose end is not there"}, // cut
    {BEFORE "        4096           256     float    none      -1    14.37    0.29    0.27       2 "
            "   14.54    0.28    0.26    N/A\n",
     ":14: #wrong: 2: data came wrong"},
    {BEFORE "        4096           256     float    none      -1     0.00    0.29    0.27       0 "
            "   14.54    0.28    0.26    N/A\n",
     ":14: time: 0: expected microseconds above 0"},
    {BEFORE "        4096            6x     float    none      -1    14.37    0.29    0.27       0 "
            "   14.54    0.28    0.26    N/A\n",
     ":14: count: '6x': expected"},
    {BEFORE
     "99999999999999999999            64     float    none      -1    14.37    0.29    0.27  "
     "     0    14.54    0.28    0.26    N/A\n",
     ":14: size: "},
    // all_reduce_perf is checked in place, and a run that checks nothing could be any.
    {PARAMETERS TWO HEAD "        4096          1024     float     sum      -1    14.54    0.28    "
                         "0.28       0    14.46 "
                         "   0.28    0.28      0\n",
     ":10: no rows: rows of a reduction (redop sum) are left out"},
    {PARAMETERS TWO HEAD "        4096          1024     float     sum      -1    14.54    0.28    "
                         "0.28    N/A    14.46 "
                         "   0.28    0.28    N/A\n",
     ":10: no rows: rows are left out, for the text does not say which test ran"},
    {NAMED("alltoallv_perf") PARAMETERS FOUR HEAD "        1024            64     float    none    "
                                                  "  -1    15.00    0.07    0.05       0    15.00 "
                                                  "   0.07    0.05    N/A\n",
     ":14: size 1024: expected alltoallv_perf's own pattern"},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, file.path, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)),
                  "'%s' does not begin with '%s'", message, refused[_i].message);
    ck_assert_ptr_null(strchr(err.text, '\n'));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

// Reads what is there or refuses in one line; sanitizers see to the rest.
static void read_or_refuse(const char *text)
{
    const struct fixture file = fixture_make(text, ".txt");
    struct measured measured;
    struct error err = {0};
    if (measured_load(&measured, file.path, &err)) {
        ck_assert_uint_gt(measured.count, 0);
        for (size_t r = 0; r < measured.count; r++)
            ck_assert(measured.rows[r].latency_us > 0 && measured.rows[r].bytes_per_rank > 0);
        measured_release(&measured);
    } else {
        ck_assert_int_eq(err.code, EXIT_INPUT);
        ck_assert(err.text[0] && !strchr(err.text, '\n'));
    }
    fixture_remove(&file);
}

START_TEST(stands_cut_and_broken_text)
{
    const char *whole = texts[_i].text;
    const size_t length = strlen(whole);
    char *text = malloc(length + 1);
    const bool quiet = notice_quiet(true);
    for (size_t cut = 0; cut < length; cut += 7) {
        memcpy(text, whole, cut);
        text[cut] = '\0';
        read_or_refuse(text);
    }
    for (uint32_t trial = 0; trial < 150; trial++) {
        struct rng rng = rng_stream(7, trial, (uint32_t)_i, 0);
        strcpy(text, whole);
        for (int change = 0; change < 3; change++)
            text[rng_below(&rng, (uint32_t)length)] = " \n#0-9A[]x:\t"[rng_below(&rng, 12)];
        read_or_refuse(text);
    }
    notice_quiet(quiet);
    free(text);
}
END_TEST

// ---- there and back -----------------------------------------------------------------------------

#define MACHINE "2x4:gpu=h100,nvlink_effective=330GB/s,nic_effective=44GB/s"
#define STARTS "2x4:nvlink_effective=150GB/s,nic_effective=25GB/s"

// A table as a test prints it, of the figures that a machine would give, off by up to 2 % either
// way, evenly.
static void print_run(FILE *out, bool ring, uint32_t nodes)
{
    const uint32_t ranks = 4 * nodes;
    struct measured_row row = {.nodes = nodes, .gpus_per_node = 4, .phase = PHASE_ALLTOALL};
    const struct row_overrides overrides = {.cluster = MACHINE, .seed = 1};
    struct error err = {0};
    strcpy(row.dispatcher, "nccl-alltoall");
    strcpy(row.stat, "slowest");
    strcpy(row.traffic, ring ? "ring" : "");
    fprintf(out, "# Collective test starting: %s\n" PARAMETERS,
            ring ? "sendrecv_perf" : "alltoall_perf");
    for (uint32_t r = 0; r < ranks; r++)
        fprintf(out, "#  Rank %2u Group %2d Pid %6d on %10s device %2u [%04x:%02x:%02x] %s\n", r, 0,
                77, r < 4 ? "a" : "b", r % 4, 0, 0x1b, 0, "NVIDIA H100 80GB HBM3");
    fputs(HEAD, out);
    for (uint32_t step = 0; step < 10; step++) {
        struct scenario scenario;
        row.bytes_per_rank = UINT64_C(4096) << 2 * step;
        ck_assert_msg(row_open(&scenario, &row, &engine_estimate, &overrides, &err), "%s",
                      err.text);
        struct rng rng = rng_stream(3, step, nodes, ring);
        const double off = 1 + 0.04 * (rng_below(&rng, 1001) / 1000.0 - 0.5);
        const double us = row_predict(&scenario, &row, &engine_estimate).us * off;
        const unsigned long long bytes = row.bytes_per_rank;
        fprintf(out, "%12llu  %12llu  %8s  %6s  %6s", bytes, bytes / 4 / (ring ? 1 : ranks),
                "float", ring ? "sum" : "none", "    -1");
        const double GBps = (double)bytes / us / 1e3;
        fprintf(out, "  %7.2f  %6.2f  %6.2f  %6g", us, GBps, 1.0, 0.0);
        fprintf(out, "  %7.2f  %6.2f  %6.2f    N/A\n", us, GBps, 1.0);
        scenario_release(&scenario);
    }
}

static struct fixture run_fixture(bool ring, uint32_t nodes)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    print_run(out, ring, nodes);
    fclose(out);
    const struct fixture file = fixture_make(text, ".txt");
    free(text);
    return file;
}

static void load_runs(struct measured *measured)
{
    struct fixture files[] = {run_fixture(false, 1), run_fixture(false, 2), run_fixture(true, 2)};
    char *const paths[] = {files[0].path, files[1].path, files[2].path};
    struct error err = {0};
    ck_assert_msg(measured_load_files(measured, paths, 3, NULL, &err), "%s", err.text);
    ck_assert_uint_eq(measured->count, 30);
    for (size_t i = 0; i < 3; i++)
        fixture_remove(&files[i]);
}

// Each constant within three of its own standard errors, and none of these is large.
static void check_found(const struct calibration *calibration)
{
    static const struct {
        const char *key;
        double value;
    } known[] = {{"nvlink", 330e9},
                 {"nic", 44e9},
                 {"dispatch_fixed", 4.6561e6},
                 {"dispatch_fixed_inter", 16.985e6}};
    for (size_t k = 0; k < SUITE_COUNT(known); k++)
        for (size_t p = 0; p < calibration->parameter_count; p++) {
            if (strcmp(calibration->parameters[p].keys[0]->key, known[k].key))
                continue;
            const double error = calibration->fit.standard_error[p];
            ck_assert_int_eq(calibration->fit.verdicts[p], FIT_FOUND);
            ck_assert_double_lt(error, 0.05);
            ck_assert_msg(fabs(log(calibration->fit.values[p] / known[k].value)) < 3 * error,
                          "%s: %g, error %g", known[k].key, calibration->fit.values[p], error);
        }
}

// What is written under the cluster's name predicts what the fit did, on no other cluster.
static void check_written(const struct calibration *calibration)
{
    struct cluster cluster, other;
    struct dispatcher there, elsewhere, before;
    const struct provenance origin = {.fit = (char *)"a test"};
    struct error err = {0};
    ck_assert(cluster_load("h100-nvl8", &other, NULL, &err));
    ck_assert(dispatcher_load("nccl-alltoall", &other, &before, NULL, &err));
    ck_assert_msg(calibration_write(calibration, scratch_folder, &origin, &err), "%s", err.text);
    ck_assert(preset_folder(scratch_folder, &err));
    ck_assert_msg(cluster_load("custom", &cluster, NULL, &err), "%s", err.text);
    ck_assert_str_eq(cluster.gpu, "h100");
    ck_assert_uint_eq(cluster.gpus_per_node, 4);
    ck_assert_double_eq_tol(cluster.nic_Bps / calibration->fit.values[1], 1, 1e-4);
    ck_assert(dispatcher_load("nccl-alltoall", &cluster, &there, NULL, &err));
    ck_assert(dispatcher_load("nccl-alltoall", &other, &elsewhere, NULL, &err));
    size_t fixed = 0;
    while (strcmp(calibration->parameters[fixed].keys[0]->key, "dispatch_fixed"))
        fixed++;
    ck_assert_double_eq_tol((double)there.dispatch.fixed_ps / calibration->fit.values[fixed], 1,
                            1e-4);
    ck_assert_uint_eq(elsewhere.dispatch.fixed_ps, before.dispatch.fixed_ps);
    ck_assert(preset_folder(NULL, &err));
}

START_TEST(finds_a_machine_again)
{
    const struct calibrate_target asked = {.cluster = STARTS, .gpu = "h100"};
    const struct row_overrides overrides = {.cluster = STARTS, .seed = 1};
    struct calibration calibration;
    struct measured measured;
    struct error err = {0};
    load_runs(&measured);
    ck_assert_str_eq(measured_gpu(&measured), "h100");
    ck_assert_msg(calibration_load(&calibration, "study/fits/nccl-tests.yaml", &asked, &err), "%s",
                  err.text);
    ck_assert_msg(calibration_run(&calibration, &measured, &overrides, false, &err), "%s",
                  err.text);
    check_found(&calibration);
    check_written(&calibration);
    calibration_release(&calibration);
    measured_release(&measured);
}
END_TEST

// Rows that name no cluster, run on another GPU, or moved a matrix that is not at hand say so.
START_TEST(rows_say_what_they_lack)
{
    static const struct {
        const char *cluster, *traffic, *row, *message;
    } cases[] = {
        {NULL, NULL, "", "names no cluster: say what it ran on, 2 nodes of 2 GPUs, h100"},
        {"a100-nvl8", NULL, "", "gpu h100: expected a cluster of that (a100-nvl8 has a100)"},
        {"h100-cx7", NULL, "matrix", "traffic: name the matrix"},
        {"h100-cx7", "uniform:1KiB", "matrix", "the busiest has 3072 bytes: expected"},
    };
    struct measured_row row = {
        .nodes = 2, .gpus_per_node = 2, .phase = PHASE_ALLTOALL, .bytes_per_rank = 4096};
    strcpy(row.dispatcher, "nccl-alltoall");
    strcpy(row.gpu, "h100");
    for (size_t i = 0; i < SUITE_COUNT(cases); i++) {
        const struct row_overrides overrides = {
            .cluster = cases[i].cluster, .traffic = cases[i].traffic, .seed = 1};
        struct scenario scenario;
        struct error err = {0};
        strcpy(row.traffic, cases[i].row);
        ck_assert(!row_open(&scenario, &row, &engine_estimate, &overrides, &err));
        ck_assert_msg(strstr(err.text, cases[i].message) != NULL, "'%s' lacks '%s'", err.text,
                      cases[i].message);
    }
}
END_TEST

// The matrix of alltoallv is the one that was measured, each cell of it rounded down to 16 bytes.
START_TEST(a_matrix_is_taken)
{
    const struct fixture matrix = fixture_make("7 100 20 30\n0 0 0 0\n0 0 0 0\n0 40 0 0\n", ".txt");
    const struct row_overrides overrides = {
        .cluster = "h100-cx7", .traffic = matrix.path, .seed = 1};
    struct measured_row row = {
        .nodes = 2, .gpus_per_node = 2, .phase = PHASE_ALLTOALL, .bytes_per_rank = 128};
    struct scenario scenario;
    struct error err = {0};
    strcpy(row.dispatcher, "nccl-alltoall");
    strcpy(row.traffic, "matrix");
    ck_assert_msg(row_open(&scenario, &row, &engine_estimate, &overrides, &err), "%s", err.text);
    ck_assert_uint_eq(scenario.traffic[1], 100);
    scenario_release(&scenario);
    fixture_remove(&matrix);
}
END_TEST

// One file twice would count its rows twice.
START_TEST(ids_stand_once_in_all_files)
{
    const struct fixture file = fixture_make(texts[0].text, ".txt");
    char *const paths[] = {(char *)file.path, (char *)file.path};
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load_files(&measured, paths, 2, NULL, &err));
    ck_assert_msg(strstr(err.text, "stands in ") != NULL, "%s", err.text);
    fixture_remove(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nccl_tests");
    TCase *tests = tcase_create("nccl_tests");
    tcase_set_timeout(tests, 90);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(texts));
    tcase_add_loop_test(tests, knows_machines, 0, SUITE_COUNT(machines));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, stands_cut_and_broken_text, 0, SUITE_COUNT(texts));
    tcase_add_test(tests, finds_a_machine_again);
    tcase_add_test(tests, rows_say_what_they_lack);
    tcase_add_test(tests, a_matrix_is_taken);
    tcase_add_test(tests, ids_stand_once_in_all_files);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

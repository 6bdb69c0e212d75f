// study/rows/probe_rows: what epsim-real probe wrote, as rows that engines predict, and every
// refusal.
#include "study/rows/measured.h"
#include "study/calibrate.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#include <math.h>

#define KIND "# epsim.probe/1\n"
#define MACHINE "# machine: 2 nodes of 4 ranks, transport nccl, device cuda\n"
#define GEMM "# gemm: 4096 rows through an expert of hidden 7168, intermediate 2048\n"
#define HEAD "probe\twhere\tbytes_per_rank\tmedian_us\tmin_us\tp99_us\tGBps\tGFLOPS\n"

static const struct {
    const char *machine, *row, *family, *dispatcher, *traffic;
    uint64_t bytes;
    enum phase phase;
    uint32_t tokens, hidden;
} rows[] = {
    {MACHINE, "point-to-point\tinside\t1024\t5\t4\t6\t1\t", "probe-point-to-point", "raw",
     "pair:0:1", 1024, PHASE_ALLTOALL, 0, 0},
    {MACHINE, "point-to-point\tbetween\t1024\t5\t4\t6\t1\t", "probe-point-to-point", "raw",
     "pair:0:4", 1024, PHASE_ALLTOALL, 0, 0},
    {MACHINE, "all-to-all\tall\t4096\t5\t4\t6\t1\t", "probe-all-to-all", "nccl-alltoall", "", 4096,
     PHASE_ALLTOALL, 0, 0},
    {MACHINE, "all-to-all\tbetween\t4096\t5\t4\t6\t1\t", "probe-all-to-all", "nccl-alltoall",
     "between", 4096, PHASE_ALLTOALL, 0, 0},
    {"# machine: 1 nodes of 4 ranks, transport mpi, device host\n",
     "all-to-all\tinside\t4096\t5\t4\t6\t1\t", "probe-all-to-all", "raw", "inside", 4096,
     PHASE_ALLTOALL, 0, 0},
    {MACHINE, "copy\tdevice\t4194304\t5\t4\t6\t1\t", "probe-copy", "nccl-flat", "", 0,
     PHASE_RMSNORM, 1024, 2048},
    {MACHINE, "launch\tdevice\t\t5\t4\t6\t\t", "probe-launch", "nccl-flat", "", 0, PHASE_RMSNORM, 1,
     2048},
    {MACHINE, "gemm\tdevice\t\t5\t4\t6\t\t9", "probe-gemm", "nccl-flat", "", 0, PHASE_SHARED, 4096,
     7168},
};

START_TEST(reads)
{
    char text[1024];
    snprintf(text, sizeof text, KIND "%s" GEMM HEAD "%s\n", rows[_i].machine, rows[_i].row);
    const struct fixture file = fixture_make(text, ".tsv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 1);
    const struct measured_row *row = &measured.rows[0];
    ck_assert_str_eq(row->family, rows[_i].family);
    ck_assert_str_eq(row->dispatcher, rows[_i].dispatcher);
    ck_assert_str_eq(row->traffic, rows[_i].traffic);
    ck_assert_uint_eq(row->bytes_per_rank, rows[_i].bytes);
    ck_assert_int_eq(row->phase, rows[_i].phase);
    ck_assert_uint_eq(row->tokens_per_gpu, rows[_i].tokens);
    ck_assert_uint_eq(row->hidden, rows[_i].hidden);
    ck_assert_double_eq(row->latency_us, 5);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {KIND, ": no rows: expected"},
    {KIND MACHINE HEAD, ": no rows: expected"},
    {"# epsim.probe/2\n" MACHINE HEAD, ":1: '# epsim.probe/2': expected # epsim.probe/1"},
    {KIND "# machine: two\n", ":2: machine: expected N nodes of N ranks"},
    {KIND "# machine: 0 nodes of 4 ranks, transport nccl, device cuda\n", ":2: machine: expected"},
    {KIND "# machine: 999 nodes of 8 ranks, transport nccl, device cuda\n", ":2: machine: "},
    {KIND "# gemm: many\n", ":2: gemm: expected N rows"},
    {KIND HEAD, ":2: no comment '# machine:' before the table"},
    {KIND MACHINE "probe\twhere\tmedian_us\n", ":3: no column 'bytes_per_rank'"},
    {KIND MACHINE HEAD "copy\tdevice\t4194304\n", ":4: 3 cells: expected 8"},
    {KIND MACHINE HEAD "copy\tdevice\t16\t5\t4\t6\t1\t\n", ":4: bytes_per_rank: '16': expected"},
    {KIND MACHINE HEAD "copy\tdevice\t\t5\t4\t6\t1\t\n", ":4: bytes_per_rank: "},
    {KIND MACHINE HEAD "copy\tdevice\t4096\tnan\t4\t6\t1\t\n", ":4: median_us: 'nan': expected"},
    {KIND MACHINE HEAD "copy\tdevice\t4096\t0\t4\t6\t1\t\n", ":4: median_us: '0': expected above"},
    {KIND MACHINE HEAD "gemm\tdevice\t\t5\t4\t6\t1\t\n", ":4: no comment '# gemm:' before"},
    {KIND MACHINE HEAD "fft\tdevice\t\t5\t4\t6\t1\t\n", ":4: probe: 'fft': expected point-to"},
    {KIND MACHINE HEAD "point-to-point\tall\t1024\t5\t4\t6\t1\t\n",
     ":4: where: 'all': expected inside or between"},
    {KIND MACHINE HEAD "all-to-all\tthere\t1024\t5\t4\t6\t1\t\n",
     ":4: where: 'there': expected all, inside or between"},
    {KIND MACHINE HEAD "all-to-all\tall\t1e40\t5\t4\t6\t1\t\n", ":4: bytes_per_rank: "},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".tsv");
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, file.path, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)),
                  "'%s' does not begin with '%s'", message, refused[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

// ---- on a real file -----------------------------------------------------------------------------

static const char results[] = "real/results/h100-shared/probe-4.tsv";

// Whatever a probe measured has a prediction, by both engines.
START_TEST(every_probe_is_predicted)
{
    const struct row_overrides overrides = {.cluster = "2x2:nvlink_effective=300GB/s,nic_effective=40GB/s", .seed = 1};
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, results, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 45);
    for (size_t r = 0; r < measured.count; r++)
        for (size_t e = 0; e < 2; e++) {
            const struct engine *engine = engine_table[e]; // simulate, estimate
            struct scenario scenario;
            ck_assert_msg(row_open(&scenario, &measured.rows[r], engine, &overrides, &err), "%s",
                          err.text);
            ck_assert_double_gt(row_predict(&scenario, &measured.rows[r], engine).us, 0);
            scenario_release(&scenario);
        }
    measured_release(&measured);
}
END_TEST

// A pair's bytes take latency + bytes / rate, a copy reads and writes, a product multiplies.
START_TEST(predictions_are_physical)
{
    const struct row_overrides overrides = {
        .cluster = "2x2:nvlink_effective=100GB/s,nvlink_latency=3us,nic_effective=40GB/s,nic_latency=5us,hbm=2TB/s,"
                   "bf16=1000TFLOPS,gemm_efficiency=0.5,kernel_launch=4us",
        .seed = 1};
    static const struct {
        const char *row;
        double us;
    } cases[] = {
        {"point-to-point\tinside\t4000000\t5\t4\t6\t1\t", 3 + 40},
        {"point-to-point\tbetween\t4000000\t5\t4\t6\t1\t", 5 + 100},
        {"copy\tdevice\t67108864\t5\t4\t6\t1\t", 4 + 67.108864},
        {"launch\tdevice\t\t5\t4\t6\t\t", 4.004096},
        {"gemm\tdevice\t\t5\t4\t6\t\t9", 2 * 4 + 6.0 * 4096 * 7168 * 2048 / 500e6},
    };
    for (size_t i = 0; i < SUITE_COUNT(cases); i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 KIND "# machine: 2 nodes of 2 ranks, transport nccl, device cuda\n" GEMM HEAD
                      "%s\n",
                 cases[i].row);
        const struct fixture file = fixture_make(text, ".tsv");
        struct measured measured;
        struct scenario scenario;
        struct error err = {0};
        ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
        ck_assert_msg(row_open(&scenario, measured.rows, &engine_estimate, &overrides, &err), "%s",
                      err.text);
        const double us = row_predict(&scenario, measured.rows, &engine_estimate).us;
        ck_assert_msg(fabs(us / cases[i].us - 1) < 1e-3, "%s: %g, not %g", cases[i].row, us,
                      cases[i].us);
        scenario_release(&scenario);
        measured_release(&measured);
        fixture_remove(&file);
    }
}
END_TEST

// One GPU shared by four ranks: a rank had a quarter of its memory rate, launches and products.
START_TEST(finds_the_device)
{
    static const char shared[] = "2x2:nvlink_effective=10GB/s,nic_effective=10GB/s,inside=nic,shared_gpus=1";
    const struct calibrate_target asked = {.cluster = shared, .gpu = ""};
    const struct row_overrides overrides = {.cluster = shared, .seed = 1};
    struct calibration calibration;
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, results, &err), "%s", err.text);
    ck_assert_msg(calibration_load(&calibration, "study/fits/probe.yaml", &asked, &err), "%s",
                  err.text);
    ck_assert_msg(calibration_run(&calibration, &measured, &overrides, false, &err), "%s",
                  err.text);
    for (size_t p = 0; p < calibration.parameter_count; p++) {
        const char *key = calibration.parameters[p].keys[0]->key;
        const double value = calibration.fit.values[p];
        if (!strcmp(key, "hbm"))
            ck_assert_msg(value > 2.4e12 && value < 3.0e12, "hbm %g", value);
        if (!strcmp(key, "kernel_launch"))
            ck_assert_msg(value > 0.9e6 && value < 1.2e6, "launch %g", value);
        if (!strcmp(key, "gemm_efficiency"))
            ck_assert_msg(value > 0.75 && value < 0.85, "efficiency %g", value);
        if (!strcmp(key, "nvlink"))
            ck_assert_int_eq(calibration.fit.verdicts[p], FIT_UNUSED);
    }
    calibration_release(&calibration);
    measured_release(&measured);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe_rows");
    TCase *tests = tcase_create("probe_rows");
    tcase_set_timeout(tests, 90);
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(rows));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(tests, every_probe_is_predicted);
    tcase_add_test(tests, predictions_are_physical);
    tcase_add_test(tests, finds_the_device);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

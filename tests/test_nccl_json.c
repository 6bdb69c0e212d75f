// study/rows/nccl_json: what nccl-tests -J write, whole, failed, cut off and broken. The texts are
// written here by hand.
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#define BEGIN(program)                                                                             \
    "{\"version\": 1, \"start_time\": \"2027-01-09 10:00:00\", \"args\": [\"" program              \
    "\", \"-b\", \"8\"],\n\"env\": [\"TOKEN=secret\"], \"nccl_version\": 22807,\n"
#define DEVICE(rank, host, device)                                                                 \
    "{\"rank\": " rank ", \"group\": 0, \"pid\": 7, \"hostname\": \"" host                         \
    "\", \"device\": " device ", \"device_info\": \"NVIDIA H200\"}"
#define CONFIG(devices)                                                                            \
    "\"config\": {\"ngpus\": 1, \"blocking_collectives\": \"false\", \"devices\": [" devices "]}," \
                                                                                             "\n"
#define FOUR                                                                                       \
    DEVICE("0", "a", "0")                                                                          \
    "," DEVICE("1", "a", "1") "," DEVICE("2", "b", "0") "," DEVICE("3", "b", "1")
#define RESULT(size, count, time, wrong)                                                           \
    "{\"size\": " size ", \"count\": " count                                                       \
    ", \"type\": \"float\", \"redop\": \"none\", \"root\": \"    -1\",\n"                          \
    "\"out_of_place\": {\"time\": " time ", \"alg_bw\": 1.0, \"bus_bw\": 1.0, \"nwrong\": " wrong  \
    "},\n"                                                                                         \
    "\"in_place\": {\"time\": 9.0, \"nwrong\": null}, \"actual_iterations\": 20}"
#define END "], \"out_of_bounds\": {\"count\": 0, \"okay\": \"true\"}, \"end_time\": \"x\"}\n"
#define GOOD RESULT("16384", "1024", "55.25", "0.0")

static const struct {
    const char *text, *cluster;
    size_t rows;
    const char *family, *source;
    uint32_t nodes, gpus_per_node;
    double us;
} texts[] = {
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" GOOD END, NULL, 1, "nccl-tests-alltoall",
     "nccl-tests; NCCL 2.28.7", 2, 2, 55.25},
    {BEGIN("/opt/bin/alltoall_perf_mpi") CONFIG(FOUR) "\"results\": [" GOOD "," GOOD END, NULL, 2,
     "nccl-tests-alltoall", "nccl-tests; NCCL 2.28.7", 2, 2, 55.25},
    {"# Writing JSON output to a.json\nWarning: {braces}\n" BEGIN("sendrecv_perf")
         CONFIG(FOUR) "\"results\": [" RESULT("4096", "1024", "12.5", "null") END,
     NULL, 1, "nccl-tests-sendrecv", "nccl-tests; NCCL 2.28.7", 2, 2, 12.5},
    // "nan" is no time, and other results stay.
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" GOOD
                                         "," RESULT("32768", "2048", "\"nan\"", "0.0") END,
     NULL, 1, "nccl-tests-alltoall", "nccl-tests; NCCL 2.28.7", 2, 2, 55.25},
    // Without devices the cluster says; the program is not needed where counts tell.
    {BEGIN("bench") "\"config\": {},\n\"results\": [" GOOD END, "1x4:nvlink=300GB/s", 0, NULL, NULL,
     0, 0, 0},
    {BEGIN("alltoall_perf") "\"config\": {},\n\"results\": [" GOOD END, "1x4:nvlink=300GB/s", 1,
     "nccl-tests-alltoall", "nccl-tests; NCCL 2.28.7", 1, 4, 55.25},
    // Two files in one, and a failed test's results before it failed.
    {BEGIN("all_reduce_perf") CONFIG(FOUR) "\"results\": [" GOOD END "\n" BEGIN("alltoall_perf")
         CONFIG(FOUR) "\"errors\": [\"lost a peer\"], \"results\": [" GOOD END,
     NULL, 1, "nccl-tests-alltoall", "nccl-tests; NCCL 2.28.7", 2, 2, 55.25},
};

static bool load(struct measured *measured, const struct fixture *file, const char *cluster,
                 struct error *err)
{
    char *const paths[] = {(char *)file->path};
    return measured_load_files(measured, paths, 1, cluster, err);
}

START_TEST(reads)
{
    const struct fixture file = fixture_make(texts[_i].text, ".json");
    struct measured measured;
    struct error err = {0};
    const bool ok = load(&measured, &file, texts[_i].cluster, &err);
    ck_assert_msg(ok == (texts[_i].rows > 0), "%s", err.text);
    if (ok) {
        ck_assert_uint_eq(measured.count, texts[_i].rows);
        const struct measured_row *row = &measured.rows[measured.count - 1];
        ck_assert_str_eq(row->family, texts[_i].family);
        ck_assert_str_eq(row->source, texts[_i].source);
        ck_assert_uint_eq(row->nodes, texts[_i].nodes);
        ck_assert_uint_eq(row->gpus_per_node, texts[_i].gpus_per_node);
        ck_assert_double_eq_tol(row->latency_us, texts[_i].us, 1e-9);
        measured_release(&measured);
    }
    fixture_remove(&file);
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" GOOD ", {\"size\": 327",
     ":6: the JSON is cut off: "},
    {BEGIN("alltoall_perf") "\"config\": {", ":3: the JSON is cut off: "},
    {"note\n" BEGIN("alltoall_perf")
         CONFIG(FOUR) "\"results\": [" RESULT("16384", "1024", "nan", "0") END,
     ":6: column 28: "},
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" RESULT("16384", "1024", "55.25", "3.0")
         END,
     ": result 1: #wrong: 3: data came wrong"},
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" RESULT("16384", "512", "55.25", "0.0")
         END,
     ": result 1: size: 16384 bytes: expected count 512 x 4 bytes"},
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" RESULT("16384", "1024", "0.0", "0.0") END,
     ": result 1: time: 0: expected microseconds"},
    {BEGIN("alltoall_perf")
         CONFIG(DEVICE("0", "a", "0") "," DEVICE("0", "b", "0")) "\"results\": [" END,
     ": rank 0 stands twice: expected one job"},
    {BEGIN("alltoall_perf") CONFIG("{}") "\"results\": [" END, ": config.devices: expected a rank"},
    {BEGIN("alltoall_perf") CONFIG(FOUR) "\"results\": [" END, ": no rows: expected at least one"},
    {BEGIN("broadcast_perf") CONFIG(FOUR) "\"results\": [" GOOD END,
     ":1: no rows: rows of broadcast_perf are left out"},
    {BEGIN("alltoall_perf")
         CONFIG(FOUR) "\"results\": [{\"size\": 16384, \"count\": 1024, \"type\": \"float\", "
                      "\"out_of_place\": {\"cpu_time\": 3.0}}" END,
     ":1: no rows: rows of -C 1 are left out"},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".json");
    struct measured measured;
    struct error err = {0};
    ck_assert(!load(&measured, &file, NULL, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)), "%s",
                  message);
    ck_assert_ptr_null(strstr(err.text, "secret"));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nccl_json");
    TCase *tests = tcase_create("nccl_json");
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(texts));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

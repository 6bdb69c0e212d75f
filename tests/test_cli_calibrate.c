// epsim calibrate on logs of known wires: what rows tell is found and written, what they do not is
// left alone with a word on what to measure, and exit 1.
#include "tests/cli.h"
#include "tests/nccl_log.h"

#include "base/preset.h"
#include "model/cluster.h"

#include <jansson.h>
#include <math.h>
#include <sys/resource.h>

#define MiB (UINT64_C(1) << 20)
#define KiB (UINT64_C(1) << 10)

#define NIC 46.0                 // GB/s of a GPU, from node to node
#define BUS_10x8 (NIC * 79 / 72) // as busbw counts it: 72 of 79 peers are in other nodes
#define PAIR 15.2                // of a channel, one a peer among eighty ranks

static const struct wires one_node = {
    "one.txt", 1, 8, .bus_GBps = 340, .start_us = 35, .first_bytes = 32 * MiB, .rows = 10};
static const struct wires ten_nodes = {
    "ten.txt", 10, 8, .bus_GBps = BUS_10x8, .start_us = 300, .first_bytes = 32 * MiB, .rows = 10};
static const struct wires ten_next = {"next.txt", 10, 8, 1, PAIR, 60, .first_bytes = 32 * MiB,
                                      .rows = 10};

#define TEN " --cluster 10x8:name=mine,nvlink=450GB/s,nic=400Gbps --write $D/fitted"

static json_t *document_of(const struct outcome *outcome)
{
    json_error_t error;
    json_t *document = json_loads(outcome->out, 0, &error);
    ck_assert_msg(document != NULL, "%s in: %.300s%.300s", error.text, outcome->out, outcome->err);
    return document;
}

static const char *verdict_on(const json_t *document, const char *key)
{
    const json_t *rows = json_object_get(document, "parameters");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!strcmp(json_string_value(json_object_get(row, "key")), key))
            return json_string_value(json_object_get(row, "verdict"));
    }
    return "";
}

static struct cluster written_cluster(const char *name)
{
    struct cluster cluster;
    struct error err = {0};
    ck_assert(preset_folder(scratch_path("fitted"), &err));
    ck_assert_msg(cluster_load(name, &cluster, NULL, &err), "%s", err.text);
    ck_assert(preset_folder(NULL, &err));
    return cluster;
}

// ---- the recipe ---------------------------------------------------------------------------------

// Column latency_us of a phase in a table for programs.
static double latency_of(const char *table, const char *phase)
{
    char start[32];
    double begin, end, latency;
    snprintf(start, sizeof start, "\n%s\t", phase);
    const char *row = strstr(table, start);
    ck_assert_msg(row && sscanf(row + strlen(start), "%lf\t%lf\t%lf", &begin, &end, &latency) == 3,
                  "no %s in: %.600s", phase, table);
    return latency;
}

// With sendrecv added or not, the NIC is what alltoall's busbw says, its latency is left alone, and
// DeepEP at EP16 comes out as measured on such machines.
START_TEST(recipe)
{
    nccl_log_write(&one_node);
    nccl_log_write(&ten_nodes);
    nccl_log_write(&ten_next);
    struct outcome outcome =
        run(_i ? "calibrate $D/one.txt $D/ten.txt $D/next.txt --fit nccl-tests --json" TEN
               : "calibrate $D/one.txt $D/ten.txt --fit nccl-tests --json" TEN);
    ck_assert_msg(outcome.exit == 0, "%s%s", outcome.out, outcome.err);
    json_t *document = document_of(&outcome);
    ck_assert_str_eq(verdict_on(document, "nic"), "found");
    ck_assert_str_eq(verdict_on(document, "nccl_net_channel_rate"), _i ? "found" : "unused");
    ck_assert_str_eq(verdict_on(document, "nic_latency"), "");
    json_decref(document);
    outcome_release(&outcome);
    const struct cluster cluster = written_cluster("mine");
    ck_assert_double_eq_tol(cluster.nic_Bps / (NIC * 1e9), 1, 0.05);
    ck_assert_double_eq_tol(cluster.nvlink_Bps / 340e9, 1, 0.05);
    ck_assert_uint_eq(cluster.nic_latency_ps, 2500000);
    outcome = run("estimate --cluster mine --presets $D/fitted --ep 16 --tokens 4096 --dispatcher "
                  "deepep-normal --routing deepep --tsv phases");
    const double dispatch = latency_of(outcome.out, "dispatch");
    const double combine = latency_of(outcome.out, "combine");
    ck_assert_msg(dispatch > 0.9 * 751 && dispatch < 1.1 * 775, "dispatch %g us", dispatch);
    ck_assert_msg(combine > 0.9 * 1760 && combine < 1.1 * 1813, "combine %g us", combine);
    outcome_release(&outcome);
}
END_TEST

// ---- what rows do not tell ----------------------------------------------------------------------

static void write_text(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

static const char latency_too[] = "parameters:\n"
                                  "  - {key: nvlink, clusters: [asked]}\n"
                                  "  - {key: nic, clusters: [asked]}\n"
                                  "  - {key: nic_latency, clusters: [asked], start: 5us}\n";

// Three hundred microseconds of NCCL's own are no NIC's: at the bound, so left as the cluster has
// it, and the rates are fitted to that.
START_TEST(latency_stays_physical)
{
    nccl_log_write(&one_node);
    nccl_log_write(&ten_nodes);
    write_text("latency.yaml", latency_too);
    struct outcome outcome =
        run("calibrate $D/one.txt $D/ten.txt --fit $D/latency.yaml --json" TEN);
    ck_assert_int_eq(outcome.exit, 1);
    json_t *document = document_of(&outcome);
    ck_assert_str_eq(verdict_on(document, "nic_latency"), "at bound");
    const json_t *left = json_array_get(json_object_get(document, "left_as_it_was"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(left, "key")), "nic_latency");
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(left, "measure")), "ib_write_lat"));
    json_decref(document);
    outcome_release(&outcome);
    ck_assert_uint_eq(written_cluster("mine").nic_latency_ps, 2500000);
}
END_TEST

// Eight ranks alone cannot tell what a rank adds from the start: the latter of the two is left as
// it was, with a word on what to measure, and the other is fitted to that and written.
START_TEST(loose_is_not_written)
{
    nccl_log_write(&one_node);
    write_text("both.yaml",
               "parameters:\n"
               "  - {key: nvlink, clusters: [asked]}\n"
               "  - {key: dispatch_fixed, dispatchers: [nccl-alltoall@asked]}\n"
               "  - {key: dispatch_per_rank_doubling, dispatchers: [nccl-alltoall@asked]}\n");
    struct outcome outcome =
        run("calibrate $D/one.txt --fit $D/both.yaml --cluster 1x8:name=mine,nvlink=450GB/s,"
            "nic=400Gbps --write $D/fitted");
    ck_assert_msg(outcome.exit == 1, "%s%s", outcome.out, outcome.err);
    ck_assert_ptr_nonnull(strstr(outcome.out, "# left as it was: dispatch_per_rank_doubling of "
                                              "nccl-alltoall@mine (loose); measure "));
    outcome_release(&outcome);
    char *written = read_text("fitted/dispatchers/nccl-alltoall@mine.yaml");
    ck_assert_ptr_nonnull(strstr(written, "dispatch_fixed: {value: "));
    ck_assert_ptr_null(strstr(written, "dispatch_per_rank_doubling"));
    free(written);
    written = read_text("fitted/fits/both.yaml");
    ck_assert_ptr_null(strstr(written, "dispatch_per_rank_doubling"));
    free(written);
}
END_TEST

// Where nothing is found of a variant, what an earlier fit left there goes: a folder is of one fit.
START_TEST(stale_variant_goes)
{
    nccl_log_write(&one_node);
    write_text("rate.yaml", "parameters:\n"
                            "  - {key: nvlink, clusters: [asked]}\n"
                            "  - {key: nccl_ll_rate, dispatchers: [nccl-alltoall@asked]}\n");
    struct outcome outcome =
        run("calibrate $D/one.txt --fit nccl-tests --cluster 1x8:name=mine,nvlink=450GB/s,"
            "nic=400Gbps --write $D/fitted");
    outcome_release(&outcome);
    ck_assert_int_eq(access(scratch_path("fitted/dispatchers/nccl-alltoall@mine.yaml"), F_OK), 0);
    outcome = run("calibrate $D/one.txt --fit $D/rate.yaml --cluster 1x8:name=mine,nvlink=450GB/s,"
                  "nic=400Gbps --write $D/fitted");
    ck_assert_msg(outcome.exit == 0, "%s%s", outcome.out, outcome.err);
    outcome_release(&outcome);
    ck_assert_int_ne(access(scratch_path("fitted/dispatchers/nccl-alltoall@mine.yaml"), F_OK), 0);
}
END_TEST

// ---- few rows -----------------------------------------------------------------------------------

#define PAIR_OF_NODES " --cluster 2x1:nvlink=450GB/s,nic=400Gbps --write $D/" TARGET

START_TEST(few_rows)
{
    const struct wires smoke = {"smoke.txt", 2, 1, 1, 43.5, 60, .first_bytes = 32 * MiB, .rows = 5};
    nccl_log_write(&smoke);
    assert_refused("calibrate $D/smoke.txt --fit nccl-tests --quiet" PAIR_OF_NODES,
                   (const char *const[]){"smoke.txt: 5 rows", "the 7 parameters of nccl-tests",
                                         "--fit nccl-rates"});
    struct outcome outcome = run("calibrate $D/smoke.txt --fit nccl-rates --json" PAIR_OF_NODES);
    ck_assert_msg(outcome.exit == 0, "%s%s", outcome.out, outcome.err);
    json_t *document = document_of(&outcome);
    ck_assert_str_eq(verdict_on(document, "nic"), "found");
    json_decref(document);
    outcome_release(&outcome);
}
END_TEST

// ---- rows that contradict each other ------------------------------------------------------------

static void assert_nothing_fitted(const char *arguments, const char *const wants[WANTS])
{
    struct outcome outcome = run(arguments);
    ck_assert_msg(outcome.exit == 1, "%d: %s%s", outcome.exit, outcome.out, outcome.err);
    for (int i = 0; i < WANTS && wants[i]; i++)
        ck_assert_msg(strstr(outcome.out, wants[i]) != NULL, "no '%s' in: %.900s", wants[i],
                      outcome.out);
    ck_assert_ptr_null(strstr(outcome.out, "found\n"));
    assert_nothing_written(arguments);
    outcome_release(&outcome);
}

static const char two_by_eight[] = "calibrate $D/two.txt --fit nccl-tests --cluster "
                                   "2x8:nvlink=450GB/s,nic=400Gbps --write $D/" TARGET;

// A rate that falls as messages grow is no link's.
START_TEST(congested)
{
    const struct wires two_nodes = {
        "two.txt", 2, 8, .bus_GBps = 16.5, .start_us = 60, .falls = 1, .first_bytes = 32 * MiB,
        .rows = 10};
    nccl_log_write(&two_nodes);
    assert_nothing_fitted(
        two_by_eight, (const char *const[]){"contradiction: ",
                                            "busbw falls from 16.6 GB/s at 536870912 bytes to 4.27",
                                            "# nothing is fitted: 0 rows skipped, 10 left out"});
}
END_TEST

// The healthy node's rows still tell NVLink; the NIC is left alone.
START_TEST(congested_beside_a_healthy_node)
{
    const struct wires two_nodes = {
        "two.txt", 2, 8, .bus_GBps = 16.5, .start_us = 60, .falls = 1, .first_bytes = 32 * MiB,
        .rows = 10};
    nccl_log_write(&one_node);
    nccl_log_write(&two_nodes);
    struct outcome outcome =
        run("calibrate $D/one.txt $D/two.txt --fit nccl-rates --json --cluster "
            "2x8:nvlink=450GB/s,nic=400Gbps");
    ck_assert_int_eq(outcome.exit, 1);
    json_t *document = document_of(&outcome);
    ck_assert_str_eq(verdict_on(document, "nvlink"), "found");
    ck_assert_str_eq(verdict_on(document, "nic"), "unused");
    ck_assert_uint_eq(json_array_size(json_object_get(document, "contradictions")), 1);
    json_decref(document);
    outcome_release(&outcome);
}
END_TEST

// One slow row of many is an outlier, and a rate that rises is none.
START_TEST(not_congested)
{
    const struct wires two_nodes = {
        "two.txt", 2, 8, .bus_GBps = 48, .start_us = 60, .first_bytes = KiB, .rows = 22};
    nccl_log_write(&two_nodes);
    struct outcome outcome = run(two_by_eight);
    ck_assert_ptr_null(strstr(outcome.out, "contradiction: "));
    outcome_release(&outcome);
}
END_TEST

// Alltoall and sendrecv between two GPUs of two nodes, which the model's channels do not part: both
// values, not their mean.
START_TEST(two_values)
{
    const struct wires all = {
        "two.txt", 2, 2, .bus_GBps = 70, .start_us = 60, .first_bytes = 4096 * MiB, .rows = 3};
    const struct wires next = {"next.txt", 2, 2, 1, 39.9, 60, .first_bytes = 4096 * MiB, .rows = 3};
    nccl_log_write(&all);
    nccl_log_write(&next);
    assert_nothing_fitted("calibrate $D/two.txt $D/next.txt --fit nccl-rates --cluster "
                          "2x2:nvlink=450GB/s,nic=400Gbps --write $D/" TARGET,
                          (const char *const[]){"46.9 GB/s by nccl-tests-alltoall",
                                                "40.1 GB/s by nccl-tests-sendrecv",
                                                "two values, not their mean"});
}
END_TEST

// ---- DeepEP -------------------------------------------------------------------------------------

// Half a NIC's rate, as DeepEP's own test sees it with one of two ports: the cluster's rate moves,
// NVLink, which such rows hardly tell, stays.
START_TEST(deepep_log_moves_the_nic)
{
    write_text("deepep.csv", HEADER
               "a,deepep,mine,deepep-normal,2,8,256,8,2,4096,7168,fp8,dispatch,24,1410,0,s\n"
               "b,deepep,mine,deepep-normal,2,8,256,8,2,4096,7168,bf16,dispatch,24,2610,0,s\n"
               "c,deepep,mine,deepep-normal,2,8,256,8,2,4096,7168,bf16,combine,24,2690,0,s\n");
    struct outcome outcome = run("calibrate $D/deepep.csv --fit deepep --cluster "
                                 "2x8:name=mine,nvlink=450GB/s,nic=400Gbps --write $D/fitted");
    ck_assert_msg(outcome.exit == 0, "%s%s", outcome.out, outcome.err);
    outcome_release(&outcome);
    const struct cluster cluster = written_cluster("mine");
    ck_assert_double_eq_tol(cluster.nic_Bps / 23.4e9, 1, 0.04);
    ck_assert_double_eq_tol(cluster.nvlink_Bps / 311.41e9, 1, 0.05);
}
END_TEST

// ---- files --------------------------------------------------------------------------------------

#define INTO_FITTED                                                                                \
    "calibrate $D/one.txt --fit nccl-tests --cluster 1x8:name=mine,nvlink=450GB/s,nic=400Gbps "    \
    "--write $D/fitted"

static char *tree_of(const char *folder)
{
    char line[256], *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    snprintf(line, sizeof line, "cd %s 2>/dev/null && find . -type f -exec cksum {} + | sort",
             scratch_path(folder));
    FILE *in = popen(line, "r");
    for (int c; (c = fgetc(in)) != EOF;)
        fputc(c, out);
    pclose(in);
    fclose(out);
    return text;
}

// One file that cannot be written: none is, and what was there stays.
START_TEST(all_files_or_none)
{
    static const char *const spoilt[] = {
        "fitted/fits/nccl-tests.yaml", "fitted/rows/nccl-tests.yaml", "fitted/clusters/mine.yaml"};
    nccl_log_write(&one_node);
    ck_assert_int_eq(mkdir(scratch_path("fitted"), 0777), 0);
    ck_assert_int_eq(mkdir(scratch_path("fitted/clusters"), 0777), 0);
    ck_assert_int_eq(mkdir(scratch_path("fitted/fits"), 0777), 0);
    ck_assert_int_eq(mkdir(scratch_path("fitted/rows"), 0777), 0);
    write_text("fitted/clusters/other.yaml", "# old\n");
    ck_assert_int_eq(mkdir(scratch_path(spoilt[_i]), 0777), 0);
    char *before = tree_of("fitted");
    struct outcome outcome = run(INTO_FITTED);
    ck_assert_int_eq(outcome.exit, 2);
    ck_assert_ptr_nonnull(strstr(outcome.err, "--write: "));
    outcome_release(&outcome);
    char *after = tree_of("fitted");
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

// A full disk: files of more than 512 bytes fail, smaller ones would not.
START_TEST(full_disk_writes_none)
{
    nccl_log_write(&one_node);
    struct outcome outcome = run_with("ulimit -f 1;", INTO_FITTED " --quiet");
    ck_assert_msg(outcome.exit == 4 || outcome.exit > 128, "%d", outcome.exit);
    outcome_release(&outcome);
    char *after = tree_of("fitted");
    ck_assert_str_eq(after, "");
    free(after);
}
END_TEST

static const struct bad bad_fits[] = {
    {"calibrate $D/rows.csv --fit nccl-test", {"--fit: 'nccl-test': no such fit", "nccl-tests"}},
    {"calibrate $D/rows.csv", {"--fit: missing"}},
    {"calibrate $D/rows.csv --fit $D/none.yaml", {"--fit: ", "No such file"}},
};

START_TEST(bad_fit)
{
    assert_refused(bad_fits[_i].arguments, bad_fits[_i].wants);
}
END_TEST

int main(void)
{
    TCase *tests = cli_case("cli_calibrate");
    if (!tests)
        return 0;
    tcase_add_loop_test(tests, recipe, 0, 2);
    tcase_add_test(tests, latency_stays_physical);
    tcase_add_test(tests, loose_is_not_written);
    tcase_add_test(tests, stale_variant_goes);
    tcase_add_test(tests, few_rows);
    tcase_add_test(tests, congested);
    tcase_add_test(tests, congested_beside_a_healthy_node);
    tcase_add_test(tests, not_congested);
    tcase_add_test(tests, two_values);
    tcase_add_test(tests, deepep_log_moves_the_nic);
    tcase_add_loop_test(tests, all_files_or_none, 0, 3);
    tcase_add_test(tests, full_disk_writes_none);
    tcase_add_loop_test(tests, bad_fit, 0, (int)COUNT(bad_fits));
    return cli_run("cli_calibrate", tests);
}

// study/reads and study/constants: which constants a prediction reads, told by moving them; and
// what their provenance says of the rows that fixed them.
#include "study/constants.h"
#include "base/mem.h"
#include "base/preset.h"
#include "study/reads.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct fixture rows_file(const char *head, const char *rows)
{
    char *text = mem_format("%s%s", head, rows);
    const struct fixture file = fixture_make(text, ".csv");
    free(text);
    return file;
}

// ---- what a prediction reads ------------------------------------------------------------------

// One case a phase and shape: each cost model, one node and several, NICs inside and out.
static const char every_kind[] =
    "a,f,h800-cx7,deepep-normal,1,8,256,8,,512,7168,fp8,dispatch,20,1,0,s\n"
    "b,f,h800-cx7,deepep-normal,4,8,256,8,,512,7168,bf16,combine,20,1,0,s\n"
    "c,f,h800-cx7,deepep-normal,2,8,256,8,,512,7168,fp8,notify,20,1,0,s\n"
    "d,f,h800-cx7,deepep-normal,1,8,256,8,,512,7168,fp8,notify,20,1,0,s\n"
    "e,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,1,0,s\n"
    "f,f,h800-cx7,deepep-ll,2,8,256,8,,128,7168,bf16,combine,,1,0,s\n"
    "g,f,h800-cx7,deepep-ll-rdma,1,8,256,8,,128,7168,bf16,combine,,1,0,s\n"
    "h,f,h100-cx7,deepep-ll-rdma,2,8,256,8,,128,7168,fp8,dispatch,,1,0,s\n"
    "i,f,gb200-nvl72,trtllm-twosided,1,8,256,8,,128,7168,nvfp4,dispatch,,1,0,s\n"
    "j,f,gb200-nvl72,trtllm-onesided,1,8,256,8,,128,7168,bf16,combine,,1,0,s\n"
    "k,f,a100-nvl8,nccl-alltoall,1,8,,,,bytes:65536,0,bf16,alltoall,,1,0,s\n"
    "l,f,b200-nvl8,nccl-alltoall,1,8,,,,bytes:268435456,0,bf16,alltoall,,1,0,s\n"
    "m,f,h800-cx7,nccl-two-stage,2,8,256,8,,512,7168,bf16,dispatch,,1,0,s\n"
    "n,f,h800-cx7,ll-slots,1,8,256,8,,64,7168,bf16,combine,,1,0,s\n"
    "o,f,mi300x-cx7,mori-ll,2,8,256,8,,64,7168,bf16,combine,,1,0,s\n"
    "p,f,h200-efa,uccl-ll,2,8,256,8,,64,7168,bf16,dispatch,,1,0,s\n"
    "q,f,h200-nvl8,nccl-ep-ll,1,8,256,8,,64,7168,fp8,dispatch,,1,0,s\n"
    "r,f,h100-cx7,nccl-ep-ll,2,8,256,8,,64,7168,bf16,combine,,1,0,s\n"
    "s,f,h200-nvl8,nccl-ep-ht,1,8,256,8,,512,7168,bf16,notify,,1,0,s\n"
    "t,f,h200-nvl8,nccl-ep-ht,1,8,256,8,,512,7168,bf16,dispatch,,1,0,s\n"
    "u,f,h200-nvl8,nccl-ep-ht,1,8,256,8,,512,7168,bf16,combine,,1,0,s\n"
    "v,f,h100-cx7,nccl-ep-ht,2,8,256,8,,512,7168,bf16,dispatch,,1,0,s\n"
    "w,f,h100-cx7,nccl-ep-ht,2,8,256,8,,512,7168,bf16,combine,,1,0,s\n"
    "x,f,h100-cx7,nccl-ep-ht,2,8,256,8,,512,7168,bf16,notify,,1,0,s\n"
    "y,f,h100-cx7:inside=nic,nccl-ep-ht,1,8,256,8,,512,7168,bf16,notify,,1,0,s\n";

// Whole layers: notify in it, or left out.
static const char layer_kinds[] =
    "a,f,h800-cx7,nccl-flat,1,8,256,8,4,512,7168,bf16,layer,,1,0,s,\n"
    "b,f,h800-cx7,nccl-flat,1,8,256,8,4,512,7168,bf16,layer,,1,0,s,router+notify\n"
    "c,f,h800-cx7,deepep-normal,4,8,256,8,4,512,7168,fp8,layer,,1,0,s,notify\n"
    "d,f,h800-cx7,nccl-ep-ll,1,8,256,8,4,128,7168,bf16,layer,,1,0,s,\n"
    "e,f,h800-cx7,nccl-ep-ht,1,8,256,8,4,512,7168,bf16,layer,,1,0,s,\n"
    "f,f,h800-cx7,nccl-ep-ht,2,8,256,8,4,512,7168,bf16,layer,,1,0,s,router\n";

// Moves a figure up by a half, and from zero to something.
static bool nudge(const struct field *field, void *object)
{
    char *member = (char *)object + field->offset;
    if (field->kind == FIELD_TIME) {
        uint64_t *time = (uint64_t *)(void *)member;
        *time = *time ? *time + *time / 2 : 7000000;
    } else if (field->kind == FIELD_RATE || field->kind == FIELD_NUMBER ||
               field->kind == FIELD_FLOPS) {
        double *real = (double *)(void *)member;
        *real = *real > 0 ? *real * 0.6 : 0.7;
    } else {
        return false;
    }
    return true;
}

static double predict_nudged(const struct scenario *scenario, const struct measured_row *row,
                             const struct field *field, bool of_cluster)
{
    struct scenario trial;
    scenario_clone(&trial, scenario);
    if (field)
        nudge(field, of_cluster ? (void *)&trial.cluster : (void *)&trial.dispatcher);
    const double us = row_predict(&trial, row, &engine_estimate).us;
    scenario_release(&trial);
    return us;
}

struct tally {
    size_t read, unread, moved;
};

static void try_field(const struct scenario *scenario, const struct measured_row *row,
                      const struct field *field, bool of_cluster, struct tally *tally)
{
    const struct reads reads = {
        .row = row, .cluster = &scenario->cluster, .dispatcher = &scenario->dispatcher};
    struct cluster cluster = scenario->cluster;
    struct dispatcher dispatcher = scenario->dispatcher;
    const double before = predict_nudged(scenario, row, NULL, of_cluster);
    const bool read = of_cluster ? reads_cluster(&reads, field) : reads_dispatcher(&reads, field);
    if (!nudge(field, of_cluster ? (void *)&cluster : (void *)&dispatcher))
        return;
    const double after = predict_nudged(scenario, row, field, of_cluster);
    ck_assert_msg(read || after == before, "%s: %s moves %.6f us to %.6f us", row->id, field->key,
                  before, after);
    tally->read += read;
    tally->unread += !read;
    tally->moved += after != before;
}

static struct tally try_rows(const char *head, const char *rows, const char *model)
{
    const struct fixture file = rows_file(head, rows);
    const struct row_overrides overrides = {.seed = 1, .model = model};
    struct measured measured;
    struct tally tally = {0};
    load_rows(&measured, file.path);
    for (size_t r = 0; r < measured.count; r++) {
        struct scenario scenario;
        struct error err = {0};
        ck_assert_msg(row_open(&scenario, &measured.rows[r], &engine_estimate, &overrides, &err),
                      "%s: %s", measured.rows[r].id, err.text);
        for (size_t i = 0; i < cluster_field_count; i++)
            try_field(&scenario, &measured.rows[r], &cluster_fields[i], true, &tally);
        const struct cost_model *costs = scenario.dispatcher.cost_model;
        for (size_t i = 0; i < costs->field_count; i++)
            try_field(&scenario, &measured.rows[r], &costs->fields[i], false, &tally);
        scenario_release(&scenario);
    }
    measured_release(&measured);
    fixture_remove(&file);
    return tally;
}

// What is said not to be read moves nothing, exactly; of what is said to be read much does.
START_TEST(unread_constants_move_nothing)
{
    const struct tally phases = try_rows(HEADER, every_kind, NULL);
    ck_assert_uint_gt(phases.unread, phases.read / 2);
    ck_assert_uint_gt(phases.moved, phases.read / 5);
    const struct tally layers = try_rows(COLUMNS ",without\n", layer_kinds, "deepseek-v3");
    ck_assert_uint_gt(layers.unread, layers.read / 10);
    ck_assert_uint_gt(layers.moved, layers.read / 2);
}
END_TEST

// ---- support ----------------------------------------------------------------------------------

// A cluster and a dispatcher with constants of known rows, in the suite's folder.
static void write_presets(void)
{
    struct error err = {0};
    ck_assert_int_eq(mkdir(scratch_path("clusters"), 0700), 0);
    ck_assert_int_eq(mkdir(scratch_path("dispatchers"), 0700), 0);
    static const char cluster[] =
        "nodes: 2\ngpus_per_node: 8\nnvlink: {value: 150GB/s, fit: us, rows: 20}\n"
        "nic: {value: 50GB/s, fit: us, rows: 10, stderr_pct: 3, only: 1/3, seed: 1}\n";
    static const char dispatcher[] =
        "dedupe: rank\nroute: direct\nreduce: rank\ncounts: none\n"
        "dispatch_fixed: {value: 9us, fit: us, rows: 4}\n"
        "combine_fixed: {value: 9us, fit: us, rows: 4}\n"
        "combine_sum: {value: 0.1us, fit: us, rows: 2}\n"
        "dispatch_fixed_inter: {value: 3us, source: \"assumption: none\"}\n";
    scratch_write("clusters/ours.yaml", cluster, strlen(cluster));
    scratch_write("dispatchers/mine.yaml", dispatcher, strlen(dispatcher));
    ck_assert_msg(preset_folder(scratch_folder, &err), "%s", err.text);
}

static const char four_rows[] = "a,f,ours,mine,1,8,64,8,,64,1024,bf16,dispatch,,1,0,s\n"
                                "b,f,ours,mine,1,8,64,8,,64,1024,bf16,combine,,1,0,s\n"
                                "c,f,ours,mine,2,8,64,8,,64,1024,bf16,dispatch,,1,0,s\n"
                                "d,f,nowhere,mine,2,8,64,8,,64,1024,bf16,dispatch,,1,0,s\n";

static const struct {
    const char *rows; // taken, by id
    const char *held_out;
    size_t parameters, fitted_rows;
    double own;
    bool proves_nothing;
} supports[] = {
    {"a", "", 2, 4, 1.0 / 20 + 1.0 / 4, false},           // nvlink, fixed
    {"b", "", 3, 2, 1.0 / 20 + 1.0 / 4 + 1.0 / 2, true},  // and sum
    {"c", "", 3, 4, 1.0 / 20 + 1.0 / 10 + 1.0 / 4, true}, // nvlink, nic, fixed
    {"c", "--only 1/3", 3, 4, 1.0 / 20 + 1.0 / 4, false}, // nic's rows were others
    {"c", "--only 1/30", 3, 4, 1.0 / 20 + 1.0 / 10 + 1.0 / 4, true},
    {"c", "--except 1/3", 3, 4, 1.0 / 20 + 1.0 / 10 + 1.0 / 4, true},
    {"abc", "", 4, 2, 3.0 / 20 + 1.0 / 10 + 3.0 / 4 + 1.0 / 2, true},
    {"d", "", 0, 0, 0, false}, // a cluster of no preset
    {"", "", 0, 0, 0, false},
};

START_TEST(support_of_rows)
{
    write_presets();
    const struct fixture file = rows_file(HEADER, four_rows);
    struct row_overrides overrides = {.seed = 1};
    struct measured measured;
    struct constants constants;
    bool taken[4];
    strcpy(overrides.held_out, supports[_i].held_out);
    load_rows(&measured, file.path);
    constants_init(&constants, &measured, &overrides);
    for (size_t r = 0; r < 4; r++)
        taken[r] = strchr(supports[_i].rows, measured.rows[r].id[0]) != NULL;
    const struct support support = constants_support(&constants, taken);
    ck_assert_uint_eq(support.rows, strlen(supports[_i].rows));
    ck_assert_uint_eq(support.parameters, supports[_i].parameters);
    ck_assert_uint_eq(support.fitted_rows, supports[_i].fitted_rows);
    ck_assert_double_eq_tol(support.effective_parameters, supports[_i].own, 1e-12);
    ck_assert_int_eq(support_overfitted(&support), supports[_i].proves_nothing);
    constants_release(&constants);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// More rows than a constant was fitted to cannot all have fixed it.
START_TEST(effective_parameters_are_at_most_all)
{
    write_presets();
    char text[8192] = "";
    for (int i = 0; i < 60; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "r%d,f,ours,mine,1,8,64,8,,64,1024,bf16,combine,,1,0,s\n", i);
    const struct fixture file = rows_file(HEADER, text);
    const struct row_overrides overrides = {.seed = 1};
    struct measured measured;
    struct constants constants;
    bool taken[60];
    load_rows(&measured, file.path);
    constants_init(&constants, &measured, &overrides);
    memset(taken, 1, sizeof taken);
    const struct support support = constants_support(&constants, taken);
    ck_assert_uint_eq(support.parameters, 3);
    ck_assert_double_eq_tol(support.effective_parameters, 3, 1e-12);
    ck_assert(!support_overfitted(&support));
    constants_release(&constants);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

static void clear(void)
{
    preset_folder(NULL, NULL);
    scratch_clear();
}

int main(void)
{
    Suite *suite = suite_create("constants");
    TCase *tests = tcase_create("constants");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, scratch_make, clear);
    tcase_add_test(tests, unread_constants_move_nothing);
    tcase_add_loop_test(tests, support_of_rows, 0, SUITE_COUNT(supports));
    tcase_add_test(tests, effective_parameters_are_at_most_all);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

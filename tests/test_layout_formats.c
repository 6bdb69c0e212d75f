// Layout files of serving engines, each the same layout of a model's MoE layers; rows that are
// those of all layers or of MoE layers alone; and what is refused.
#include "model/layout_file.h"
#include "base/formats/npy.h"
#include "tests/fixture.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <stdint.h>

// Layers 0 and 2 of six are dense.
#define MOE_LAYERS 4
static const uint32_t moe_ids[MOE_LAYERS] = {1, 3, 4, 5};

static struct moe model(void)
{
    const char *text = "name: six\nhidden: 64\nexperts: 4\ntopk: 2\nintermediate: 32\n"
                       "layers: 4\nmoe_layers: 1,3..5\n";
    const struct fixture fixture = fixture_make(text, ".yaml");
    struct moe moe;
    struct error err = {0};
    ck_assert_msg(moe_load(fixture.path, &moe, NULL, &err), "%s", err.text);
    fixture_remove(&fixture);
    return moe;
}

#define MAP(rows) "{\"physical_to_logical_map\": [" rows "]}"
#define ROWS "[1,0,2,3,0,1],[2,1,0,3,0,1],[3,1,2,0,0,1],[0,1,2,3,3,2]"
#define DENSE "[0,1,2,3,0,1]"
#define DEVICE(id, experts) "{\"device_id\": " id ", \"device_expert\": [" experts "]}"
#define ASCEND(id, first, second)                                                                  \
    "{\"layer_id\": " id                                                                           \
    ", \"device_count\": 2, \"device_list\": [" DEVICE("0", first) ", " DEVICE("1", second) "]}"
#define ASSIGNED(a, b, c, d)                                                                       \
    "\"num_slots\": 6, \"initial_global_assignments\": {\"" a "\": [1,0,2,3,0,1], \"" b            \
    "\": [2,1,0,3,0,1], \"" c "\": [3,1,2,0,0,1], \"" d "\": [0,1,2,3,3,2]}}"

static const char *const same[] = {
    MAP(ROWS),
    MAP(DENSE ",[1,0,2,3,0,1]," DENSE ",[2,1,0,3,0,1],[3,1,2,0,0,1],[0,1,2,3,3,2]"),
    MAP("[0,0,0,0,0,0],[1,0,2,3,0,1],[0,0,0,0,0,0],[2,1,0,3,0,1],[3,1,2,0,0,1],[0,1,2,3,3,2]"),
    "[" ROWS "]",
    "[[[1],[0],[2],[3],[0],[1]],[2,1,0,3,0,1],[3,1,2,0,0,1],[0,1,2,3,3,2]]",
    "[[[1,0,2],[3,0,1]],[[2,1,0],[3,0,1]],[[3,1,2],[0,0,1]],[[0,1,2],[3,3,2]]]",
    "{\"phy2log\": [" ROWS "]}",
    "{\"version\": 2, \"model_maps\": {\"six\": " MAP(ROWS) ", \"draft\": " MAP(DENSE) "}}",
    "{" ASSIGNED("1", "3", "4", "5"),
    "{\"record_type\": \"eplb_initial_mapping\", \"version\": 1, " ASSIGNED("0", "1", "2",
                                                                            "3") "\n",
    "{\"moe_layer_count\": 4, \"layer_list\": [" ASCEND("0", "1,0,2", "3,0,1") ", " ASCEND(
        "1", "2,1,0", "3,0,1") ", " ASCEND("2", "3,1,2", "0,0,1") ", " ASCEND("3", "0,1,2",
                                                                              "3,3,2") "]}",
};

static const uint32_t cells[MOE_LAYERS][6] = {
    {1, 0, 2, 3, 0, 1}, {2, 1, 0, 3, 0, 1}, {3, 1, 2, 0, 0, 1}, {0, 1, 2, 3, 3, 2}};

static void check_all(const char *path, const struct layout_wanted *wanted)
{
    struct layouts layouts;
    struct error err = {0};
    uint32_t found = 0;
    ck_assert_msg(layouts_load(&layouts, path, wanted, &err), "%s", err.text);
    ck_assert_uint_eq(layouts.model_layers, 6);
    for (uint32_t l = 0; l < layouts.count; l++)
        if (found < MOE_LAYERS && layouts.layer_ids[l] == moe_ids[found])
            ck_assert_mem_eq(layouts.of[l].slot_expert, cells[found++], sizeof cells[0]);
    ck_assert_uint_eq(found, MOE_LAYERS);
    layouts_release(&layouts);
}

static void check_each(const char *path, struct layout_wanted wanted)
{
    struct layout layout;
    struct error err = {0};
    for (int l = -1; l < MOE_LAYERS; l++) {
        wanted.layer = l < 0 ? -1 : (int)moe_ids[l];
        ck_assert_msg(layout_load(&layout, path, &wanted, &err), "%s", err.text);
        ck_assert_mem_eq(layout.slot_expert, cells[l < 0 ? 0 : l], sizeof cells[0]);
        layout_release(&layout);
    }
}

START_TEST(same_layout)
{
    const struct moe moe = model();
    const struct fixture fixture = fixture_make(same[_i], ".json");
    const struct layout_wanted wanted = {.experts = 4, .ranks = 2, .moe = &moe};
    check_all(fixture.path, &wanted);
    check_each(fixture.path, wanted);
    fixture_remove(&fixture);
}
END_TEST

START_TEST(arrays)
{
    const struct moe moe = model();
    const struct layout_wanted wanted = {.experts = 4, .ranks = 2, .moe = &moe};
    struct error err;
    scratch_make();
    ck_assert(npy_write(scratch_path("a.npy"), NPY_U32, (const uint64_t[]){MOE_LAYERS, 6}, 2, cells,
                        &err));
    check_all(scratch_path("a.npy"), &wanted);
    ck_assert(npy_write(scratch_path("b.npy"), NPY_U32, (const uint64_t[]){MOE_LAYERS, 2, 3}, 3,
                        cells, &err));
    check_each(scratch_path("b.npy"), wanted);
    scratch_clear();
}
END_TEST

// One list stands for every MoE layer.
START_TEST(one_for_all)
{
    const struct moe moe = model();
    const struct fixture fixture = fixture_make("[3, 2, 1, 0]", ".json");
    struct layout_wanted wanted = {.experts = 4, .ranks = 2, .moe = &moe, .layer = 4};
    struct layouts layouts;
    struct layout layout;
    struct error err = {0};
    ck_assert_msg(layouts_load(&layouts, fixture.path, &wanted, &err), "%s", err.text);
    ck_assert_uint_eq(layouts.count, MOE_LAYERS);
    for (uint32_t l = 0; l < MOE_LAYERS; l++) {
        ck_assert_uint_eq(layouts.layer_ids[l], moe_ids[l]);
        ck_assert_uint_eq(layouts.of[l].slot_expert[0], 3);
    }
    layouts_release(&layouts);
    ck_assert(layout_from_file(&layout, fixture.path, &wanted, &err));
    ck_assert_uint_eq(layout.slot_expert[3], 0);
    layout_release(&layout);
    fixture_remove(&fixture);
}
END_TEST

// SGLang's file has a row for each of the model's layers, and is read back as it was.
START_TEST(rows_of_all_layers)
{
    const struct moe moe = model();
    const struct fixture fixture = fixture_make(MAP(ROWS), ".json");
    const struct layout_wanted wanted = {.experts = 4, .ranks = 2, .moe = &moe};
    struct layouts layouts;
    struct error err = {0};
    char *text = NULL;
    size_t length;
    ck_assert_msg(layouts_load(&layouts, fixture.path, &wanted, &err), "%s", err.text);
    layouts.count--; // the last layer is not planned, and has a row all the same
    FILE *out = open_memstream(&text, &length);
    layouts_write(&layouts, LAYOUT_SGLANG, NULL, out);
    fclose(out);
    layouts.count++;
    ck_assert_str_eq(text, "{\"physical_to_logical_map\": [\n [0, 1, 2, 3, 0, 1],\n"
                           " [1, 0, 2, 3, 0, 1],\n [0, 1, 2, 3, 0, 1],\n [2, 1, 0, 3, 0, 1],\n"
                           " [3, 1, 2, 0, 0, 1],\n [0, 1, 2, 3, 0, 1]\n]}\n");
    free(text);
    layouts_release(&layouts);
    fixture_remove(&fixture);
}
END_TEST

static const struct {
    const char *text, *message; // 4 experts on 2 ranks
} refused[] = {
    {MAP(DENSE "," DENSE),
     ":1: physical_to_logical_map: 2 rows; the model six has 4 MoE layers and 6 "
     "in all: is it another --model?"},
    {MAP(DENSE "," DENSE "," DENSE "," DENSE "," DENSE),
     ":1: physical_to_logical_map: 5 rows; the model"},
    {"[" DENSE "," DENSE "]", ":1: phy2log: 2 rows; the model six has 4"},
    {"{\"layer_list\": [" ASCEND("0", "0,1", "2,3") "]}",
     ":1: layer_list: 1 rows; the model six has"},
    {"{\"layer_list\": []}", ":1: layer_list: expected a list of layers"},
    {"{\"layer_list\": [{\"layer_id\": 0}]}", ":1: layer_list: expected layers with device_list"},
    {"{\"layer_list\": [{\"layer_id\": 0, \"device_list\": [" DEVICE("1", "0,1") ", " DEVICE(
         "0", "2,3") "]}]}",
     ":1: layer_list: expected devices in order, from device_id 0"},
    {"{\"layer_list\": [" ASCEND("0", "0,1", "2,3") ", " ASCEND("1", "0,1,2", "3") "]}",
     ":1: layer_list: expected as many experts on every device of every layer"},
    {"{\"layer_list\": [" ASCEND("0", "0,1", "2,4") "]}",
     ":1: layer 0: slot 1: expert: '4': out of"},
    {"{\"model_maps\": {\"a\": " MAP(ROWS) ", \"b\": " MAP(ROWS) "}}",
     ":1: model_maps: 2 of 2 maps fit six: expected one"},
    {"{\"model_maps\": {}}", ":1: model_maps: expected {MODEL: {physical_to_logical_map}}"},
    {"{\"model_maps\": {\"a\": 1}}", ":1: physical_to_logical_map: expected [["},
    {"[[0, 1, 2, 3],\n [0, 1, [2, 3]]]", ":2: layer 1: 3 slots: expected the first row's 4"},
    {"[[0, 1, 2, 3],\n [[0, 1], 2, 3]]", ":2: layer 1: 0 slots: expected the first row's 4"},
    {"[[0, 1, 2, 3],\n [0, 1, [2], 3]]", ":2: layer 1: slot 2: expert: expected a whole number"},
    {"[[0, 1, 2, -1]]", ":1: layer 0: slot 3: expert: '-1': must not be negative"},
    {"[]", ":1: phy2log: 0 slots: expected 1 to 65536"},
    {"PK\3\4 and so on", ": a PyTorch file, a pickle or an archive: save its map as JSON or .npy"},
    {"\x80\4 and so on", ": a PyTorch file, a pickle or an archive: save its map as JSON or .npy"},
};

START_TEST(refuses)
{
    const struct moe moe = model();
    const struct fixture fixture = fixture_make(refused[_i].text, ".json");
    const struct layout_wanted wanted = {.experts = 4, .ranks = 2, .moe = &moe};
    struct layouts layouts;
    struct error err = {0};
    ck_assert_msg(!layouts_load(&layouts, fixture.path, &wanted, &err), "accepted: %s",
                  refused[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, refused[_i].message, strlen(refused[_i].message)) == 0,
                  "%s\nexpected %s", message, refused[_i].message);
    ck_assert_ptr_null(layouts.of);
}
END_TEST

int main(void)
{
    notice_quiet(true);
    Suite *suite = suite_create("layout_formats");
    TCase *tcase = tcase_create("layout_formats");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, same_layout, 0, SUITE_COUNT(same));
    tcase_add_test(tcase, arrays);
    tcase_add_test(tcase, one_for_all);
    tcase_add_test(tcase, rows_of_all_layers);
    tcase_add_loop_test(tcase, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}

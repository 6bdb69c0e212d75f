// traces/import: rows of tokens and counts as logs and CSV have them, which layers of the model an
// input's are, and which axis of an array is which.
#include "traces/import.h"

#include "model/routing.h"
#include "tests/import_inputs.h"
#include "tests/suite.h"

// A model of one choice whose every second layer is dense.
static const char alternate[] = "name: alternate\nhidden: 64\nexperts: 8\ntopk: 1\n"
                                "intermediate: 32\nlayers: 2\nmoe_layers: 1..3:2\n";

static struct import_def text_def(const char *text, const char *const *input)
{
    scratch_write("x", text, strlen(text));
    struct import_def def = def_of(input, 1);
    return def;
}

static uint16_t id_of(const struct trace *trace, uint64_t token, uint32_t layer, uint32_t k)
{
    uint16_t ids[TOPK];
    trace_row(trace, token, layer, ids);
    return ids[k];
}

// ---- steps and ranks ---------------------------------------------------------------------------

// Two steps of two ranks, a token each, whose first id says which.
static const char *const placed[] = {
    "step,rank,layer,ids\n0,0,1,0,7\n0,1,1,1,7\n1,0,1,2,7\n1,1,1,3,7\n",
    "iteration,ep_rank,layer_id,topk_ids\n1,1,1,3 7\n1,0,1,2 7\n0,1,1,1 7\n0,0,1,0 7\n",
    "0,0,1,0,7\n0,1,1,1,7\n1,0,1,2,7\n1,1,1,3,7\n",
    "step\trank\tlayer\tk0\tk1\n0\t0\t1\t0\t7\n0\t1\t1\t1\t7\n1\t0\t1\t2\t7\n1\t1\t1\t3\t7\n",
    "{\"step\": 4, \"rank\": 0, \"layer\": 1, \"experts\": [0, 7]}\n"
    "{\"step\": 4, \"rank\": 1, \"layer\": 1, \"experts\": [1, 7]}\n\n"
    "{\"step\": 9, \"rank\": 0, \"layer\": 1, \"experts\": [2, 7]}\n"
    "{\"step\": 9, \"rank\": 1, \"layer\": 1, \"experts\": [3, 7]}\n"
    "{\"step\": 9, \"rank\": 1, \"lay",
    "[{\"step\": 0, \"rank\": 0, \"layer\": 1, \"experts\": [0, 7]},"
    " {\"step\": 0, \"rank\": 1, \"layer\": 1, \"experts\": [1, 7]},"
    " {\"step\": 1, \"rank\": 0, \"layer\": 1, \"experts\": [2, 7]},"
    " {\"step\": 1, \"rank\": 1, \"layer\": 1, \"experts\": [3, 7]}]",
    // without ranks, shared out to two
    "{\"step\": 4, \"layer\": 1, \"topk_ids\": [[0, 7], [1, 7]]}\n"
    "{\"step\": 9, \"layer\": 1, \"topk_ids\": [[2, 7], [3, 7]]}\n",
    "step,layer,id0,id1\n4,1,0,7\n4,1,1,7\n9,1,2,7\n9,1,3,7\n",
};

START_TEST(steps_and_ranks)
{
    const char *const input = scratch_path("x");
    struct import_def def = text_def(placed[_i], &input);
    struct import_report report;
    struct trace trace;
    def.ranks = 2;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, 2);
    ck_assert_uint_eq(trace.tokens, 4);
    ck_assert_uint_eq(trace.layers, 1);
    ck_assert_uint_eq(trace.layer_ids[0], 1);
    for (uint64_t t = 0; t < 4; t++) {
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t), (int64_t)t / 2);
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t + 1), (int64_t)t % 2);
        ck_assert_uint_eq(id_of(&trace, t, 0, 0), t);
        ck_assert_uint_eq(id_of(&trace, t, 0, 1), 7);
    }
    trace_release(&trace);
}
END_TEST

// A token that a numbered log lacks in one layer has dropped choices there.
START_TEST(lacks_a_layer)
{
    const char *const input = scratch_path("x");
    struct import_def def =
        text_def("token_idx,layer,id0,id1\n0,1,0,7\n0,2,1,7\n1,2,2,7\n", &input);
    struct import_report report;
    struct trace trace;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(trace.tokens, 2);
    ck_assert_uint_eq(report.dropped, 2);
    ck_assert_uint_eq(id_of(&trace, 0, 0, 0), 0);
    ck_assert_uint_eq(id_of(&trace, 1, 0, 0), ROUTING_DROPPED);
    ck_assert_uint_eq(id_of(&trace, 1, 1, 0), 2);
    trace_release(&trace);
}
END_TEST

// What a log says of its model stands for --model.
START_TEST(shape_of_the_log)
{
    const char *const input = scratch_path("x");
    struct import_def def = text_def("{\"num_experts\": 12, \"top_k\": 2}\n"
                                     "{\"layer\": 0, \"topk_ids\": [11, 3]}\n",
                                     &input);
    struct import_report report;
    struct trace trace;
    def.model = "";
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.experts, 12);
    ck_assert_uint_eq(report.topk, 2);
    trace_release(&trace);
}
END_TEST

// ---- which layers ------------------------------------------------------------------------------

// A row for each MoE layer, counted from 0, and rows by model layer come to the same.
START_TEST(layers_by_number)
{
    static const char *const texts[] = {
        "layer,id0,id1\n0,0,7\n1,1,7\n2,2,7\n3,3,7\n",
        "layer,id0,id1\n1,0,7\n2,1,7\n3,2,7\n4,3,7\n",
        "{\"layer\": 0, \"topk_ids\": [0, 7]}\n{\"layer\": 1, \"topk_ids\": [1, 7]}\n"
        "{\"layer\": 2, \"topk_ids\": [2, 7]}\n{\"layer\": 3, \"topk_ids\": [3, 7]}\n"};
    const char *const input = scratch_path("x");
    struct import_def def = text_def(texts[_i], &input);
    struct import_report report;
    struct trace trace;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(trace.layers, 4);
    for (uint32_t l = 0; l < 4; l++) {
        ck_assert_uint_eq(trace.layer_ids[l], l + 1);
        ck_assert_uint_eq(id_of(&trace, 0, l, 0), l);
    }
    trace_release(&trace);
}
END_TEST

static void import_alternate(const uint8_t ids[8], bool good, const char *message)
{
    const char *const input = scratch_path("top1.npy");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    struct error err = {0};
    scratch_write("alternate.yaml", alternate, sizeof alternate - 1);
    ck_assert(npy_write(input, NPY_U8, (const uint64_t[]){2, 4, 1}, 3, ids, &err));
    def.model = scratch_path("alternate.yaml");
    if (!good) {
        ck_assert(!trace_import(&def, &report, &err));
        ck_assert_msg(strstr(err.text, message), "%s", err.text);
        return;
    }
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.left_out, 2);
    ck_assert_uint_eq(trace.layers, 2);
    ck_assert_uint_eq(trace.layer_ids[0], 1);
    ck_assert_uint_eq(trace.layer_ids[1], 3);
    ck_assert_uint_eq(id_of(&trace, 0, 0, 0), ids[1]);
    ck_assert_uint_eq(id_of(&trace, 1, 1, 0), ids[7]);
    trace_release(&trace);
}

// Of one choice a token the model says which layers are dense: their zeros are no choices, and an
// MoE layer's are.
START_TEST(dense_layers_by_the_model)
{
    import_alternate((const uint8_t[]){0, 5, 0, 6, 0, 7, 0, 1}, true, "");
    scratch_clear();
    scratch_make();
    import_alternate((const uint8_t[]){0, 0, 0, 6, 0, 0, 0, 1}, true, "");
    scratch_clear();
    scratch_make();
    import_alternate((const uint8_t[]){0, 5, 0, 6, 3, 7, 0, 1}, false,
                     "layer 0 has choices; the model alternate has MoE layers 1..3:2");
}
END_TEST

// ---- which axis --------------------------------------------------------------------------------

// Counts of 4 steps and 4 layers may be either; of 3 steps the layers tell.
static void write_axes(uint64_t first, uint64_t second, bool layers_first)
{
    uint16_t counts[5 * 5 * EXPERTS] = {0};
    struct error err = {0};
    for (uint64_t a = 0; a < first; a++)
        for (uint64_t b = 0; b < second; b++)
            for (uint64_t k = 0; k < TOPK; k++) // the two experts of the layer
                counts[(a * second + b) * EXPERTS + 2 * (layers_first ? a : b) % EXPERTS + k] = 3;
    ck_assert(npy_write(scratch_path("x.npy"), NPY_U16, (const uint64_t[]){first, second, EXPERTS},
                        3, counts, &err));
}

static void check_axes(enum import_axes axes, uint64_t steps)
{
    const char *const input = scratch_path("x.npy");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    def.ranks = 1;
    def.axes = axes;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, steps);
    ck_assert_uint_eq(trace.tokens, 3 * steps);
    for (uint32_t l = 0; l < 4; l++)
        ck_assert_uint_eq(id_of(&trace, 0, l, 0) / 2, l);
    trace_release(&trace);
    scratch_clear();
    scratch_make();
}

START_TEST(axes_by_the_model)
{
    write_axes(3, 4, false);
    check_axes(IMPORT_AXES_AUTO, 3);
    write_axes(4, 3, true);
    check_axes(IMPORT_AXES_AUTO, 3);
    write_axes(4, 4, true);
    check_axes(IMPORT_LAYERS_FIRST, 4);
    write_axes(4, 4, false);
    check_axes(IMPORT_STEPS_FIRST, 4);
}
END_TEST

START_TEST(axes_refused)
{
    const char *const input = scratch_path("x.npy");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct error err = {0};
    write_axes(4, 5, true);
    def.ranks = 1;
    ck_assert(!trace_import(&def, &report, &err));
    ck_assert_msg(strstr(err.text, "x.npy: [4, 5, 8]: both of the first two may be the layers of "
                                   "tiny: expected --axes steps-first or layers-first"),
                  "%s", err.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_rows");
    TCase *tcase = tcase_create("import_rows");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_clear);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, steps_and_ranks, 0, SUITE_COUNT(placed));
    tcase_add_test(tcase, lacks_a_layer);
    tcase_add_test(tcase, shape_of_the_log);
    tcase_add_loop_test(tcase, layers_by_number, 0, 3);
    tcase_add_test(tcase, dense_layers_by_the_model);
    tcase_add_test(tcase, axes_by_the_model);
    tcase_add_test(tcase, axes_refused);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}

// traces/import: every format of tests/data/import (written by the libraries that engines use: see
// make.py there) gives the choices that make.py states.
#include "traces/import.h"

#include "model/routing.h"
#include "tests/import_inputs.h"
#include "tests/suite.h"
#include "base/formats/npy.h"

// --- choices -----------------------------------------------------------------------------------

static const struct {
    const char *name, *shape, *format;
    uint32_t left_out;
} files[] = {
    {"vllm-u1.npy", "", "NumPy array", 1},
    {"vllm-u2.npy", "", "NumPy array", 1},
    {"vllm-i2.npy", "", "NumPy array", 1},
    {"vllm-i4.npy", "", "NumPy array", 1},
    {"moe-layers.npy", "", "NumPy array", 0},
    {"stored.npz", "", "NumPy archive", 1},
    {"deflated.npz", "", "NumPy archive", 1},
    {"vllm.b64", "", "base64 routed_experts", 1},
    {"vllm.json", "", "routed_experts of answers", 1},
    {"vllm-lists.json", "", "routed_experts of answers", 1},
    {"sglang.b64", "5,2", "base64 routed_experts", 1},
    {"sglang.b64", "6,5,2", "base64 routed_experts", 1},
    {"sglang.i32", "5,2", "raw routed_experts", 1},
    {"sglang.json", "5,2", "routed_experts of answers", 1},
    {"per-request.json", "", "per-request JSON", 0},
    {"answers.jsonl", "", "JSON Lines", 1},
    {"log.jsonl", "", "MoE layer log", 0},
    {"batches.jsonl", "", "MoE layer log", 0},
    {"tokens.csv", "", "CSV", 0},
    {"lists.csv", "", "CSV", 0},
};

static void check_choices(const struct trace *trace)
{
    uint16_t ids[TOPK];
    ck_assert_uint_eq(trace->layers, LAYERS - DENSE);
    for (uint32_t l = 0; l < trace->layers; l++) {
        ck_assert_uint_eq(trace->layer_ids[l], l + DENSE);
        for (uint64_t t = 0; t < trace->tokens; t++) {
            trace_row(trace, t, l, ids);
            for (uint32_t k = 0; k < TOPK; k++)
                ck_assert_uint_eq(ids[k], choice(t, l + DENSE, k));
        }
    }
}

START_TEST(reads)
{
    char path[96];
    snprintf(path, sizeof path, DATA "%s", files[_i].name);
    struct import_def def = def_of((const char *const[]){path}, 1);
    struct import_report report;
    struct trace trace;
    def.shape = files[_i].shape;
    import_good(&def, &report, &trace);
    ck_assert_str_eq(report.format, files[_i].format);
    ck_assert_uint_eq(report.tokens, 6);
    ck_assert_uint_eq(report.layers, 4);
    ck_assert_uint_eq(report.left_out, files[_i].left_out);
    ck_assert_uint_eq(report.steps, 0);
    ck_assert_uint_eq(report.dropped, 0);
    ck_assert(!report.synthesised);
    ck_assert_uint_eq(trace.tokens, 6);
    ck_assert_uint_eq(trace.moe.groups, 4);
    ck_assert_uint_eq(trace.moe.hidden, 64);
    ck_assert_str_eq(trace.moe.name, "tiny");
    ck_assert_ptr_nonnull(strstr(trace.source, files[_i].name));
    ck_assert_int_eq(trace.ids.type, NPY_U8);
    ck_assert_ptr_null(trace.steps.data);
    check_choices(&trace);
    trace_release(&trace);
}
END_TEST

START_TEST(says_source_and_licence)
{
    struct import_def def = def_of((const char *const[]){DATA "vllm-u1.npy"}, 1);
    struct import_report report;
    struct trace trace;
    def.source = "a \"run\" of\nours: 1%";
    def.licence = "CC0";
    import_good(&def, &report, &trace);
    ck_assert_str_eq(trace.source, def.source);
    ck_assert_str_eq(trace.licence, "CC0");
    trace_release(&trace);
}
END_TEST

// Two requests, of six tokens and of three (which make.py begins one later).
START_TEST(requests_follow)
{
    const char *const inputs[] = {DATA "vllm-u1.npy", DATA "second.npy"};
    const struct import_def def = def_of(inputs, 2);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(trace.tokens, 9);
    ck_assert_ptr_null(trace.steps.data);
    trace_row(&trace, 7, 2, ids);
    ck_assert_uint_eq(ids[1], choice(1 + 1, 3, 1));
    ck_assert_ptr_nonnull(strstr(trace.source, "and 1 more"));
    trace_release(&trace);
}
END_TEST

START_TEST(positions_stand_side_by_side)
{
    static const uint32_t steps[9][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0},
                                         {2, 1}, {3, 0}, {4, 0}, {5, 0}};
    const char *const inputs[] = {DATA "vllm-u1.npy", DATA "second.npy"};
    struct import_def def = def_of(inputs, 2);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    def.order = IMPORT_POSITIONS;
    def.ranks = 2;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, 6);
    for (uint64_t t = 0; t < 9; t++) {
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t), steps[t][0]);
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t + 1), steps[t][1]);
        trace_row(&trace, t, 0, ids);
        ck_assert_uint_eq(ids[0], choice(steps[t][0] + steps[t][1], 1, 0));
    }
    trace_release(&trace);
}
END_TEST

// A request in two arrays (prompt and output) is one: its output goes on where the prompt ended.
START_TEST(positions_of_a_split_request)
{
    struct import_def def = def_of((const char *const[]){DATA "vllm-lists.json"}, 1);
    struct import_report report;
    struct trace trace;
    def.order = IMPORT_POSITIONS;
    def.ranks = 2;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, 6);
    for (uint64_t t = 0; t < 6; t++) {
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t), (int64_t)t);
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t + 1), 0);
    }
    check_choices(&trace);
    trace_release(&trace);
}
END_TEST

// Ranks and iterations of TensorRT-LLM's raw files become source ranks and steps; the shape is
// theirs.
START_TEST(trtllm_raw)
{
    static const char *const inputs[] = {DATA "trtllm-raw", DATA "trtllm-raw/meta_info.json"};
    struct import_def def = def_of(&inputs[_i], 1);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    uint64_t t = 0;
    def.model = "";
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, 2);
    ck_assert_uint_eq(trace.tokens, 14);
    ck_assert_uint_eq(trace.moe.experts, EXPERTS);
    ck_assert_uint_eq(trace.moe.hidden, 0);
    for (uint32_t step = 0; step < 2; step++)
        for (uint32_t rank = 0; rank < 2; rank++)
            for (uint32_t i = 0; i < 3 + rank; i++, t++)
                for (uint32_t l = 0; l < 4; l++) {
                    trace_row(&trace, t, l, ids);
                    ck_assert_uint_eq(ids[0], choice(i + 100 + step + rank, l + 1, 0));
                    ck_assert_uint_eq(ids[1], choice(i + 100 + step + rank, l + 1, 1));
                    ck_assert_int_eq(npy_int(&trace.steps, 2 * t), step);
                    ck_assert_int_eq(npy_int(&trace.steps, 2 * t + 1), rank);
                }
    trace_release(&trace);
}
END_TEST

static void write_ids(const char *name, const int32_t *ids, uint64_t tokens)
{
    struct error err = {0};
    ck_assert(
        npy_write(scratch_path(name), NPY_I32, (const uint64_t[]){tokens, 4, 2}, 3, ids, &err));
}

// -1 is a dropped choice; a token of one repeated value in a layer that has others was not
// recorded.
START_TEST(drops)
{
    static const int32_t ids[3 * 4 * 2] = {0, 1,  2, 3, 4,  5,  6, 7, //
                                           0, -1, 0, 0, -1, -1, 6, 7, 5, 1, 2, 3, 4, 5, -1, 7};
    write_ids("x.npy", ids, 3);
    const char *const input = scratch_path("x.npy");
    const struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    static const uint16_t expected[4][2] = {{0, ROUTING_DROPPED},
                                            {ROUTING_DROPPED, ROUTING_DROPPED},
                                            {ROUTING_DROPPED, ROUTING_DROPPED},
                                            {6, 7}};
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.dropped, 6);
    for (uint32_t l = 0; l < 4; l++) {
        uint16_t row[2];
        trace_row(&trace, 1, l, row);
        ck_assert_mem_eq(row, expected[l], sizeof row);
    }
    trace_release(&trace);
}
END_TEST

// 256 experts with a dropped choice do not fit bytes.
START_TEST(widens_for_drops)
{
    int32_t ids[58 * 8];
    struct error err = {0};
    for (int i = 0; i < 58 * 8; i++)
        ids[i] = i % 8 ? 255 - i % 8 : i == 0 ? -1 : 255;
    ck_assert(
        npy_write(scratch_path("x.npy"), NPY_I32, (const uint64_t[]){1, 58, 8}, 3, ids, &err));
    const char *const input = scratch_path("x.npy");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    uint16_t row[8];
    def.model = "deepseek-v3";
    import_good(&def, &report, &trace);
    ck_assert_int_eq(trace.ids.type, NPY_U16);
    ck_assert_uint_eq(trace.layer_ids[0], 3);
    trace_row(&trace, 0, 0, row);
    ck_assert_uint_eq(row[0], ROUTING_DROPPED);
    trace_row(&trace, 0, 1, row);
    ck_assert_uint_eq(row[0], 255);
    trace_release(&trace);
}
END_TEST

// --- counts ------------------------------------------------------------------------------------

// Loads of a step and rank (UINT32_MAX: of all ranks).
static void count(const struct trace *trace, uint32_t step, uint32_t rank, uint32_t layer,
                  uint64_t *loads)
{
    memset(loads, 0, EXPERTS * sizeof *loads);
    for (uint64_t t = 0; t < trace->tokens; t++) {
        uint16_t ids[TOPK];
        if (npy_int(&trace->steps, 2 * t) != step ||
            (rank != UINT32_MAX && npy_int(&trace->steps, 2 * t + 1) != rank))
            continue;
        trace_row(trace, t, layer, ids);
        for (uint32_t k = 0; k < TOPK; k++)
            loads[ids[k]]++;
    }
}

// What make.py counted: tokens `first` to `first + tokens - 1`.
static void check_loads(const uint64_t *loads, uint64_t first, uint64_t tokens, uint32_t layer)
{
    uint64_t expected[EXPERTS] = {0};
    for (uint64_t t = first; t < first + tokens; t++)
        for (uint32_t k = 0; k < TOPK; k++)
            expected[choice(t, layer, k)]++;
    ck_assert_mem_eq(loads, expected, sizeof expected);
}

static const struct {
    const char *name;
    uint32_t steps;
} counted[] = {{"counts.npy", 2},       {"logical-count.json", 1}, {"load-history.json", 2},
               {"layers-first.npy", 2}, {"counts-floats.json", 1}, {"counts.csv", 2},
               {"eplb-stats.jsonl", 2}, {"eplb-keys.jsonl", 2},    {"layer-counts.jsonl", 2}};

START_TEST(tokens_have_the_counts)
{
    char path[96];
    snprintf(path, sizeof path, DATA "%s", counted[_i].name);
    struct import_def def = def_of((const char *const[]){path}, 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    def.ranks = 3;
    import_good(&def, &report, &trace);
    ck_assert(report.synthesised);
    ck_assert_uint_eq(report.steps, counted[_i].steps);
    ck_assert_uint_eq(report.dropped, 0);
    ck_assert_uint_eq(trace.tokens, 6 * counted[_i].steps);
    ck_assert_ptr_nonnull(strstr(trace.source, "synthesised from counts, seed 1"));
    for (uint32_t step = 0; step < counted[_i].steps; step++)
        for (uint32_t l = 0; l < 4; l++) {
            count(&trace, step, UINT32_MAX, l, loads);
            check_loads(loads, step, 6, l + 1);
        }
    for (uint64_t t = 0; t < 6; t++)
        ck_assert_int_eq(npy_int(&trace.steps, 2 * t + 1), (int64_t)t / 2);
    trace_release(&trace);
}
END_TEST

// Of ranks' own tokens, by iteration and rank.
static const char *const rank_counts[][2] = {{DATA "trtllm"},
                                             {DATA "megatron-1.npz", DATA "megatron-0.npz"}};

START_TEST(counts_of_ranks)
{
    struct import_def def = def_of(rank_counts[_i], rank_counts[_i][1] ? 2 : 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    import_good(&def, &report, &trace);
    ck_assert(report.synthesised);
    ck_assert_uint_eq(report.steps, 2);
    ck_assert_uint_eq(trace.tokens, 14);
    for (uint32_t step = 0; step < 2; step++)
        for (uint32_t rank = 0; rank < 2; rank++)
            for (uint32_t l = 0; l < 4; l++) {
                count(&trace, step, rank, l, loads);
                check_loads(loads, 100 + step + rank, 3 + rank, l + 1);
            }
    trace_release(&trace);
}
END_TEST

// Layers of one step that were not counted alike: the fullest decides the tokens, and the others
// lack choices.
START_TEST(counts_that_lack_some)
{
    const char *text = "{\"load_history\": [{\"logical_expert_load\": [[2,2,2,2,0,0,0,0],"
                       "[4,4,0,0,0,0,0,0],[1,1,1,1,1,1,1,0],[0,0,0,0,0,0,1,0]]}]}";
    static const uint64_t expected[4][EXPERTS] = {
        {2, 2, 2, 2}, {4, 4}, {1, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 1}};
    scratch_write("x", text, strlen(text));
    const char *const input = scratch_path("x");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    def.ranks = 4;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(trace.tokens, 4);
    ck_assert_uint_eq(report.dropped, 1 + 7);
    for (uint32_t l = 0; l < 4; l++) {
        memset(loads, 0, sizeof loads);
        for (uint64_t t = 0; t < 4; t++) {
            uint16_t ids[TOPK];
            trace_row(&trace, t, l, ids);
            for (uint32_t k = 0; k < TOPK; k++)
                if (ids[k] != ROUTING_DROPPED)
                    loads[ids[k]]++;
        }
        ck_assert_mem_eq(loads, expected[l], sizeof loads);
    }
    trace_release(&trace);
}
END_TEST

// vLLM's statistics say how many ranks there are.
START_TEST(ranks_of_the_input)
{
    struct import_def def = def_of((const char *const[]){DATA "eplb-stats.jsonl"}, 1);
    struct import_report report;
    struct trace trace;
    import_good(&def, &report, &trace);
    ck_assert_int_eq(npy_int(&trace.steps, 2 * 5 + 1), 2);
    trace_release(&trace);
}
END_TEST

// --tokens draws by the odds: as many as asked, none of an expert that was never counted, another
// seed another draw and the same seed the same.
START_TEST(counts_are_drawn)
{
    struct import_def def = def_of((const char *const[]){DATA "counts.npy"}, 1);
    struct import_report report;
    struct trace traces[3];
    uint64_t loads[EXPERTS], counts[EXPERTS];
    def.ranks = 4;
    def.tokens = 500;
    for (int i = 0; i < 3; i++) {
        def.folder = scratch_path((const char *const[]){"a", "b", "c"}[i]);
        def.seed = i == 2 ? 2 : 1;
        import_good(&def, &report, &traces[i]);
    }
    ck_assert_uint_eq(traces[0].tokens, 4000);
    ck_assert_mem_eq(traces[0].ids.data, traces[1].ids.data, 4000 * 4 * TOPK);
    ck_assert_int_ne(memcmp(traces[0].ids.data, traces[2].ids.data, 4000 * 4 * TOPK), 0);
    count(&traces[0], 1, UINT32_MAX, 2, loads);
    memset(counts, 0, sizeof counts);
    for (uint64_t t = 1; t < 7; t++)
        for (uint32_t k = 0; k < TOPK; k++)
            counts[choice(t, 3, k)]++;
    for (uint32_t e = 0; e < EXPERTS; e++)
        ck_assert_double_eq_tol((double)loads[e], (double)counts[e] * 4000 / 12, 160);
    for (int i = 0; i < 3; i++)
        trace_release(&traces[i]);
}
END_TEST

// --- what others recorded, where it is at hand -------------------------------------------------

#define REAL "../shared/data/traces/"

static bool at_hand(const char *path)
{
    if (access(path, R_OK) == 0)
        return true;
    printf("skipped: no %s\n", path);
    return false;
}

// gpt-oss-20b's choices are taken over byte by byte.
START_TEST(real_choices)
{
    const char *const input = REAL "gpt-oss-20b/expert_ids_u8.npy";
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    struct npy recorded;
    struct error err = {0};
    if (!at_hand(input))
        return;
    def.model = "gpt-oss-20b";
    import_good(&def, &report, &trace);
    ck_assert(npy_open(&recorded, input, &err));
    ck_assert_uint_eq(trace.tokens, 48673);
    ck_assert_uint_eq(trace.layers, 24);
    ck_assert_mem_eq(trace.ids.data, recorded.data, npy_count(&recorded));
    npy_release(&recorded);
    trace_release(&trace);
}
END_TEST

// OLMoE's counts of 64 sequences, each a step, come out as counted in every step and layer.
START_TEST(real_counts)
{
    enum { STEPS = 64, OF_LAYERS = 16, OF_EXPERTS = 64, OF_TOPK = 8 };
    static const uint64_t shape[] = {STEPS, OF_LAYERS, OF_EXPERTS};
    static uint64_t loads[STEPS][OF_LAYERS][OF_EXPERTS];
    const char *const recorded = REAL "olmoe-experts4bit/counts_u16.npy";
    const char *const input = scratch_path("counts.npy");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct trace trace;
    struct npy counts;
    struct error err = {0};
    if (!at_hand(recorded))
        return;
    ck_assert(npy_open(&counts, recorded, &err));
    ck_assert(npy_write(input, NPY_U16, shape, 3, counts.data, &err));
    def.model = "olmoe";
    def.ranks = 8;
    import_good(&def, &report, &trace);
    ck_assert_uint_eq(report.steps, STEPS);
    ck_assert_uint_eq(report.dropped, 0);
    for (uint64_t t = 0; t < trace.tokens; t++)
        for (uint32_t l = 0; l < OF_LAYERS; l++) {
            uint16_t ids[OF_TOPK];
            trace_row(&trace, t, l, ids);
            for (uint32_t k = 0; k < OF_TOPK; k++)
                loads[npy_int(&trace.steps, 2 * t)][l][ids[k]]++;
        }
    for (uint64_t i = 0; i < STEPS * OF_LAYERS * OF_EXPERTS; i++)
        ck_assert_int_eq((int64_t)(&loads[0][0][0])[i], npy_int(&counts, i));
    npy_release(&counts);
    trace_release(&trace);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import");
    TCase *tests = tcase_create("import");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(files));
    tcase_add_test(tests, says_source_and_licence);
    tcase_add_test(tests, requests_follow);
    tcase_add_test(tests, positions_stand_side_by_side);
    tcase_add_test(tests, positions_of_a_split_request);
    tcase_add_loop_test(tests, trtllm_raw, 0, 2);
    tcase_add_test(tests, drops);
    tcase_add_test(tests, widens_for_drops);
    tcase_add_loop_test(tests, tokens_have_the_counts, 0, SUITE_COUNT(counted));
    tcase_add_loop_test(tests, counts_of_ranks, 0, SUITE_COUNT(rank_counts));
    tcase_add_test(tests, ranks_of_the_input);
    tcase_add_test(tests, counts_that_lack_some);
    tcase_add_test(tests, counts_are_drawn);
    tcase_add_test(tests, real_choices);
    tcase_add_test(tests, real_counts);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

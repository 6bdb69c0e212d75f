// traces/import: every format of tests/data/import (written by the libraries that engines use: see
// make.py there) gives the choices that make.py states, and what is broken is refused in one line.
#include "traces/import.h"

#include "base/mem.h"
#include "model/routing.h"
#include "tests/scratch.h"
#include "tests/suite.h"
#include "traces/trace.h"

#include <dirent.h>
#include <string.h>

#define DATA "tests/data/import/"
#define MODEL DATA "model.yaml"
#define EXPERTS 8
#define TOPK 2
#define DENSE 1
#define LAYERS 5

// make.py's choice().
static uint16_t choice(uint64_t token, uint32_t layer, uint32_t k)
{
    return (uint16_t)((token + 2 * layer + 3 * k) % EXPERTS);
}

static struct import_ask ask_of(const char *const *inputs, size_t count)
{
    return (struct import_ask){.inputs = inputs,
                               .input_count = count,
                               .folder = scratch_path("out"),
                               .model = MODEL,
                               .shape = "",
                               .source = "",
                               .licence = "",
                               .seed = 1};
}

static void import_good(const struct import_ask *ask, struct import_report *report,
                        struct trace *trace)
{
    struct error err = {0};
    ck_assert_msg(trace_import(ask, report, &err), "%s", err.text);
    ck_assert_msg(trace_open(trace, ask->folder, &err), "%s", err.text);
}

// Names in the scratch folder, hidden ones too: nothing half-written may be among them.
static size_t names(void)
{
    size_t count = 0;
    DIR *folder = opendir(scratch_folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return count;
}

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
    struct import_ask ask = ask_of((const char *const[]){path}, 1);
    struct import_report report;
    struct trace trace;
    ask.shape = files[_i].shape;
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of((const char *const[]){DATA "vllm-u1.npy"}, 1);
    struct import_report report;
    struct trace trace;
    ask.source = "a \"run\" of\nours: 1%";
    ask.licence = "CC0";
    import_good(&ask, &report, &trace);
    ck_assert_str_eq(trace.source, ask.source);
    ck_assert_str_eq(trace.licence, "CC0");
    trace_release(&trace);
}
END_TEST

// Two requests, of six tokens and of three (which make.py begins one later).
START_TEST(requests_follow)
{
    const char *const inputs[] = {DATA "vllm-u1.npy", DATA "second.npy"};
    const struct import_ask ask = ask_of(inputs, 2);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of(inputs, 2);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    ask.order = IMPORT_POSITIONS;
    ask.ranks = 2;
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of((const char *const[]){DATA "vllm-lists.json"}, 1);
    struct import_report report;
    struct trace trace;
    ask.order = IMPORT_POSITIONS;
    ask.ranks = 2;
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of(&inputs[_i], 1);
    struct import_report report;
    struct trace trace;
    uint16_t ids[TOPK];
    uint64_t t = 0;
    ask.model = "";
    import_good(&ask, &report, &trace);
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
    const struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct trace trace;
    static const uint16_t expected[4][2] = {{0, ROUTING_DROPPED},
                                            {ROUTING_DROPPED, ROUTING_DROPPED},
                                            {ROUTING_DROPPED, ROUTING_DROPPED},
                                            {6, 7}};
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct trace trace;
    uint16_t row[8];
    ask.model = "deepseek-v3";
    import_good(&ask, &report, &trace);
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
} counted[] = {{"counts.npy", 2}, {"logical-count.json", 1}, {"load-history.json", 2}};

START_TEST(counts_are_dealt_out)
{
    char path[96];
    snprintf(path, sizeof path, DATA "%s", counted[_i].name);
    struct import_ask ask = ask_of((const char *const[]){path}, 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    ask.ranks = 3;
    import_good(&ask, &report, &trace);
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

START_TEST(trtllm_counts)
{
    struct import_ask ask = ask_of((const char *const[]){DATA "trtllm"}, 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct trace trace;
    uint64_t loads[EXPERTS];
    ask.ranks = 4;
    import_good(&ask, &report, &trace);
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

// --tokens draws by the odds: as many as asked, none of an expert that was never counted, another
// seed another draw and the same seed the same.
START_TEST(counts_are_drawn)
{
    struct import_ask ask = ask_of((const char *const[]){DATA "counts.npy"}, 1);
    struct import_report report;
    struct trace traces[3];
    uint64_t loads[EXPERTS], counts[EXPERTS];
    ask.ranks = 4;
    ask.tokens = 500;
    for (int i = 0; i < 3; i++) {
        ask.folder = scratch_path((const char *const[]){"a", "b", "c"}[i]);
        ask.seed = i == 2 ? 2 : 1;
        import_good(&ask, &report, &traces[i]);
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

// --- refusals ----------------------------------------------------------------------------------

struct refusal {
    const char *inputs[2];
    const char *model, *shape;
    enum import_order order;
    uint32_t ranks, tokens;
    const char *message;
};

static void expect_refusal(const struct refusal *refusal, const char *const *inputs, size_t count)
{
    struct import_ask ask = ask_of(inputs, count);
    struct import_report report;
    struct error err = {0};
    const size_t before = names();
    ask.model = refusal->model ? refusal->model : MODEL;
    ask.shape = refusal->shape ? refusal->shape : "";
    ask.order = refusal->order;
    ask.ranks = refusal->ranks;
    ask.tokens = refusal->tokens;
    ck_assert_msg(!trace_import(&ask, &report, &err), "expected '%s'", refusal->message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, refusal->message), "'%s' lacks '%s'", err.text,
                  refusal->message);
    ck_assert_ptr_null(strchr(err.text, '\n'));
    ck_assert_uint_eq(names(), before);
}

// Of the files that are there, and of what is asked of them.
static const struct refusal bad_asks[] = {
    {.inputs = {DATA "none.npy"}, .message = "none.npy: No such file"},
    {.inputs = {DATA}, .message = "a folder without meta_info.json"},
    {.inputs = {"traces/minimoe-256e"}, .message = "a native trace already"},
    {.inputs = {"README.md"}, .message = "README.md: no known format"},
    {.inputs = {"tests/data/layout/trtllm-ep32.yaml"}, .message = "a layout"},
    {.inputs = {DATA "vllm-u1.npy"},
     .model = "",
     .message = "does not say how many experts there are"},
    {.inputs = {DATA "counts.npy"},
     .model = "",
     .ranks = 1,
     .message = "counts.npy: does not say how many experts there are"},
    {.inputs = {DATA "vllm-u1.npy"},
     .model = "deepseek-v3",
     .message = "topk 2; the model deepseek-v3 has 8"},
    {.inputs = {DATA "vllm-u1.npy"},
     .model = "mixtral-8x7b",
     .message = "5 layers; the model mixtral-8x7b has 32 MoE"},
    {.inputs = {DATA "trtllm"}, .model = "mixtral-8x7b-x", .message = "--model"},
    {.inputs = {DATA "trtllm"}, .model = "olmoe", .message = "experts 8; the model olmoe has 64"},
    {.inputs = {DATA "trtllm-raw"},
     .model = "olmoe",
     .message = "experts 8; the model olmoe has 64"},
    {.inputs = {DATA "sglang.b64"},
     .message = "sglang.b64:1: raw int32 ids have no shape: expected --shape"},
    {.inputs = {DATA "sglang.b64"},
     .shape = "4,2",
     .message = "sglang.b64:1: 240 bytes; expected --shape 4,2 of int32: a multiple of 32"},
    {.inputs = {DATA "sglang.i32"},
     .shape = "7,5,2",
     .message = "sglang.i32: 240 bytes; expected --shape 7,5,2 of int32: 280 bytes"},
    {.inputs = {DATA "sglang.i32"}, .shape = "5", .message = "--shape: '5': expected LAYERS,TOPK"},
    {.inputs = {DATA "sglang.i32"}, .shape = "5,2,", .message = "--shape: '5,2,'"},
    {.inputs = {DATA "sglang.i32"}, .shape = "6,5,2,1", .message = "--shape: '6,5,2,1'"},
    {.inputs = {DATA "sglang.i32"}, .shape = "-6,5", .message = "--shape: '-6,5'"},
    {.inputs = {DATA "sglang.i32"}, .shape = "0,5", .message = "expected 1 to 10,000 layers"},
    {.inputs = {DATA "sglang.i32"},
     .shape = "5,99999999999999999999",
     .message = "top-1 to top-64"},
    {.inputs = {DATA "vllm-u1.npy"}, .shape = "5,2", .message = "which says its own"},
    {.inputs = {DATA "vllm.b64"}, .shape = "5,2", .message = "which says its own"},
    {.inputs = {DATA "vllm-u1.npy"},
     .tokens = 4,
     .message = "--tokens: " DATA "vllm-u1.npy has choices"},
    {.inputs = {DATA "vllm-u1.npy"}, .order = IMPORT_POSITIONS, .message = "expected --ep"},
    {.inputs = {DATA "trtllm-raw"},
     .order = IMPORT_POSITIONS,
     .ranks = 2,
     .message =
         "--order: " DATA "trtllm-raw/rank0_raw.safetensors: iteration 100 has steps of its own"},
    {.inputs = {DATA "trtllm"},
     .order = IMPORT_POSITIONS,
     .ranks = 2,
     .message = "has counts, whose steps"},
    {.inputs = {DATA "counts.npy"}, .message = "expected --ep"},
    {.inputs = {DATA "vllm-u1.npy", DATA "stored.npz"},
     .message = "stored.npz: NumPy archive, but"},
    {.inputs = {DATA "vllm-u1.npy", DATA "moe-layers.npy"},
     .message = "moe-layers.npy: 4 layers of 2, but " DATA "vllm-u1.npy has 5 of 2"},
    {.inputs = {DATA "vllm-u1.npy", DATA "counts.npy"},
     .message = "counts.npy: [0]: counts of experts, but"},
    {.inputs = {DATA "trtllm", DATA "trtllm-raw"}, .message = "a second folder of statistics"},
};

START_TEST(refuses_asks)
{
    const struct refusal *refusal = &bad_asks[_i];
    expect_refusal(refusal, refusal->inputs, refusal->inputs[1] ? 2 : 1);
}
END_TEST

#define STEP0 "[{\"0\": null, \"1\": [[0, 1]], \"2\": [[2, 3]], \"3\": [[4, 5]], \"4\": [[6, 7]]}"
#define HISTORY(counts) "{\"load_history\": [{\"logical_expert_load\": [" counts "]}]}"
#define ONES "[2,2,2,2,0,0,0,0]"

// Texts that are broken one way each.
static const struct {
    const char *text;
    struct refusal refusal;
} bad_texts[] = {
    {"{", {.message = "x:1: column 1: string or '}' expected"}},
    {"[1, 2", {.message = "x:1: column 5: ']' expected"}},
    {"{\"a\": 1, \"a\": 2}", {.message = "duplicate object key"}},
    {"{\"a\": 1}", {.message = "x: no known format"}},
    {"[]", {.message = "x: no known format"}},
    {"{\"physical_to_logical_map\": [[0, 1]]}", {.message = "x: a layout"}},
    {"{\"load_history\": []}", {.ranks = 1, .message = "x: no routing in it"}},
    {"{\"load_history\": [{}]}",
     {.ranks = 1, .message = "x: load_history[0].logical_expert_load: missing"}},
    {HISTORY("1"),
     {.ranks = 1,
      .message = "logical_expert_load: expected lists of whole numbers, [layers][experts]"}},
    {HISTORY("[1.5]"),
     {.ranks = 1, .message = "logical_expert_load[0][0]: expected a whole number"}},
    {HISTORY(ONES "," ONES "," ONES ",[1]"),
     {.ranks = 1, .message = "logical_expert_load[3]: expected a list of 8, as the first"}},
    {HISTORY(ONES "," ONES "," ONES ","
                  "[-1,9,0,0,0,0,0,0]"),
     {.ranks = 1, .message = "layer 3, expert 0: -1: expected a count"}},
    {HISTORY(ONES "," ONES "," ONES ","
                  "[8,0,0,0,0,0,0,0]"),
     {.ranks = 1, .message = "layer 3, expert 0: 8: expected at most 4, one for each token"}},
    {HISTORY(ONES),
     {.ranks = 1, .message = "1 layers; the model tiny has 4 MoE layers and 5 in all"}},
    {HISTORY("[0,0,0,0,0,0,0,0]"), {.ranks = 1, .model = MODEL, .message = "1 layers"}},
    {HISTORY(ONES "," ONES "," ONES "," ONES "," ONES),
     {.ranks = 1, .message = "layer 0 has choices; the model tiny begins with 1 dense layers"}},
    {"{\"logical_count\": []}", {.ranks = 1, .message = "logical_count: expected lists"}},
    {"{\"logical_count\": [[[[1]]]]}", {.ranks = 1, .message = "logical_count: expected lists"}},
    {"{\"logical_count\": [[]]}",
     {.ranks = 1, .message = "logical_count: 1 layers of 0: expected"}},
    {"{\"choices\": []}", {.message = "x: no routing in it"}},
    {"{\"routed_experts\": 7}", {.message = "x: routed_experts: expected base64 or lists"}},
    {"{\"routed_experts\": \"AAA\"}",
     {.shape = "1,1", .message = "x: routed_experts: 2 bytes; expected --shape"}},
    {"{\"routed_experts\": \"A*AA\"}",
     {.shape = "1,1", .message = "x: routed_experts: character 1: expected base64"}},
    {"{\"choices\": [{}, {\"routed_experts\": [[[0, 1]], [[2]]]}]}",
     {.message = "x: choices[1]: routed_experts[1][0]: expected a list of 2, as the first"}},
    {"{\"routed_experts\": [[[0, 1], [2, 3], [4, 8], [6, 7]]]}",
     {.message =
          "token 0, layer 2: an id out of range: [4 8]; expected distinct ids below 8, or -1"}},
    {"{\"routed_experts\": [[[0, 1], [2, 3], [4, 5], [6, -2]]]}",
     {.message = "token 0, layer 3: an id out of range: [6 -2]"}},
    {"{\"routed_experts\": [[[0, 1], [2, 3], [4, 5], [9, 9]]]}",
     {.message = "token 0, layer 3: an id out of range: [9 9]"}},
    {"{\"routed_experts\": [[[0, 0], [1, 1], [2, 2], [3, 3]]]}",
     {.message = "no layer has any choices"}},
    {"{\"routed_experts\": [[[0, 9223372036854775807], [2, 3], [4, 5], [6, 7]]]}",
     {.message = "an id out of range: [0 9223372036854775807]"}},
    {STEP0 ", {\"1\": [[0, 1]], \"2\": [[2, 3]], \"3\": [[4, 5]]}]",
     {.message = "x: [1].4: expected as many tokens"}},
    {STEP0 ", {\"1\": [[0, 1]], \"2\": [[2, 3]], \"3\": [[4]], \"4\": [[6, 7]]}]",
     {.message = "x: [1].3: expected as many expert ids"}},
    {STEP0 ", {\"1\": [], \"2\": [], \"3\": [], \"4\": []}]",
     {.message = "x: [1].1: expected a list of tokens"}},
    {STEP0 ", 7]", {.message = "x: [1].1: expected a list of tokens"}},
    {"[{\"0\": null}]", {.message = "x: [0]: no layer has any choices"}},
    {"[{\"0\": null, \"a\": null}]", {.message = "x: [0]: 'a': expected a layer's number"}},
    {"[{\"1\": [[]]}]", {.message = "x: [0]: tokens of 0 ids"}},
    {"AAAA\nAAA*\n", {.shape = "1,1", .message = "x: 10 bytes"}}, // no base64: raw, then
    {"AAAAAAA=\nAAAAA\n", {.shape = "1,1", .message = "x:1: 5 bytes"}},
    {"AAAAAA==\nAAAAA\n",
     {.model = DATA "model.yaml",
      .shape = "1,1",
      .message = "x:2: character 5: expected base64, whole bytes of it"}},
};

START_TEST(refuses_texts)
{
    scratch_write("x", bad_texts[_i].text, strlen(bad_texts[_i].text));
    ck_assert_int_eq(chdir(scratch_folder), 0);
    char model[512];
    struct refusal refusal = bad_texts[_i].refusal;
    snprintf(model, sizeof model, "%s/" MODEL, getenv("PWD"));
    refusal.model = model;
    expect_refusal(&refusal, (const char *const[]){"x"}, 1);
}
END_TEST

// --- broken binary files -----------------------------------------------------------------------

struct bytes {
    unsigned char *data;
    size_t length;
};

static struct bytes load(const char *path)
{
    struct bytes bytes = {mem_alloc(1 << 16, 1), 0};
    FILE *in = fopen(path, "rb");
    ck_assert_ptr_nonnull(in);
    bytes.length = fread(bytes.data, 1, 1 << 16, in);
    fclose(in);
    return bytes;
}

// Prefixes of a file, and files with one bit turned, are refused in one line or read, and
// nothing is left behind.
static const char *const whole_files[] = {"vllm-u1.npy", "stored.npz",       "deflated.npz",
                                          "vllm.b64",    "per-request.json", "load-history.json"};

static void try_bytes(const unsigned char *data, size_t length)
{
    const char *const input = scratch_path("x");
    struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct error err = {0};
    unlink(input); // a new file: writing over one makes ext4 flush it
    scratch_write("x", data, length);
    ask.ranks = 1;
    if (trace_import(&ask, &report, &err)) {
        struct trace trace;
        ck_assert_msg(trace_open(&trace, ask.folder, &err), "%s", err.text);
        trace_release(&trace);
        scratch_clear();
        ck_assert_int_eq(mkdir(scratch_folder, 0755), 0);
    } else {
        ck_assert_int_eq(err.code, EXIT_INPUT);
        ck_assert_ptr_null(strchr(err.text, '\n'));
        ck_assert_uint_eq(names(), 1);
    }
}

START_TEST(broken_bytes)
{
    char path[96];
    snprintf(path, sizeof path, DATA "%s", whole_files[_i]);
    struct bytes bytes = load(path);
    for (size_t length = 1; length < bytes.length; length += 5)
        try_bytes(bytes.data, length);
    for (size_t i = 0; i < bytes.length; i += 3) {
        bytes.data[i] ^= (unsigned char)(1u << i % 8);
        try_bytes(bytes.data, bytes.length);
        bytes.data[i] ^= (unsigned char)(1u << i % 8);
    }
    free(bytes.data);
}
END_TEST

static const struct {
    const char *header; // of rank0.safetensors
    size_t data;
    const char *message;
} bad_tensors[] = {
    {"", 0, "rank0.safetensors: header: byte"},
    {"[]", 0, "header: byte 10: expected an object"},
    {"{\"a\": 1}", 0, "rank0.safetensors: a: expected {dtype, shape, data_offsets}"},
    {"{\"1_1\": {\"dtype\": \"BF16\"}}", 0, "1_1: dtype 'BF16'"},
    {"{\"1_1\": {\"dtype\": \"I64\"}}", 0, "1_1: shape: expected a list"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [-8]}}", 0, "1_1: shape: expected whole"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8]}}", 0,
     "1_1: data_offsets: expected [first, end]"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [8, 0]}}", 64,
     "expected [first, end]"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}}", 63,
     "inside the file's 63 of data"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 63]}}", 64,
     "expected the shape's bytes"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [4294967296, 4294967296], \"data_offsets\": [0, "
     "0]}}",
     64, "expected the shape's bytes"},
    {"{\"1_1\": {\"dtype\": \"F32\", \"shape\": [8], \"data_offsets\": [0, 32]}}", 64,
     "1_1: f32 of 1 dimensions; expected integers [8]"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [4, 2], \"data_offsets\": [0, 64]}}", 64,
     "1_1: i64 of 2 dimensions"},
    {"{\"weight\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}}", 64,
     "'weight': expected <iteration>_<layer>"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}, \"01_1\": "
     "{\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}}",
     64, "are one place"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}, \"2_2\": "
     "{\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}}",
     64, "iteration 2: other layers than"},
    {"{\"1_1\": {\"dtype\": \"I64\", \"shape\": [8], \"data_offsets\": [0, 64]}}", 64,
     "no layer has any choices"},
    {"{\"__metadata__\": {}}", 0, "no routing in it"},
};

#define META "{\"num_experts\": 8, \"num_experts_per_token\": 2}"

START_TEST(bad_safetensors)
{
    char bytes[1024] = {0};
    const size_t header = strlen(bad_tensors[_i].header);
    bytes[0] = (char)(header & 0xff);
    bytes[1] = (char)(header >> 8);
    memcpy(bytes + 8, bad_tensors[_i].header, header);
    scratch_write("meta_info.json", META, strlen(META));
    scratch_write("rank0.safetensors", bytes, 8 + header + bad_tensors[_i].data);
    const struct refusal refusal = {.message = bad_tensors[_i].message};
    expect_refusal(&refusal, (const char *const[]){scratch_folder}, 1);
}
END_TEST

static const struct {
    const char *meta, *files[2];
    const char *message;
} bad_folders[] = {
    {"{", {NULL}, "meta_info.json:1: string or '}' expected"},
    {"{\"num_experts\": 8}", {NULL}, "num_experts_per_token: expected a number from 1 to 64"},
    {"{\"num_experts\": 8.0, \"num_experts_per_token\": 2}", {NULL}, "num_experts: expected"},
    {"{\"num_experts\": 5000, \"num_experts_per_token\": 2}",
     {NULL},
     "num_experts: expected a number from 1 to 4096"},
    {"{\"num_experts\": 8, \"num_experts_per_token\": 2}", {NULL}, "no rank0.safetensors"},
    {"{\"num_experts\": 8, \"num_experts_per_token\": 2}",
     {"rank1.safetensors"},
     "rank0.safetensors: missing, of 1 ranks"},
    {"{\"num_experts\": 8, \"num_experts_per_token\": 2}",
     {"rank0.safetensors"},
     "rank0.safetensors: not a safetensors file"},
};

START_TEST(bad_folder)
{
    scratch_write("meta_info.json", bad_folders[_i].meta, strlen(bad_folders[_i].meta));
    for (size_t i = 0; i < 2 && bad_folders[_i].files[i]; i++)
        scratch_write(bad_folders[_i].files[i], "x", 1);
    const struct refusal refusal = {.message = bad_folders[_i].message};
    expect_refusal(&refusal, (const char *const[]){scratch_folder}, 1);
}
END_TEST

// A folder that is there already is not written over.
START_TEST(keeps_what_is_there)
{
    struct import_ask ask = ask_of((const char *const[]){DATA "vllm-u1.npy"}, 1);
    struct import_report report;
    struct error err = {0};
    ck_assert_int_eq(mkdir(scratch_path("out"), 0755), 0);
    scratch_write("out/mine", "x", 1);
    ck_assert(!trace_import(&ask, &report, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "not empty; expected a new folder"));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_uint_eq(names(), 1);
}
END_TEST

// --- what others recorded, where it is at hand
// ---------------------------------------------------

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
    struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct trace trace;
    struct npy recorded;
    struct error err = {0};
    if (!at_hand(input))
        return;
    ask.model = "gpt-oss-20b";
    import_good(&ask, &report, &trace);
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
    struct import_ask ask = ask_of(&input, 1);
    struct import_report report;
    struct trace trace;
    struct npy counts;
    struct error err = {0};
    if (!at_hand(recorded))
        return;
    ck_assert(npy_open(&counts, recorded, &err));
    ck_assert(npy_write(input, NPY_U16, shape, 3, counts.data, &err));
    ask.model = "olmoe";
    ask.ranks = 8;
    import_good(&ask, &report, &trace);
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
    tcase_add_loop_test(tests, counts_are_dealt_out, 0, SUITE_COUNT(counted));
    tcase_add_test(tests, trtllm_counts);
    tcase_add_test(tests, counts_that_lack_some);
    tcase_add_test(tests, counts_are_drawn);
    tcase_add_loop_test(tests, refuses_asks, 0, SUITE_COUNT(bad_asks));
    tcase_add_loop_test(tests, refuses_texts, 0, SUITE_COUNT(bad_texts));
    tcase_add_loop_test(tests, broken_bytes, 0, SUITE_COUNT(whole_files));
    tcase_add_loop_test(tests, bad_safetensors, 0, SUITE_COUNT(bad_tensors));
    tcase_add_loop_test(tests, bad_folder, 0, SUITE_COUNT(bad_folders));
    tcase_add_test(tests, keeps_what_is_there);
    tcase_add_test(tests, real_choices);
    tcase_add_test(tests, real_counts);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

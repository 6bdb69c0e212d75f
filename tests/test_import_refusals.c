// traces/import: what is broken, or cannot be what was asked, is refused in one line, and nothing
// half-written is left.
#include "base/mem.h"
#include "tests/import_inputs.h"
#include "tests/suite.h"

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
    struct import_def def = def_of(inputs, count);
    struct import_report report;
    struct error err = {0};
    const size_t before = names();
    def.model = refusal->model ? refusal->model : MODEL;
    def.shape = refusal->shape ? refusal->shape : "";
    def.order = refusal->order;
    def.ranks = refusal->ranks;
    def.tokens = refusal->tokens;
    ck_assert_msg(!trace_import(&def, &report, &err), "expected '%s'", refusal->message);
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

#define STATS(load, map)                                                                           \
    "{\"record_type\": \"eplb_load_meta\"}\n{\"record_type\": \"eplb_load_stats\", "               \
    "\"expert_load\": " load ", \"p2l_map\": " map "}\n"
#define LOAD(layer, counts) "{\"layer\": " layer ", \"expert_counts\": " counts "}\n"
#define ROUTE(token, ids) "{\"layer\": 1, \"token_idx\": " token ", \"topk_ids\": " ids "}\n"

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
     {.ranks = 1, .message = "layer 0 has choices; the model tiny has MoE layers 1..4"}},
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
    // JSON Lines
    {"{\"routed_experts\": [[[0, 1], [2, 3], [4, 5], [6, 7]]]}\n{\"a\n{}\n",
     {.message = "x:2: column 3: premature end of input"}},
    {"{\"routed_experts\": [[[0, 1], [2, 3], [4, 5], [6, 7]]]}\n{\"a\": 1}\n",
     {.message = "x:2: no routing in it, as in the first line"}},
    {STATS("[[1,2],[3]]", "[[0,1],[0,1]]"),
     {.ranks = 1, .message = "x:2: expert_load[1]: expected a list of 2, as the first"}},
    {STATS("[[1,2],[3,4]]", "[[0,1]]"),
     {.ranks = 1, .message = "x:2: p2l_map: [1][2]; expected [2][2], as expert_load"}},
    {STATS("[[1,2]]", "[[0,4096]]"),
     {.ranks = 1, .message = "x:2: p2l_map: expert 4096: expected"}},
    {STATS("[[1,2]]", "[[-1,-1]]"), {.ranks = 1, .message = "x:2: p2l_map: no experts in it"}},
    {"{\"record_type\": \"eplb_load_stats\"}\n",
     {.ranks = 1, .message = "x: expert_load: missing"}},
    {"{\"record_type\": \"eplb_load_stats\", \"expert_load\": [[1, 2]]}\n",
     {.ranks = 1,
      .message = "x: p2l_map: missing; expected the logical expert of each of 2 slots"}},
    {ROUTE("0", "[1, 2]") ROUTE("0", "[1, 3]"),
     {.message = "x:2: layer 1: token 0 stands twice: expected a step or a request"}},
    {ROUTE("0", "[1, 2]") ROUTE("1", "[1]"), {.message = "x:2: 1 ids: expected 2, as the first"}},
    {ROUTE("0", "[1, 2]") ROUTE("null", "[1, 3]"),
     {.message = "x:2: token_idx: missing, unlike in the first"}},
    {ROUTE("0", "[1, 2]") ROUTE("-1", "[1, 3]"),
     {.message = "x:2: token_idx: expected a whole number"}},
    {ROUTE("0", "[1, 2]") ROUTE("1", "[1, 9999]"), {.message = "x:2: layer 1: an id that is no"}},
    {ROUTE("0", "[1, 2]") ROUTE("1", "[1, 9]"), {.message = "an id out of range: [1 9]"}},
    {"{\"layer\": 0, \"topk_ids\": [1, 2]}\n{\"layer\": 2, \"topk_ids\": [1, 2]}\n",
     {.message = "layer 0 has choices; the model tiny has MoE layers 1..4"}},
    {"{\"layer\": 1, \"topk_ids\": [[1, 2], [3, 4]]}\n{\"layer\": 2, \"topk_ids\": [1, 2]}\n",
     {.message = "x:2: layer 2: another number of tokens than in other layers"}},
    {LOAD("1", "[3, 1.5]"), {.ranks = 1, .message = "x: expert 1: expected a whole number"}},
    {LOAD("1", "[3, -1]"), {.ranks = 1, .message = "x: expert 1: expected a whole number"}},
    {LOAD("1", "[3, 1]") LOAD("1", "[3, 1]"),
     {.ranks = 1, .message = "x:2: layer 1, expert 0 stands twice: expected a step"}},
    {LOAD("1", "[3, 1]") LOAD("-1", "[3, 1]"),
     {.ranks = 1, .message = "x:2: expected layer, step and rank as whole numbers"}},
    // CSV
    {"layer,expert,count\n1,0,3\n1,0,4\n",
     {.ranks = 1, .message = "x:3: layer 1, expert 0 stands twice: expected a step"}},
    {"layer,expert,count\n1,0,3\n1,1,-4\n",
     {.ranks = 1, .message = "x:3: count: '-4': expected a whole number"}},
    {"layer,expert,count\n1,0,2.5\n",
     {.ranks = 1, .message = "x:2: count: '2.5': expected a whole"}},
    {"layer,expert,count\n1,8,3\n", {.ranks = 1, .message = "experts 9; the model tiny has 8"}},
    {"layer,expert,count\n1,4096,3\n",
     {.ranks = 1, .message = "x:2: layer 1, expert 4096: expected"}},
    {"layer,expert,count\n1,0\n", {.ranks = 1, .message = "x:2: 2 cells; expected 3"}},
    {"layer,expert,count\n1,0,1\n", {.message = "expected --ep"}},
    {"layer,height,width\n1,0,1\n", {.message = "x:1: expected columns layer, expert and count"}},
    {"step,layer,id0,id1\n0,1,2,3\n", {.message = "steps of all ranks together: expected --ep"}},
    {"step,rank,layer,ids\n0,1024,1,2,3\n", {.message = "x:2: rank: '1024': expected a whole"}},
    // what another program has to unpack
    {"PAR1 and so on", {.message = "x: a Parquet file: convert it, such as by python3 -c"}},
    {"\x80\x04 and so on", {.message = "x: a pickle: convert it: python3 -c"}},
    {"\x1f\x8b\x08 and so on", {.message = "x: gzip: unpack it: gunzip FILE"}},
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

// An archive whose array is of another size than its header says is refused before it is unpacked.
START_TEST(refuses_other_sizes)
{
    const struct bytes bytes = load(DATA "deflated.npz");
    unsigned char *entry = NULL;
    for (size_t i = 0; i + 60 < bytes.length; i++)
        if (!memcmp(bytes.data + i, "PK\1\2", 4) && !memcmp(bytes.data + i + 46, "routed", 6))
            entry = bytes.data + i;
    ck_assert_ptr_nonnull(entry);
    entry[24 + 1]++; // the directory's uncompressed size, 256 more
    scratch_write("x", bytes.data, bytes.length);
    free(bytes.data);
    const char *const input = scratch_path("x");
    expect_refusal(&(struct refusal){.message = "routed_experts.npy: its header takes 188 bytes "
                                                "with its data, the archive says 444"},
                   &input, 1);
}
END_TEST

// Prefixes of a file, and files with one bit turned, are refused in one line or read, and
// nothing is left behind.
static const char *const whole_files[] = {"vllm-u1.npy", "stored.npz",       "deflated.npz",
                                          "vllm.b64",    "per-request.json", "load-history.json"};

static void try_bytes(const unsigned char *data, size_t length)
{
    const char *const input = scratch_path("x");
    struct import_def def = def_of(&input, 1);
    struct import_report report;
    struct error err = {0};
    unlink(input); // a new file: writing over one makes ext4 flush it
    scratch_write("x", data, length);
    def.ranks = 1;
    if (trace_import(&def, &report, &err)) {
        struct trace trace;
        ck_assert_msg(trace_open(&trace, def.folder, &err), "%s", err.text);
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
    struct import_def def = def_of((const char *const[]){DATA "vllm-u1.npy"}, 1);
    struct import_report report;
    struct error err = {0};
    ck_assert_int_eq(mkdir(scratch_path("out"), 0755), 0);
    scratch_write("out/mine", "x", 1);
    ck_assert(!trace_import(&def, &report, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "not empty; expected a new folder"));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_uint_eq(names(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_refusals");
    TCase *tests = tcase_create("import_refusals");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, refuses_asks, 0, SUITE_COUNT(bad_asks));
    tcase_add_test(tests, refuses_other_sizes);
    tcase_add_loop_test(tests, refuses_texts, 0, SUITE_COUNT(bad_texts));
    tcase_add_loop_test(tests, broken_bytes, 0, SUITE_COUNT(whole_files));
    tcase_add_loop_test(tests, bad_safetensors, 0, SUITE_COUNT(bad_tensors));
    tcase_add_loop_test(tests, bad_folder, 0, SUITE_COUNT(bad_folders));
    tcase_add_test(tests, keeps_what_is_there);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

// traces/trace and traces/stats: manifests and arrays, good and broken; steps as routing; and the
// bundled trace's known figures.
#include "base/mem.h"
#include "model/layout.h"
#include "tests/scratch.h"
#include "base/formats/npy.h"
#include "traces/stats.h"
#include "traces/trace.h"

#include <math.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

#define MANIFEST                                                                                   \
    "name: tiny\nhidden: 64\nexperts: 16\ntopk: 2\ngroups: 4\ntopk_groups: 2\nscore: sigmoid\n"    \
    "shared_experts: 1\nintermediate: 32\nlayer_ids: [3, 7]\nsource: here\nlicence: CC0\n"

#define TOKENS 6
#define LAYERS 2
#define TOPK 2
#define CHOICES (TOKENS * LAYERS * TOPK)

static const uint8_t tiny_ids[CHOICES] = {
    0,  1, 2,  3, // token 0: layer 3, layer 7
    1,  0, 4,  5, // token 1
    14, 1, 15, 7, // ...
    8,  9, 0,  1, //
    8,  2, 2,  0, //
    3,  4, 5,  255,
};

static void write_text(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

static void write_array(const char *name, enum npy_type type, const uint64_t *shape, size_t dims,
                        const void *data)
{
    struct error err;
    ck_assert_msg(npy_write(scratch_path(name), type, shape, dims, data, &err), "%s", err.text);
}

static const uint64_t ids_shape[] = {TOKENS, LAYERS, TOPK};

static void write_tiny(void)
{
    write_text("trace.yaml", MANIFEST);
    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, tiny_ids);
}

static void write_steps(const uint32_t *steps)
{
    write_array("steps.npy", NPY_U32, (uint64_t[]){TOKENS, 2}, 2, steps);
}

static void open_good(struct trace *trace)
{
    struct error err;
    ck_assert_msg(trace_open(trace, scratch_folder, &err), "%s", err.text);
}

static void expect_refusal(const char *message)
{
    struct trace trace;
    struct error err;
    ck_assert(!trace_open(&trace, scratch_folder, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
    ck_assert_msg(strncmp(err.text, scratch_folder, strlen(scratch_folder)) == 0,
                  "'%s' lacks the file", err.text);
    ck_assert_ptr_null(trace.path);
}

// --- opening
// --------------------------------------------------------------------------------------

START_TEST(opens)
{
    write_tiny();
    struct trace trace;
    open_good(&trace);
    ck_assert_str_eq(trace.moe.name, "tiny");
    ck_assert_uint_eq(trace.moe.hidden, 64);
    ck_assert_uint_eq(trace.moe.experts, 16);
    ck_assert_uint_eq(trace.moe.topk, 2);
    ck_assert_uint_eq(trace.moe.groups, 4);
    ck_assert_uint_eq(trace.moe.topk_groups, 2);
    ck_assert_uint_eq(trace.moe.shared_intermediate, 32);
    ck_assert_uint_eq(trace.moe.layers, 2);
    ck_assert_int_eq(trace.moe.score, SCORE_SIGMOID);
    ck_assert_uint_eq(trace.layers, 2);
    ck_assert_uint_eq(trace.layer_ids[1], 7);
    ck_assert_str_eq(trace.source, "here");
    ck_assert_str_eq(trace.licence, "CC0");
    ck_assert_uint_eq(trace.tokens, TOKENS);
    ck_assert_ptr_null(trace.weights.data);
    ck_assert_ptr_null(trace.steps.data);
    uint16_t ids[TOPK];
    trace_row(&trace, 2, 1, ids);
    ck_assert_uint_eq(ids[0], 15);
    ck_assert_uint_eq(ids[1], 7);
    trace_row(&trace, 5, 1, ids);
    ck_assert_uint_eq(ids[0], 5);
    ck_assert_uint_eq(ids[1], ROUTING_DROPPED);
    trace_release(&trace);
}
END_TEST

// A manifest may state no more than routing needs.
START_TEST(opens_min)
{
    write_tiny();
    write_text("trace.yaml", "experts: 16\ntopk: 2\nlayer_ids: [0, 1]\ngroups: 4\n");
    struct trace trace;
    open_good(&trace);
    ck_assert_uint_eq(trace.moe.hidden, 0);
    ck_assert_uint_eq(trace.moe.topk_groups, 4);
    ck_assert_str_eq(trace.source, "");
    ck_assert_str_eq(trace.licence, "");
    trace_release(&trace);
}
END_TEST

// u16 ids, and u8 ids where 255 is an expert.
START_TEST(opens_wide_ids)
{
    uint16_t wide[CHOICES];
    for (size_t i = 0; i < CHOICES; i++)
        wide[i] = tiny_ids[i] == 255 ? UINT16_MAX : (uint16_t)(tiny_ids[i] * 17);
    write_text("trace.yaml", "experts: 256\ntopk: 2\nlayer_ids: [0, 1]\n");
    write_array("expert_ids.npy", NPY_U16, ids_shape, 3, wide);
    struct trace trace;
    uint16_t ids[TOPK];
    open_good(&trace);
    trace_row(&trace, 2, 1, ids);
    ck_assert_uint_eq(ids[0], 255);
    trace_row(&trace, 5, 1, ids);
    ck_assert_uint_eq(ids[1], ROUTING_DROPPED);
    trace_release(&trace);

    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, tiny_ids);
    open_good(&trace);
    trace_row(&trace, 5, 1, ids);
    ck_assert_uint_eq(ids[1], 255);
    trace_release(&trace);
}
END_TEST

#define LONG "a_key_of_sixty_letters_a_key_of_sixty_letters_a_key_of_sixty"

static const struct {
    const char *text;
    const char *message;
} bad_manifests[] = {
    {"", "trace.yaml"},
    {"- 1\n- 2\n", "trace.yaml:1"},
    {"experts: [\n", "trace.yaml"},
    {"expert: 16\ntopk: 2\nlayer_ids: [0, 1]\n", "trace.yaml:1: expert: unknown key"},
    {"\"a\\nb\": 16\n", "trace.yaml:1: a\\nb: unknown key"},
    {LONG LONG LONG LONG LONG LONG ": 1\n", LONG "...: unknown key"},
    {"experts: 16\nlayer_id: [0, 1]\n", "did you mean 'layer_ids'?"},
    {"experts: 16\ntopk: 2\n", "layer_ids: missing"},
    {"experts: 16\ntopk: 2\nlayer_ids: 2\n", "trace.yaml:3: layer_ids: expected a list"},
    {"experts: 16\ntopk: 2\nlayer_ids: []\n", "layer_ids: expected a list"},
    {"experts: 16\ntopk: 2\nlayer_ids: [0, [1]]\n", "layer_ids: expected whole numbers"},
    {"experts: 16\ntopk: 2\nlayer_ids: [0, x]\n", "trace.yaml:3: layer_ids: 'x'"},
    {"experts: 16\ntopk: 2\nlayer_ids: [0, -1]\n", "trace.yaml:3: layer_ids: '-1'"},
    {"experts: 16\ntopk: 2\nlayer_ids: [1, 1]\n", "1 after 1; expected ascending"},
    {"topk: 2\nlayer_ids: [0, 1]\n", "experts"},
    {"experts: 16\nlayer_ids: [0, 1]\n", "topk"},
    {"experts: 1\ntopk: 2\nlayer_ids: [0, 1]\n", "topk"},
    {"experts: many\ntopk: 2\nlayer_ids: [0, 1]\n", "trace.yaml:1: experts: 'many'"},
    {"experts: 16\ntopk: 2\ngroups: 3\nlayer_ids: [0, 1]\n", "groups"},
    {"experts: 5000\ntopk: 2\nlayer_ids: [0, 1]\n", "experts"},
    {"experts: 16\ntopk: 2\nlayer_ids: [0, 1]\nsource: [1]\n", "trace.yaml:4: source: expected"},
    // These fit each other, but not the array.
    {"experts: 16\ntopk: 4\nlayer_ids: [0]\n", "trace.yaml states 1 layer_ids and topk 4"},
    {"experts: 16\ntopk: 2\nlayer_ids: [0]\n", "shape [6, 2, 2]; expected [6, 1, 2]"},
    {"experts: 15\ntopk: 2\nlayer_ids: [0, 1]\n", "token 2, layer 1: an id out of range: [15 7]"},
    {"experts: 255\ntopk: 2\nlayer_ids: [0, 1]\n", "token 5, layer 1: an id out of range: [5 255]"},
};

START_TEST(bad_manifest)
{
    write_tiny();
    write_text("trace.yaml", bad_manifests[_i].text);
    expect_refusal(bad_manifests[_i].message);
}
END_TEST

START_TEST(bad_folders)
{
    struct trace trace;
    struct error err;
    expect_refusal("trace.yaml");
    write_text("trace.yaml", MANIFEST);
    expect_refusal("expert_ids.npy: No such file");
    ck_assert(!trace_open(&trace, scratch_path("none"), &err));
    ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
    ck_assert(!trace_open(&trace, scratch_path("trace.yaml"), &err));
    ck_assert_ptr_nonnull(strstr(err.text, "not a folder"));
    ck_assert_int_eq(mkdir(scratch_path("expert_ids.npy"), 0700), 0);
    expect_refusal("expert_ids.npy: a directory");
}
END_TEST

START_TEST(bad_ids)
{
    uint8_t ids[CHOICES];
    write_tiny();
    memcpy(ids, tiny_ids, sizeof ids);
    ids[CHOICES - 4] = ids[CHOICES - 3] = 9;
    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, ids);
    expect_refusal("expert_ids.npy: token 5, layer 3: an expert twice: [9 9]");
    ids[CHOICES - 4] = 16;
    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, ids);
    expect_refusal("token 5, layer 3: an id out of range: [16 9]; expected distinct ids below 16");
    write_array("expert_ids.npy", NPY_I32, (uint64_t[]){1, 1, 2}, 3, ids);
    expect_refusal("expert_ids.npy: dtype i32; expected u8 or u16");
    write_array("expert_ids.npy", NPY_U8, (uint64_t[]){TOKENS, LAYERS * TOPK}, 2, ids);
    expect_refusal("shape [6, 4]; expected [6, 2, 2]");
    write_array("expert_ids.npy", NPY_U8, NULL, 0, ids);
    expect_refusal("shape []; expected [0, 2, 2]");
    write_array("expert_ids.npy", NPY_U8, (uint64_t[]){0, LAYERS, TOPK}, 3, ids);
    expect_refusal("no tokens");
    write_text("expert_ids.npy", "rubbish");
    expect_refusal("not a .npy file");
    // Dropped choices may repeat.
    memset(ids, 255, sizeof ids);
    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, ids);
    struct trace trace;
    open_good(&trace);
    trace_release(&trace);
}
END_TEST

START_TEST(weights)
{
    struct trace trace;
    float values[CHOICES];
    uint16_t halves[CHOICES];
    for (size_t i = 0; i < CHOICES; i++) {
        values[i] = 0.5f;
        halves[i] = 0x3800; // 0.5
    }
    write_tiny();
    values[3] = -0.0f;
    halves[3] = 0x8000;
    write_array("weights.npy", NPY_F32, ids_shape, 3, values);
    open_good(&trace);
    ck_assert(npy_real(&trace.weights, 4) == 0.5);
    trace_release(&trace);
    write_array("weights.npy", NPY_F16, ids_shape, 3, halves);
    open_good(&trace);
    ck_assert(npy_real(&trace.weights, 4) == 0.5);
    trace_release(&trace);

    write_array("weights.npy", NPY_F32, (uint64_t[]){TOKENS, LAYERS, 1}, 3, values);
    expect_refusal("weights.npy: shape [6, 2, 1]; expected [6, 2, 2]");
    write_array("weights.npy", NPY_F64, (uint64_t[]){1}, 1, values);
    expect_refusal("weights.npy: dtype f64; expected f16 or f32");
    write_text("weights.npy", "");
    expect_refusal("weights.npy: an empty file");
}
END_TEST

static const struct {
    float value;
    uint16_t half;
    const char *message;
} bad_weights[] = {
    {NAN, 0x7e00, "token 3, layer 7: weight nan"},
    {INFINITY, 0x7c00, "token 3, layer 7: weight inf"},
    {-INFINITY, 0xfc00, "token 3, layer 7: weight -inf"},
    {-0.5f, 0xb800, "token 3, layer 7: weight -0.5"},
};

START_TEST(bad_weight)
{
    float values[CHOICES] = {0};
    uint16_t halves[CHOICES] = {0};
    const size_t at = (3 * LAYERS + 1) * TOPK + 1;
    write_tiny();
    values[at] = bad_weights[_i].value;
    write_array("weights.npy", NPY_F32, ids_shape, 3, values);
    expect_refusal(bad_weights[_i].message);
    halves[at] = bad_weights[_i].half;
    write_array("weights.npy", NPY_F16, ids_shape, 3, halves);
    expect_refusal(bad_weights[_i].message);
}
END_TEST

static const struct {
    uint32_t steps[TOKENS];
    const char *message;
} bad_steps[] = {
    {{1, 1, 1, 1, 1, 1}, "token 0: step 1 after step -1"},
    {{0, 0, 1, 0, 1, 1}, "token 3: step 0 after step 1"},
    {{0, 0, 1, 3, 3, 3}, "token 3: step 3 after step 1"},
    {{0, 0, 0, 0, 0, UINT32_MAX}, "token 5: step 4294967295 after step 0"},
};

START_TEST(bad_step)
{
    uint32_t steps[TOKENS][2] = {{0}};
    for (size_t i = 0; i < TOKENS; i++)
        steps[i][0] = bad_steps[_i].steps[i];
    write_tiny();
    write_steps(steps[0]);
    expect_refusal(bad_steps[_i].message);
    write_array("steps.npy", NPY_U32, (uint64_t[]){TOKENS - 1, 2}, 2, steps);
    expect_refusal("steps.npy: shape [5, 2]; expected [6, 2]");
    write_array("steps.npy", NPY_I32, (uint64_t[]){TOKENS, 2}, 2, steps);
    expect_refusal("steps.npy: dtype i32; expected u32");
}
END_TEST

// --- steps as routing
// -----------------------------------------------------------------------------

static void expect_row(const struct routing *routing, uint32_t rank, uint32_t token, uint16_t a,
                       uint16_t b)
{
    uint16_t ids[TOPK];
    routing_row(routing, rank, token, ids);
    ck_assert_uint_eq(ids[0], a);
    ck_assert_uint_eq(ids[1], b);
}

static struct trace_view *view_good(const struct trace *trace, uint32_t layer, uint64_t step,
                                    uint32_t ranks, uint32_t tokens)
{
    struct trace_view *view;
    struct error err;
    ck_assert_msg(trace_view_new(trace, layer, step, ranks, tokens, &view, &err), "%s", err.text);
    return view;
}

START_TEST(views)
{
    struct trace trace;
    write_tiny();
    open_good(&trace);
    ck_assert_uint_eq(trace_steps(&trace, 3, 1), 2);
    struct trace_view *view = view_good(&trace, 1, 1, 3, 1);
    const struct routing routing = trace_routing(view);
    ck_assert_int_eq(routing.rule, ROUTING_TRACE);
    ck_assert_uint_eq(routing.experts, 16);
    ck_assert_uint_eq(routing.topk, 2);
    ck_assert_uint_eq(routing.ranks, 3);
    ck_assert_uint_eq(routing.layer, 7);
    for (uint32_t rank = 0; rank < 3; rank++)
        ck_assert_uint_eq(routing.tokens[rank], 1);
    expect_row(&routing, 0, 0, 0, 1);
    expect_row(&routing, 1, 0, 2, 0);
    expect_row(&routing, 2, 0, 5, ROUTING_DROPPED);
    trace_view_free(view);
    trace_release(&trace);
}
END_TEST

START_TEST(views_short)
{
    struct trace trace;
    write_tiny();
    open_good(&trace);
    notice_quiet(true);
    ck_assert_uint_eq(trace_steps(&trace, 2, 2), 1); // the last two tokens are dropped
    ck_assert_uint_eq(trace_steps(&trace, 4, 4), 1); // wraps around
    ck_assert_uint_eq(trace_step_count(&trace, 2, 2), 1);
    ck_assert_uint_eq(trace_step_count(&trace, 4, 4), 1);
    ck_assert_uint_eq(trace_steps(&trace, 4, 0), 0);
    struct trace_view *view = view_good(&trace, 0, 0, 4, 4);
    const struct routing routing = trace_routing(view);
    expect_row(&routing, 0, 0, 0, 1);
    expect_row(&routing, 1, 1, 3, 4); // token 5, the last
    expect_row(&routing, 1, 2, 0, 1);
    expect_row(&routing, 3, 3, 8, 9); // 15 mod 6
    trace_view_free(view);
    trace_release(&trace);
}
END_TEST

// Own steps: two of four and two tokens, on ranks out of order, one of them without any.
START_TEST(views_own_steps)
{
    static const uint32_t steps[TOKENS][2] = {{0, 2}, {0, 0}, {0, 2}, {0, 1}, {1, 2}, {1, 0}};
    struct trace trace;
    struct error err;
    write_tiny();
    write_steps(steps[0]);
    open_good(&trace);
    ck_assert_uint_eq(trace_steps(&trace, 4, 0), 2);
    ck_assert_uint_eq(trace_step_count(&trace, 4, 0), 2);
    struct trace_view *view = view_good(&trace, 0, 0, 4, 0);
    struct routing routing = trace_routing(view);
    ck_assert_uint_eq(routing.tokens[0], 1);
    ck_assert_uint_eq(routing.tokens[1], 1);
    ck_assert_uint_eq(routing.tokens[2], 2);
    ck_assert_uint_eq(routing.tokens[3], 0);
    expect_row(&routing, 0, 0, 1, 0);
    expect_row(&routing, 1, 0, 8, 9);
    expect_row(&routing, 2, 0, 0, 1);
    expect_row(&routing, 2, 1, 14, 1);
    trace_view_free(view);
    view = view_good(&trace, 0, 1, 4, 0);
    routing = trace_routing(view);
    ck_assert_uint_eq(routing.tokens[1], 0);
    expect_row(&routing, 0, 0, 3, 4);
    expect_row(&routing, 2, 0, 8, 2);
    trace_view_free(view);

    ck_assert(!trace_view_new(&trace, 0, 0, 2, 0, &view, &err));
    ck_assert_ptr_null(view);
    ck_assert_msg(strstr(err.text, "steps.npy: token 0: source rank 2; expected below 2"), "%s",
                  err.text);
    trace_release(&trace);
}
END_TEST

static const struct {
    uint32_t layer;
    uint64_t step;
    uint32_t ranks, tokens;
    const char *message;
} bad_views[] = {
    {2, 0, 2, 1, "layer 2: the trace has layers 0 to 1"},
    {0, 3, 2, 1, "step 3: the trace has steps 0 to 2"},
    {0, UINT64_MAX, 2, 1, "the trace has steps 0 to 2"},
    {0, 0, 0, 1, "at least one rank"},
    {0, 0, 2, 0, "one token a rank"},
};

START_TEST(bad_view)
{
    struct trace trace;
    struct trace_view *view;
    struct error err;
    write_tiny();
    open_good(&trace);
    ck_assert(!trace_view_new(&trace, bad_views[_i].layer, bad_views[_i].step, bad_views[_i].ranks,
                              bad_views[_i].tokens, &view, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, bad_views[_i].message), "%s", err.text);
    trace_release(&trace);
}
END_TEST

// --- statistics
// -----------------------------------------------------------------------------------

#define MAX_LAYERS 8

// The same layout of every layer; they share their arrays.
static void alike(struct layout *layouts, const struct layout *layout)
{
    for (int l = 0; l < MAX_LAYERS; l++)
        layouts[l] = *layout;
}

static void stats_of(const struct trace *trace, uint32_t ranks, uint32_t nodes,
                     struct trace_stats *stats)
{
    struct layout layout, layouts[MAX_LAYERS];
    struct error err;
    ck_assert_uint_le(trace->layers, MAX_LAYERS);
    ck_assert_msg(layout_contiguous(&layout, trace->moe.experts, ranks, &err), "%s", err.text);
    alike(layouts, &layout);
    ck_assert_msg(trace_stats_make(stats, trace, layouts, nodes, &err), "%s", err.text);
    layout_release(&layout);
}

static void expect_near(double found, double wanted, double within)
{
    ck_assert_msg(fabs(found - wanted) <= within, "%g; expected %g", found, wanted);
}

// By hand, layer index 1: loads 0:2 1:1 2:2 3:1 4:1 5:2 7:1 15:1, one choice dropped.
START_TEST(stats_by_hand)
{
    struct trace trace;
    struct trace_stats stats;
    write_tiny();
    open_good(&trace);
    stats_of(&trace, 4, 2, &stats);
    const struct trace_layer_stats *layer = &stats.layer[1];
    const double *figures = layer->figures;
    ck_assert_uint_eq(layer->layer_id, 7);
    ck_assert_uint_eq(layer->tokens, 6);
    ck_assert_uint_eq(layer->dropped, 1);
    ck_assert_uint_eq(layer->idle, 8);
    ck_assert_uint_eq(layer->hottest, 0);
    expect_near(figures[FIGURE_EXPERT_MAX_MEAN], 2 / (11.0 / 16), 1e-12);
    expect_near(figures[FIGURE_LOAD_P10], 0, 1e-12);
    expect_near(figures[FIGURE_LOAD_P50], 0.5 / (11.0 / 16), 1e-12);
    expect_near(figures[FIGURE_LOAD_P90], 2 / (11.0 / 16), 1e-12);
    expect_near(figures[FIGURE_SIGMA], log(2) * sqrt(3.0 / 8 * 5 / 8), 1e-12);
    expect_near(figures[FIGURE_TOP_SHARE], 4.0 / 11, 1e-12);
    // Sum over i of (2 i - 17) x_(i), i from 1: five ones at 9..13, three twos at 14..16.
    expect_near(figures[FIGURE_GINI], (1 + 3 + 5 + 7 + 9 + 2 * (11 + 13 + 15)) / (16.0 * 11),
                1e-12);
    // Ranks have experts 0-3, 4-7, 8-11, 12-15: loads 6, 4, 0, 1.
    expect_near(figures[FIGURE_RANK_MAX_MEAN], 6 / (11.0 / 4), 1e-12);
    expect_near(figures[FIGURE_NODE_MAX_MEAN], 10 / (11.0 / 2), 1e-12);
    expect_near(figures[FIGURE_RANKS_PER_TOKEN], 7.0 / 6, 1e-12);
    expect_near(figures[FIGURE_NODES_PER_TOKEN], 7.0 / 6, 1e-12);
    expect_near(figures[FIGURE_LAG1_COMMON], 1.0 / 5, 1e-12);
    ck_assert_uint_eq(stats.dropped, 1);
    ck_assert_uint_eq(stats.choices, CHOICES - 1);
    ck_assert_uint_eq(stats.tokens, TOKENS);
    expect_near(stats.layer[0].figures[FIGURE_LAG1_COMMON], 4.0 / 5, 1e-12);
    expect_near(stats.mean[FIGURE_LAG1_COMMON], 0.5, 1e-12);
    expect_near(stats.min[FIGURE_LAG1_COMMON], 0.2, 1e-12);
    expect_near(stats.max[FIGURE_LAG1_COMMON], 0.8, 1e-12);
    trace_stats_release(&stats);
    trace_release(&trace);
}
END_TEST

// A replicated expert's tokens take turns over its slots.
START_TEST(stats_replicas)
{
    uint32_t slots[18];
    for (uint32_t i = 0; i < 16; i++)
        slots[i] = i;
    slots[16] = 0;
    slots[17] = 1;
    struct trace trace;
    struct trace_stats stats;
    struct layout layout, layouts[MAX_LAYERS], other;
    struct error err;
    write_tiny();
    open_good(&trace);
    ck_assert_msg(layout_from_slots(&layout, slots, 18, 16, 2, &err), "%s", err.text);
    alike(layouts, &layout);
    ck_assert_msg(trace_stats_make(&stats, &trace, layouts, 2, &err), "%s", err.text);
    // Rank 0 has experts 0-8, rank 1 has 9-15 and second slots for 0 and 1. Layer 0 by token:
    // {0 1} on rank 0, {1 0} on rank 1, {14 1} and {8 9} on both, {8 2} and {3 4} on rank 0.
    expect_near(stats.layer[0].figures[FIGURE_RANKS_PER_TOKEN], 8.0 / 6, 1e-12);
    expect_near(stats.layer[0].figures[FIGURE_RANK_MAX_MEAN], 8.0 / 6, 1e-12);
    const double second = stats.layer[1].figures[FIGURE_RANKS_PER_TOKEN];
    trace_stats_release(&stats);

    // A layer is judged by its own layout.
    ck_assert(layout_round_robin(&other, 16, 2, &err));
    layouts[0] = other;
    ck_assert_msg(trace_stats_make(&stats, &trace, layouts, 2, &err), "%s", err.text);
    expect_near(stats.layer[0].figures[FIGURE_RANKS_PER_TOKEN], 11.0 / 6, 1e-12);
    expect_near(stats.layer[0].figures[FIGURE_RANK_MAX_MEAN], 7.0 / 6, 1e-12);
    expect_near(stats.layer[1].figures[FIGURE_RANKS_PER_TOKEN], second, 1e-12);
    trace_stats_release(&stats);
    layout_release(&other);

    alike(layouts, &layout);
    ck_assert(!trace_stats_make(&stats, &trace, layouts, 3, &err));
    ck_assert_msg(strstr(err.text, "2 ranks do not divide into 3 nodes"), "%s", err.text);
    ck_assert(!trace_stats_make(&stats, &trace, layouts, 0, &err));
    layout_release(&layout);
    ck_assert(layout_contiguous(&layout, 8, 2, &err));
    alike(layouts, &layout);
    ck_assert(!trace_stats_make(&stats, &trace, layouts, 1, &err));
    ck_assert_msg(strstr(err.text, "16 experts, the layout 8"), "%s", err.text);
    layout_release(&layout);
    trace_release(&trace);
}
END_TEST

// Nothing chosen at all: no figure pretends otherwise.
START_TEST(stats_nothing)
{
    uint8_t ids[CHOICES];
    memset(ids, 255, sizeof ids);
    write_tiny();
    write_array("expert_ids.npy", NPY_U8, ids_shape, 3, ids);
    struct trace trace;
    struct trace_stats stats;
    open_good(&trace);
    stats_of(&trace, 4, 2, &stats);
    ck_assert_uint_eq(stats.choices, 0);
    ck_assert_uint_eq(stats.layer[0].idle, 16);
    for (size_t f = 0; f < TRACE_FIGURES; f++) {
        const bool counts = f >= FIGURE_RANKS_PER_TOKEN;
        ck_assert_msg(counts ? stats.mean[f] <= 0 : isnan(stats.mean[f]) != 0, "%s",
                      trace_figure_names[f]);
    }
    trace_stats_release(&stats);
    trace_release(&trace);
}
END_TEST

static const struct {
    uint32_t hottest;
    double expert, rank, node, ranks_per_token, nodes_per_token, gini, sigma, share, lag1, p50;
} bundled[] = {
    {44, 6.0, 2.27, 1.265, 6.62, 2.97, 0.378, 1.044, 0.351, 1.335, 0.870},
    {211, 18.0, 2.49, 1.212, 7.04, 3.10, 0.618, 1.696, 0.525, 3.109, 0.596},
    {206, 3.4, 1.28, 1.026, 6.88, 3.13, 0.282, 0.619, 0.255, 3.062, 0.928},
    {208, 2.1, 1.18, 1.051, 6.76, 3.11, 0.130, 0.250, 0.182, 2.882, 0.984},
    {156, 1.9, 1.22, 1.070, 6.83, 3.11, 0.110, 0.207, 0.172, 2.090, 0.980},
    {198, 2.4, 1.20, 1.054, 6.79, 3.12, 0.124, 0.226, 0.180, 1.919, 0.979},
};

START_TEST(stats_bundled)
{
    struct trace trace;
    struct trace_stats stats;
    struct error err;
    ck_assert_msg(trace_open(&trace, "traces/minimoe-256e", &err), "%s", err.text);
    ck_assert_uint_eq(trace.tokens, 24576);
    ck_assert_uint_eq(trace.layers, COUNT(bundled));
    stats_of(&trace, 32, 4, &stats);
    for (uint32_t l = 0; l < trace.layers; l++) {
        const double *figures = stats.layer[l].figures;
        ck_assert_uint_eq(stats.layer[l].hottest, bundled[l].hottest);
        expect_near(figures[FIGURE_EXPERT_MAX_MEAN], bundled[l].expert, 0.05);
        expect_near(figures[FIGURE_RANK_MAX_MEAN], bundled[l].rank, 0.005);
        expect_near(figures[FIGURE_NODE_MAX_MEAN], bundled[l].node, 0.0005);
        expect_near(figures[FIGURE_RANKS_PER_TOKEN], bundled[l].ranks_per_token, 0.005);
        expect_near(figures[FIGURE_NODES_PER_TOKEN], bundled[l].nodes_per_token, 0.005);
        expect_near(figures[FIGURE_GINI], bundled[l].gini, 0.0005);
        expect_near(figures[FIGURE_SIGMA], bundled[l].sigma, 0.0005);
        expect_near(figures[FIGURE_TOP_SHARE], bundled[l].share, 0.0005);
        expect_near(figures[FIGURE_LAG1_COMMON], bundled[l].lag1, 0.0006);
        expect_near(figures[FIGURE_LOAD_P50], bundled[l].p50, 0.0005);
    }
    // The router's weights are normalised, then scaled by 2.5.
    for (uint64_t row = 0; row < 1000; row++) {
        double sum = 0;
        for (uint64_t k = 0; k < trace.moe.topk; k++)
            sum += npy_real(&trace.weights, row * trace.moe.topk + k);
        expect_near(sum, 2.5, 0.003);
    }
    trace_stats_release(&stats);
    trace_release(&trace);
}
END_TEST

// A view's weights are those that stand beside the choices of the same token.
START_TEST(view_weights)
{
    struct trace trace;
    struct error err;
    struct trace_view *view;
    float recorded[8];
    ck_assert_msg(trace_open(&trace, "traces/minimoe-256e", &err), "%s", err.text);
    ck_assert_msg(trace_view_new(&trace, 3, 1, 4, 100, &view, &err), "%s", err.text);
    trace_view_weights(view, 2, 7, recorded);
    const uint64_t token = 4 * 100 + 2 * 100 + 7; // step 1, rank 2
    for (uint64_t k = 0; k < 8; k++)
        ck_assert_double_eq((double)recorded[k],
                            npy_real(&trace.weights, (token * trace.layers + 3) * 8 + k));
    trace_view_free(view);
    trace_release(&trace);
}
END_TEST

static TCase *opening_case(void)
{
    TCase *cases = tcase_create("opening");
    tcase_add_checked_fixture(cases, scratch_make, scratch_clear);
    tcase_add_test(cases, opens);
    tcase_add_test(cases, opens_min);
    tcase_add_test(cases, opens_wide_ids);
    tcase_add_loop_test(cases, bad_manifest, 0, COUNT(bad_manifests));
    tcase_add_test(cases, bad_folders);
    tcase_add_test(cases, bad_ids);
    tcase_add_test(cases, weights);
    tcase_add_test(cases, view_weights);
    tcase_add_loop_test(cases, bad_weight, 0, COUNT(bad_weights));
    tcase_add_loop_test(cases, bad_step, 0, COUNT(bad_steps));
    return cases;
}

static TCase *use_case(void)
{
    TCase *cases = tcase_create("views and statistics");
    tcase_add_checked_fixture(cases, scratch_make, scratch_clear);
    tcase_add_test(cases, views);
    tcase_add_test(cases, views_short);
    tcase_add_test(cases, views_own_steps);
    tcase_add_loop_test(cases, bad_view, 0, COUNT(bad_views));
    tcase_add_test(cases, stats_by_hand);
    tcase_add_test(cases, stats_replicas);
    tcase_add_test(cases, stats_nothing);
    tcase_add_test(cases, stats_bundled);
    return cases;
}

int main(void)
{
    Suite *suite = suite_create("trace");
    suite_add_tcase(suite, opening_case());
    suite_add_tcase(suite, use_case());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

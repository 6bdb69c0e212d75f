// traces/export and traces/lags: parts of traces are what they were, and the lag curve is what a
// plain count over all pairs gives.
#include "traces/export.h"

#include "tests/scratch.h"
#include "tests/suite.h"
#include "traces/stats.h"
#include "base/formats/npy.h"

#include <math.h>
#include <string.h>

#define BUNDLED "traces/minimoe-256e"
#define TOKENS 24
#define LAYERS 3
#define TOPK 2

static void open_good(struct trace *trace, const char *folder)
{
    struct error err = {0};
    ck_assert_msg(trace_open(trace, folder, &err), "%s", err.text);
}

// Tokens of 16 experts, half a dozen steps of 4 tokens on 2 ranks.
static void write_tiny(bool steps, bool weights)
{
    static const uint64_t shape[] = {TOKENS, LAYERS, TOPK};
    const char *manifest = "name: tiny\nexperts: 16\ntopk: 2\ngroups: 4\ntopk_groups: 2\n"
                           "layer_ids: [3, 5, 9]\nsource: \"here: 'x'\"\nlicence: CC0\n";
    uint8_t ids[TOKENS * LAYERS * TOPK];
    float values[TOKENS * LAYERS * TOPK];
    uint32_t places[TOKENS * 2];
    struct error err = {0};
    for (uint32_t i = 0; i < TOKENS * LAYERS * TOPK; i++) {
        ids[i] = (uint8_t)(i % 2 ? (i * 7 + 1) % 8 + 8 : (i * 5) % 8);
        values[i] = (float)i / 8;
    }
    ids[4] = 255;
    for (uint32_t t = 0; t < TOKENS; t++) {
        places[2 * t] = t / 4;
        places[2 * t + 1] = t % 4 / 2;
    }
    scratch_write("trace.yaml", manifest, strlen(manifest));
    ck_assert(npy_write(scratch_path("expert_ids.npy"), NPY_U8, shape, 3, ids, &err));
    if (weights)
        ck_assert(npy_write(scratch_path("weights.npy"), NPY_F32, shape, 3, values, &err));
    if (steps)
        ck_assert(npy_write(scratch_path("steps.npy"), NPY_U32, (const uint64_t[]){TOKENS, 2}, 2,
                            places, &err));
}

struct part {
    bool steps, weights;
    uint32_t layers[3];
    size_t layer_count;
    uint32_t picked[6]; // steps
    size_t step_count;
    uint32_t ranks, tokens;
    uint64_t first, end;
    uint64_t expected[TOKENS]; // tokens of the trace that are left
    uint64_t count;
    uint64_t steps_left;
};

static const struct part parts[] = {
    {.end = 0, .expected = {0, 1, 2}, .count = TOKENS},
    {.weights = true, .layers = {0, 2}, .layer_count = 2, .count = TOKENS},
    {.weights = true,
     .layers = {1},
     .layer_count = 1,
     .first = 5,
     .end = 8,
     .expected = {5, 6, 7},
     .count = 3},
    {.picked = {1, 3},
     .step_count = 2,
     .ranks = 2,
     .tokens = 2,
     .expected = {4, 5, 6, 7, 12, 13, 14, 15},
     .count = 8},
    {.steps = true,
     .weights = true,
     .picked = {0, 5},
     .step_count = 2,
     .expected = {0, 1, 2, 3, 20, 21, 22, 23},
     .count = 8,
     .steps_left = 2},
    {.steps = true,
     .first = 6,
     .end = 17,
     .expected = {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
     .count = 11,
     .steps_left = 4},
    {.steps = true,
     .picked = {1, 2, 4},
     .step_count = 3,
     .first = 6,
     .end = 24,
     .layers = {2},
     .layer_count = 1,
     .expected = {6, 7, 8, 9, 10, 11, 16, 17, 18, 19},
     .count = 10,
     .steps_left = 3},
};

static void check_token(const struct part *part, const struct trace *whole,
                        const struct trace *left, uint64_t token)
{
    const uint64_t was = part->count == TOKENS ? token : part->expected[token];
    uint16_t before[TOPK], after[TOPK];
    for (uint32_t l = 0; l < left->layers; l++) {
        const uint32_t layer = part->layer_count ? part->layers[l] : l;
        trace_row(whole, was, layer, before);
        trace_row(left, token, l, after);
        ck_assert_mem_eq(before, after, sizeof before);
        for (uint32_t k = 0; part->weights && k < TOPK; k++)
            ck_assert(npy_real(&left->weights, (token * left->layers + l) * TOPK + k) ==
                      npy_real(&whole->weights, (was * LAYERS + layer) * TOPK + k));
    }
    if (part->steps)
        ck_assert_int_eq(npy_int(&left->steps, 2 * token + 1), npy_int(&whole->steps, 2 * was + 1));
}

START_TEST(exports_part)
{
    const struct part *part = &parts[_i];
    struct trace whole, left;
    struct export_report report;
    struct error err = {0};
    write_tiny(part->steps, part->weights);
    open_good(&whole, scratch_folder);
    const struct export_def def = {.folder = scratch_path("part"),
                                   .layers = part->layer_count ? part->layers : NULL,
                                   .layer_count = part->layer_count,
                                   .steps = part->step_count ? part->picked : NULL,
                                   .step_count = part->step_count,
                                   .ranks = part->ranks,
                                   .tokens = part->tokens,
                                   .first = part->first,
                                   .end = part->end};
    ck_assert_msg(trace_export(&whole, &def, &report, &err), "%s", err.text);
    open_good(&left, def.folder);
    ck_assert_uint_eq(report.tokens, part->count);
    ck_assert_uint_eq(left.tokens, part->count);
    ck_assert_uint_eq(report.steps, part->count == TOKENS && part->steps ? 6 : part->steps_left);
    ck_assert_int_eq(left.weights.data != NULL, part->weights);
    ck_assert_int_eq(left.steps.data != NULL, part->steps);
    ck_assert_str_eq(left.source, whole.source);
    ck_assert_str_eq(left.licence, "CC0");
    ck_assert_uint_eq(left.moe.topk_groups, 2);
    for (uint32_t l = 0; l < left.layers; l++)
        ck_assert_uint_eq(left.layer_ids[l],
                          whole.layer_ids[part->layer_count ? part->layers[l] : l]);
    for (uint64_t t = 0; t < left.tokens; t++)
        check_token(part, &whole, &left, t);
    trace_release(&left);
    trace_release(&whole);
}
END_TEST

static const struct {
    struct part part;
    const char *message;
} bad_parts[] = {
    {{.layers = {1, 3}, .layer_count = 2}, "--layer: 3: expected 0 to 2"},
    {{.picked = {1}, .step_count = 1}, "--step: "},
    {{.picked = {6}, .step_count = 1, .ranks = 2, .tokens = 2}, "--step: 6: expected 0 to 5"},
    {{.steps = true, .picked = {6}, .step_count = 1}, "--step: 6: expected 0 to 5"},
    {{.first = 24, .end = 25}, "--rows: 24..24: expected tokens from 0 to 23"},
    {{.first = 3, .end = 25}, "--rows: 3..24: expected tokens from 0 to 23"},
    {{.steps = true, .picked = {0}, .step_count = 1, .first = 4, .end = 8}, "no token is in both"},
};

START_TEST(refuses_part)
{
    const struct part *part = &bad_parts[_i].part;
    struct trace whole;
    struct export_report report;
    struct error err = {0};
    write_tiny(part->steps, part->weights);
    open_good(&whole, scratch_folder);
    const struct export_def def = {.folder = scratch_path("part"),
                                   .layers = part->layer_count ? part->layers : NULL,
                                   .layer_count = part->layer_count,
                                   .steps = part->step_count ? part->picked : NULL,
                                   .step_count = part->step_count,
                                   .ranks = part->ranks,
                                   .tokens = part->tokens,
                                   .first = part->first,
                                   .end = part->end};
    ck_assert(!trace_export(&whole, &def, &report, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, bad_parts[_i].message), "%s", err.text);
    ck_assert_int_ne(access(def.folder, F_OK), 0);
    trace_release(&whole);
}
END_TEST

// The bundled trace whole: the very arrays, in f16 weights too.
START_TEST(exports_bundled)
{
    struct trace whole, copy;
    struct export_report report;
    struct error err = {0};
    open_good(&whole, BUNDLED);
    const struct export_def def = {.folder = scratch_path("copy")};
    ck_assert_msg(trace_export(&whole, &def, &report, &err), "%s", err.text);
    open_good(&copy, def.folder);
    ck_assert_int_eq(copy.ids.type, whole.ids.type);
    ck_assert_mem_eq(copy.ids.data, whole.ids.data, npy_count(&whole.ids));
    ck_assert_mem_eq(copy.weights.data, whole.weights.data, 2 * npy_count(&whole.weights));
    ck_assert(memcmp(&copy.moe, &whole.moe, sizeof copy.moe) == 0);
    trace_release(&copy);
    trace_release(&whole);
}
END_TEST

// --- lags
// ----------------------------------------------------------------------------------------

static double common_by_hand(const struct trace *trace, uint32_t layer, uint32_t lag)
{
    uint64_t common = 0;
    for (uint64_t t = lag; t < trace->tokens; t++) {
        uint16_t a[MOE_MAX_TOPK], b[MOE_MAX_TOPK];
        trace_row(trace, t, layer, a);
        trace_row(trace, t - lag, layer, b);
        for (uint32_t k = 0; k < trace->moe.topk; k++)
            for (uint32_t j = 0; j < trace->moe.topk; j++)
                common += a[k] == b[j] && a[k] != ROUTING_DROPPED;
    }
    return trace->tokens > lag ? (double)common / (double)(trace->tokens - lag) : (double)NAN;
}

START_TEST(lag_curves)
{
    struct trace trace;
    if (_i == 0)
        write_tiny(false, false);
    open_good(&trace, _i == 0 ? scratch_folder : BUNDLED);
    struct trace_lag_curve *curves = trace_lag_curves(&trace);
    for (uint32_t l = 0; l < trace.layers; l++) {
        ck_assert_uint_eq(curves[l].layer_id, trace.layer_ids[l]);
        for (int i = 0; i < TRACE_LAGS; i++) {
            const double expected = common_by_hand(&trace, l, trace_lags[i]);
            if (isnan(expected))
                ck_assert(isnan(curves[l].common[i]));
            else
                ck_assert_double_eq_tol(curves[l].common[i], expected, 1e-12);
        }
        // Real text: neighbours are more alike than by chance, and than those far apart.
        if (_i == 1) {
            ck_assert_double_gt(curves[l].common[0], curves[l].common[3]);
            ck_assert_double_gt(curves[l].common[0], curves[l].independent);
        }
    }
    free(curves);
    trace_release(&trace);
}
END_TEST

// --- no copies
// -----------------------------------------------------------------------------------

// Memory of the process's own, in KiB: mapped files are not in it.
static long own_memory(void)
{
    char line[128];
    long kib = -1;
    FILE *in = fopen("/proc/self/status", "r");
    while (in && kib < 0 && fgets(line, sizeof line, in))
        if (!strncmp(line, "RssAnon:", 8))
            kib = atol(line + 8);
    if (in)
        fclose(in);
    return kib;
}

#define MAPPED_BYTES (64 << 20)

// 64 MiB of expert 0, top-1, as a sparse file, are read whole for the checks and never copied.
START_TEST(maps_and_never_copies)
{
    const char *manifest = "experts: 4\ntopk: 1\nlayer_ids: [0]\n";
    char header[128] = "\x93NUMPY\x01";
    struct error err = {0};
    struct trace trace;
    struct trace_view *view;
    header[8] = sizeof header - 10;
    snprintf(header + 10, sizeof header - 10,
             "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 1, 1)}", MAPPED_BYTES);
    memset(header + strlen(header + 10) + 10, ' ', sizeof header - 10 - strlen(header + 10));
    scratch_write("expert_ids.npy", header, sizeof header);
    ck_assert_int_eq(truncate(scratch_path("expert_ids.npy"), MAPPED_BYTES + (int)sizeof header),
                     0);
    scratch_write("trace.yaml", manifest, strlen(manifest));
    const long before = own_memory();
    open_good(&trace, scratch_folder);
    ck_assert_uint_eq(trace.tokens, MAPPED_BYTES);
    ck_assert(trace_view_new(&trace, 0, 3, 32, 4096, &view, &err));
    ck_assert_int_lt(own_memory() - before, 8 << 10);
    trace_view_free(view);
    trace_release(&trace);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("export");
    TCase *tests = tcase_create("export");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, exports_part, 0, SUITE_COUNT(parts));
    tcase_add_loop_test(tests, refuses_part, 0, SUITE_COUNT(bad_parts));
    tcase_add_test(tests, exports_bundled);
    tcase_add_loop_test(tests, lag_curves, 0, 2);
    tcase_add_test(tests, maps_and_never_copies);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

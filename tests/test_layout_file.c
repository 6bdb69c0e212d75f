// Layout files of both formats: what is written is read back, whichever way it goes; parts of
// traces and layers that decide which layout of a file is used.
#include "base/mem.h"
#include "base/rng.h"
#include "model/layout_file.h"
#include "tests/fixture.h"
#include "tests/scratch.h"
#include "tests/suite.h"
#include "base/formats/npy.h"
#include "traces/trace.h"

#include <stdint.h>

static struct layouts random_layouts(uint64_t seed)
{
    struct rng rng = rng_stream(seed, 5, 0, 0);
    const uint32_t experts = 1 + rng_below(&rng, 20), ranks = 1 + rng_below(&rng, 8);
    const uint32_t slots = (experts > ranks ? experts : ranks) + rng_below(&rng, 9);
    struct layouts layouts = {.count = 1 + rng_below(&rng, 4)};
    struct error err;
    layouts.layer_ids = mem_alloc(layouts.count, sizeof *layouts.layer_ids);
    layouts.of = mem_alloc(layouts.count, sizeof *layouts.of);
    uint32_t *slot_expert = mem_alloc(slots, sizeof *slot_expert), id = rng_below(&rng, 4);
    for (uint32_t l = 0; l < layouts.count; l++, id += 1 + rng_below(&rng, 3)) {
        for (uint32_t slot = 0; slot < slots; slot++)
            slot_expert[slot] = slot < experts ? slot : rng_below(&rng, experts);
        for (uint32_t i = slots; i > 1; i--) {
            const uint32_t other = rng_below(&rng, i), kept = slot_expert[i - 1];
            slot_expert[i - 1] = slot_expert[other];
            slot_expert[other] = kept;
        }
        layouts.layer_ids[l] = id;
        ck_assert_msg(layout_from_slots(&layouts.of[l], slot_expert, slots, experts, ranks, &err),
                      "%s", err.text);
    }
    free(slot_expert);
    return layouts;
}

static struct fixture written(const struct layouts *layouts, enum layout_format format)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    layouts_write(layouts, format, "# a comment\n", out);
    fclose(out);
    const struct fixture fixture = fixture_make(text, format == LAYOUT_SGLANG ? ".json" : ".yaml");
    free(text);
    return fixture;
}

static void assert_same(const struct layout *a, const struct layout *b)
{
    ck_assert_uint_eq(a->slots, b->slots);
    ck_assert_uint_eq(a->experts, b->experts);
    ck_assert_uint_eq(a->ranks, b->ranks);
    ck_assert_mem_eq(a->slot_expert, b->slot_expert, a->slots * sizeof *a->slot_expert);
}

// SGLang's file has a row for every model layer from 0: more layers come back, the same where they
// were and in id order where they were not.
static void check_read_back(const struct layouts *layouts, enum layout_format format)
{
    const struct fixture fixture = written(layouts, format);
    struct layout_wanted wanted = {.ranks = layouts->of[0].ranks};
    struct layouts back;
    struct error err;
    ck_assert_msg(layouts_load(&back, fixture.path, &wanted, &err), "%s", err.text);
    uint32_t l = 0;
    for (uint32_t b = 0; b < back.count; b++) {
        if (l < layouts->count && back.layer_ids[b] == layouts->layer_ids[l]) {
            struct layout alone;
            assert_same(&back.of[b], &layouts->of[l]);
            wanted.layer = (int)layouts->layer_ids[l];
            wanted.experts = layouts->of[l].experts;
            ck_assert(layout_from_file(&alone, fixture.path, &wanted, &err));
            assert_same(&alone, &layouts->of[l]);
            layout_release(&alone);
            l++;
            continue;
        }
        ck_assert_int_eq(format, LAYOUT_SGLANG);
        for (uint32_t slot = 0; slot < back.of[b].slots; slot++)
            ck_assert_uint_eq(back.of[b].slot_expert[slot], slot % back.of[b].experts);
    }
    ck_assert_uint_eq(l, layouts->count);
    layouts_release(&back);
    fixture_remove(&fixture);
}

START_TEST(read_back)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct layouts layouts = random_layouts(seed);
        check_read_back(&layouts, LAYOUT_TRTLLM);
        check_read_back(&layouts, LAYOUT_SGLANG);
        layouts_release(&layouts);
    }
}
END_TEST

// Keys that an engine does not know make it refuse the file: TensorRT-LLM's model is strict, SGLang
// passes what it reads as arguments.
START_TEST(exact_text)
{
    static const char *const texts[] = {"# a comment\n"
                                        "num_slots: 3\n"
                                        "layer_updates_per_iter: 0\n"
                                        "initial_global_assignments:\n"
                                        "  1: [1, 0, 1]\n",
                                        "{\"physical_to_logical_map\": [\n"
                                        " [0, 1, 0],\n"
                                        " [1, 0, 1]\n"
                                        "]}\n"};
    struct layouts layouts = {.count = 1,
                              .layer_ids = mem_alloc(1, sizeof(uint32_t)),
                              .of = mem_alloc(1, sizeof(struct layout))};
    struct error err;
    char *text = NULL;
    size_t length;
    layouts.layer_ids[0] = 1;
    ck_assert(layout_from_slots(&layouts.of[0], (const uint32_t[]){1, 0, 1}, 3, 2, 3, &err));
    FILE *out = open_memstream(&text, &length);
    layouts_write(&layouts, (enum layout_format)_i, "# a comment\n", out);
    fclose(out);
    ck_assert_str_eq(text, texts[_i]);
    free(text);
    layouts_release(&layouts);
}
END_TEST

static const struct {
    const char *text, *message; // all layers, on 2 ranks
} bad_files[] = {
    {"{}",
     ":1: num_slots: missing; expected a load-balancer file with num_slots and "
     "initial_global_assignments, or physical_to_logical_map, model_maps, layer_list or a list "
     "of phy2log"},
    {"{\"logical_count\": [[1, 2]]}", ":1: num_slots: missing"},
    {"{\"physical_to_logical_map\": []}",
     ":1: physical_to_logical_map: expected [[expert of each slot], ...], a list a layer"},
    {"{\"physical_to_logical_map\": [0, 1]}", ":1: physical_to_logical_map: expected [["},
    {"{\"physical_to_logical_map\": [[]]}", ":1: physical_to_logical_map: 0 slots: expected 1 to "},
    {"{\"physical_to_logical_map\": [[0, 1],\n [0]]}",
     ":2: layer 1: 1 slots: expected the first row's 2"},
    {"{\"physical_to_logical_map\": [[0, 1],\n 7]}",
     ":2: layer 1: expected the list of each slot's expert"},
    {"{\"physical_to_logical_map\": [[0, -1]]}",
     ":1: layer 0: slot 1: expert: '-1': must not be negative"},
    {"{\"physical_to_logical_map\": [[0, 2]]}",
     ":1: layer 0: 2 slots: expected at least one for each of 3 experts"},
    {"{\"physical_to_logical_map\": [[0]]}",
     ":1: layer 0: 1 slots: expected at least one for each of 2 ranks"},
    {"num_slots: 2\ninitial_global_assignments: {x: [0, 1]}\n",
     ":2: initial_global_assignments: layer: 'x': expected "},
    {"num_slots: 2\ninitial_global_assignments:\n  3: [0, 1]\n  4: [0, 0]\n",
     ":4: layer 4: slots 0 to 1: expert 1 has none"},
};

START_TEST(bad_file)
{
    const struct fixture fixture = fixture_make(bad_files[_i].text, ".json");
    struct layouts layouts;
    struct error err;
    ck_assert_msg(!layouts_load(&layouts, fixture.path, &(struct layout_wanted){.ranks = 2}, &err),
                  "accepted: %s", bad_files[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, bad_files[_i].message, strlen(bad_files[_i].message)) == 0,
                  "%s\nexpected %s", message, bad_files[_i].message);
    ck_assert_ptr_null(layouts.of);
}
END_TEST

START_TEST(absent_layer)
{
    const struct fixture fixture =
        fixture_make("{\"physical_to_logical_map\": [[0, 1], [1, 0]]}", ".json");
    struct layout layout;
    struct error err;
    const struct layout_wanted wanted = {.experts = 2, .ranks = 2, .layer = 2};
    ck_assert(!layout_from_file(&layout, fixture.path, &wanted, &err));
    ck_assert_str_eq(fixture_message(&fixture, &err), ":1: physical_to_logical_map: no layer 2; "
                                                      "expected one of the 2 listed, 0 to 1");
    fixture_remove(&fixture);
}
END_TEST

// ---- parts of a trace --------------------------------------------------------------------------

// A part's rows are the trace's own, from where it begins.
static void check_part(const struct trace *trace, double from, double to, uint64_t first,
                       uint64_t tokens)
{
    struct trace part;
    struct error err;
    uint16_t ours[8], theirs[8];
    ck_assert_msg(trace_part(trace, from, to, &part, &err), "%s", err.text);
    ck_assert_uint_eq(part.tokens, tokens);
    for (uint64_t t = 0; t<tokens; t += tokens> 100 ? tokens / 100 : 1)
        for (uint32_t layer = 0; layer < trace->layers; layer++) {
            trace_row(&part, t, layer, ours);
            trace_row(trace, first + t, layer, theirs);
            ck_assert_mem_eq(ours, theirs, sizeof ours);
        }
}

START_TEST(parts_of_tokens)
{
    struct trace trace, part;
    struct error err;
    ck_assert_msg(trace_open(&trace, "traces/minimoe-256e", &err), "%s", err.text);
    check_part(&trace, 0, 1, 0, 24576);
    check_part(&trace, 0, 0.5, 0, 12288);
    check_part(&trace, 0.5, 1, 12288, 12288);
    check_part(&trace, 0.25, 0.2501, 6144, 2);
    ck_assert(!trace_part(&trace, 0.25, 0.25001, &part, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(err.text, "traces/minimoe-256e: no token from share 0.25 to 0.25001 of 24576 "
                               "tokens");
    trace_release(&trace);
}
END_TEST

// With steps of its own a trace is cut between steps, and a part's begin at 0.
START_TEST(parts_of_steps)
{
    static const char manifest[] = "experts: 8\ntopk: 1\nlayer_ids: [3]\n";
    const uint8_t ids[] = {0, 1, 2, 3, 4, 5};
    const uint32_t steps[] = {0, 0, 1, 1, 1, 0, 2, 1, 2, 0, 3, 1};
    struct trace trace, part, nested;
    struct trace_view *view;
    struct error err;
    uint16_t id;
    scratch_make();
    scratch_write("trace.yaml", manifest, strlen(manifest));
    ck_assert(npy_write(scratch_path("expert_ids.npy"), NPY_U8, (const uint64_t[]){6, 1, 1}, 3, ids,
                        &err));
    ck_assert(
        npy_write(scratch_path("steps.npy"), NPY_U32, (const uint64_t[]){6, 2}, 2, steps, &err));
    ck_assert_msg(trace_open(&trace, scratch_folder, &err), "%s", err.text);
    ck_assert_msg(trace_part(&trace, 0.5, 1, &part, &err), "%s", err.text);
    ck_assert_uint_eq(part.tokens, 3);
    ck_assert_uint_eq(trace_steps(&part, 2, 0), 2);
    ck_assert_msg(trace_view_new(&part, 0, 1, 2, 0, &view, &err), "%s", err.text);
    const struct routing routing = trace_routing(view);
    ck_assert_uint_eq(routing.tokens[0], 0);
    ck_assert_uint_eq(routing.tokens[1], 1);
    routing_row(&routing, 1, 0, &id);
    ck_assert_uint_eq(id, 5);
    trace_view_free(view);
    ck_assert_msg(trace_part(&part, 0, 0.5, &nested, &err), "%s", err.text);
    ck_assert_uint_eq(nested.tokens, 2);
    ck_assert_uint_eq(trace_steps(&nested, 2, 0), 1);
    ck_assert(!trace_part(&trace, 0.5, 0.6, &part, &err));
    ck_assert_msg(strstr(err.text, "no token from share 0.5 to 0.6 of 4 steps"), "%s", err.text);
    trace_release(&trace);
    scratch_clear();
}
END_TEST

int main(void)
{
    notice_quiet(true);
    Suite *suite = suite_create("layout_file");
    TCase *tcase = tcase_create("layout_file");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, read_back);
    tcase_add_loop_test(tcase, exact_text, 0, 2);
    tcase_add_loop_test(tcase, bad_file, 0, SUITE_COUNT(bad_files));
    tcase_add_test(tcase, absent_layer);
    tcase_add_test(tcase, parts_of_tokens);
    tcase_add_test(tcase, parts_of_steps);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}

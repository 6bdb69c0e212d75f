// model/layout: makers, files of TensorRT-LLM's load balancer, and every refusal.
#include "model/layout_file.h"
#include "tests/fixture.h"

#define EP32 "tests/data/layout/trtllm-ep32.yaml"

// What holds of every layout: slots shared as ceil or floor, replicas the inverse of slots.
static void expect_sound(const struct layout *layout)
{
    ck_assert_uint_eq(layout->rank_slot[0], 0);
    ck_assert_uint_eq(layout->rank_slot[layout->ranks], layout->slots);
    for (uint32_t rank = 0; rank < layout->ranks; rank++) {
        const uint32_t more = rank < layout->slots % layout->ranks;
        ck_assert_uint_eq(layout->rank_slot[rank + 1] - layout->rank_slot[rank],
                          layout->slots / layout->ranks + more);
        for (uint32_t s = layout->rank_slot[rank]; s < layout->rank_slot[rank + 1]; s++)
            ck_assert_uint_eq(layout->slot_rank[s], rank);
    }
    ck_assert_uint_eq(layout->replica_first[layout->experts], layout->slots);
    for (uint32_t expert = 0; expert < layout->experts; expert++) {
        ck_assert_uint_ge(layout_replicas(layout, expert), 1);
        for (uint32_t i = layout->replica_first[expert]; i < layout->replica_first[expert + 1];
             i++) {
            ck_assert_uint_eq(layout->slot_expert[layout->replica_slot[i]], expert);
            if (i > layout->replica_first[expert])
                ck_assert_uint_lt(layout->replica_slot[i - 1], layout->replica_slot[i]);
        }
    }
}

static const struct {
    uint32_t experts, ranks;
} sizes[] = {{256, 32}, {256, 8}, {256, 256}, {160, 48}, {8, 3}, {1, 1}, {7, 7}, {4096, 1000}};

START_TEST(contiguous)
{
    struct layout layout;
    struct error err;
    ck_assert(layout_contiguous(&layout, sizes[_i].experts, sizes[_i].ranks, &err));
    expect_sound(&layout);
    for (uint32_t expert = 0; expert < layout.experts; expert++) {
        ck_assert_uint_eq(layout.slot_expert[expert], expert);
        ck_assert_uint_eq(layout_slot(&layout, expert, 12345), expert);
    }
    layout_release(&layout);
}
END_TEST

START_TEST(round_robin)
{
    struct layout layout;
    struct error err;
    ck_assert(layout_round_robin(&layout, sizes[_i].experts, sizes[_i].ranks, &err));
    expect_sound(&layout);
    for (uint32_t slot = 0; slot < layout.slots; slot++)
        ck_assert_uint_eq(layout.slot_rank[slot], layout.slot_expert[slot] % layout.ranks);
    layout_release(&layout);
}
END_TEST

// Of no known model.
static bool load(struct layout *layout, const char *what, int layer, uint32_t experts,
                 uint32_t ranks, struct error *err)
{
    const struct layout_wanted wanted = {.experts = experts, .ranks = ranks, .layer = layer};
    return layout_load(layout, what, &wanted, err);
}

START_TEST(deepseek_at_ep32)
{
    struct layout layout;
    struct error err;
    ck_assert(load(&layout, "contiguous", -1, 256, 32, &err));
    for (uint32_t expert = 0; expert < 256; expert++)
        ck_assert_uint_eq(layout.slot_rank[layout_slot(&layout, expert, 0)], expert / 8);
    layout_release(&layout);
}
END_TEST

START_TEST(replicas_take_turns)
{
    const uint32_t slots[] = {0, 1, 2, 0, 2, 0};
    struct layout layout;
    struct error err;
    ck_assert(layout_from_slots(&layout, slots, 6, 3, 2, &err));
    expect_sound(&layout);
    ck_assert_uint_eq(layout_replicas(&layout, 0), 3);
    ck_assert_uint_eq(layout_replicas(&layout, 1), 1);
    const uint32_t served[] = {0, 3, 5, 0, 3, 5};
    for (uint32_t token = 0; token < 6; token++)
        ck_assert_uint_eq(layout_slot(&layout, 0, token), served[token]);
    ck_assert_uint_eq(layout_slot(&layout, 2, 7), 4);
    layout_release(&layout);
}
END_TEST

START_TEST(release_is_safe_twice)
{
    struct layout layout;
    struct error err;
    ck_assert(layout_contiguous(&layout, 8, 8, &err));
    layout_release(&layout);
    layout_release(&layout);
    ck_assert_ptr_null(layout.slot_expert);
}
END_TEST

static const struct {
    int layer;
    uint32_t step; // redundant slot of rank r holds expert r x step mod 256
} layers[] = {{3, 7}, {4, 11}, {-1, 7}};

START_TEST(load_balancer_file)
{
    struct layout layout;
    struct error err;
    ck_assert_msg(load(&layout, EP32, layers[_i].layer, 256, 32, &err), "%s", err.text);
    expect_sound(&layout);
    ck_assert_uint_eq(layout.slots, 288);
    for (uint32_t rank = 0; rank < 32; rank++) {
        for (uint32_t i = 0; i < 8; i++)
            ck_assert_uint_eq(layout.slot_expert[9 * rank + i], 8 * rank + i);
        ck_assert_uint_eq(layout.slot_expert[9 * rank + 8], rank * layers[_i].step % 256);
    }
    layout_release(&layout);
}
END_TEST

static const struct {
    uint32_t slots, experts, ranks;
    uint32_t slot_expert[6];
    const char *message;
} bad_slots[] = {
    {3, 3, 4, {0, 1, 2}, "3 slots: expected at least one for each of 4 ranks"},
    {3, 4, 2, {0, 1, 2}, "3 slots: expected at least one for each of 4 experts"},
    {4, 4, 2, {0, 1, 4, 3}, "slot 2: expert 4: expected 0 to 3"},
    {5, 4, 2, {0, 1, 1, 3, 0}, "slots 0 to 4: expert 2 has none; expected each expert in a slot"},
    {1, 0, 1, {0}, "0 experts on 1 ranks: expected at least 1 of each"},
    {1, 1, 0, {0}, "1 experts on 0 ranks: expected at least 1 of each"},
    {65537, 1, 1, {0}, "65537 slots: expected at most 65536"},
};

START_TEST(bad_slot_list)
{
    struct layout layout;
    struct error err;
    ck_assert(!layout_from_slots(&layout, bad_slots[_i].slot_expert, bad_slots[_i].slots,
                                 bad_slots[_i].experts, bad_slots[_i].ranks, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(err.text, bad_slots[_i].message);
    ck_assert_ptr_null(layout.slot_expert);
}
END_TEST

static const struct {
    const char *what;
    uint32_t experts, ranks;
    const char *message;
} bad_words[] = {
    {"contiguous", 8, 9, "8 experts on 9 ranks: expected at least one expert a rank"},
    {"round-robin", 8, 9, "8 experts on 9 ranks: expected at least one expert a rank"},
    {"contiguous", 8, 0, "8 experts on 0 ranks: "},
    {"contigous", 8, 8,
     "'contigous': did you mean 'contiguous'? Expected contiguous, round-robin, eplb, "
     "eplb-global, greedy or a file"},
    {"balanced", 8, 8,
     "'balanced': expected contiguous, round-robin, eplb, "
     "eplb-global, greedy or a file"},
    {"", 8, 8,
     "'': expected contiguous, round-robin, eplb, "
     "eplb-global, greedy or a file"},
    {"absent.yaml", 8, 8, "absent.yaml: "},
    {EP32, 257, 32, EP32 ":4: layer 3: slots 0 to 287: expert 256 has none"},
    {EP32, 255, 32, EP32 ":"},
    {EP32, 256, 289, EP32 ":4: layer 3: 288 slots: expected at least one for each of 289 ranks"},
    {EP32, 289, 32, EP32 ":4: layer 3: 288 slots: expected at least one for each of 289 experts"},
};

START_TEST(bad_word)
{
    struct layout layout;
    struct error err;
    ck_assert_msg(
        !load(&layout, bad_words[_i].what, -1, bad_words[_i].experts, bad_words[_i].ranks, &err),
        "accepted: %s", bad_words[_i].what);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strncmp(err.text, bad_words[_i].message, strlen(bad_words[_i].message)) == 0,
                  "%s\nexpected %s", err.text, bad_words[_i].message);
}
END_TEST

#define LAYERS "initial_global_assignments:\n"

static const struct {
    int layer;
    const char *text, *message; // 4 experts on 2 ranks
} bad_files[] = {
    {-1, "ep_size: 2\n",
     ":1: num_slots: missing; expected a load-balancer file with num_slots and "
     "initial_global_assignments"},
    {-1, "1\n", ":1: num_slots: missing; expected a layout's map or list"},
    {-1, "- 1\n", ":1: layer 0: 1 slots: expected at least one for each of 2 ranks"},
    {-1, "num_slots: many\n" LAYERS "  3: [0, 1, 2, 3]\n", ":1: num_slots: 'many': expected "},
    {-1, "num_slots: -4\n" LAYERS "  3: [0, 1, 2, 3]\n",
     ":1: num_slots: '-4': must not be negative"},
    {-1, "num_slots: [4]\n" LAYERS "  3: [0, 1, 2, 3]\n", ":1: num_slots: expected a whole number"},
    {-1, "num_slots: 4\nnum_slots: 4\n", ":2: num_slots: given twice; first on line 1"},
    {-1, "num_slots: 4\n",
     ":1: initial_global_assignments: expected {LAYER: [expert of each slot], ...}"},
    {-1, "num_slots: 4\n" LAYERS "  - 3\n", ":3: initial_global_assignments: expected {LAYER: "},
    {-1, "num_slots: 4\ninitial_global_assignments: {}\n", ":2: initial_global_assignments: "},
    {7, "num_slots: 4\n" LAYERS "  3: [0, 1, 2, 3]\n  5: [0, 1, 2, 3]\n",
     ":3: initial_global_assignments: no layer 7; expected one of the 2 listed, 3 to 5"},
    {-1, "num_slots: 4\n" LAYERS "  3: 7\n",
     ":3: layer 3: expected the list of each slot's expert"},
    {-1, "num_slots: 4\n" LAYERS "  3: [0, 1, 2]\n",
     ":3: layer 3: 3 slots: expected the num_slots 4"},
    {-1, "num_slots: 4\n" LAYERS "  3: [0, 1,\n    2, 4]\n",
     ":4: layer 3: slot 3: expert: '4': out of range; expected 0 to 3"},
    {-1, "num_slots: 4\n" LAYERS "  3: [0, 1,\n    x, 3]\n", ":4: layer 3: slot 2: expert: 'x': "},
    {-1, "num_slots: 4\n" LAYERS "  3: [0, 1, [2], 3]\n",
     ":3: layer 3: slot 2: expert: expected a whole number"},
    {-1, "num_slots: 5\n" LAYERS "  3: [0, 1, 1, 2, 0]\n",
     ":3: layer 3: slots 0 to 4: expert 3 has none"},
    {3, "num_slots: 4\n" LAYERS "  3: [0, 1, 2, 3]\n  3: [0, 1, 2, 3]\n", ":4: 3: given twice"},
};

START_TEST(bad_file)
{
    const struct fixture fixture = fixture_make(bad_files[_i].text, ".yaml");
    struct layout layout;
    struct error err;
    ck_assert_msg(!load(&layout, fixture.path, bad_files[_i].layer, 4, 2, &err), "accepted: %s",
                  bad_files[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, bad_files[_i].message, strlen(bad_files[_i].message)) == 0,
                  "%s\nexpected %s", message, bad_files[_i].message);
    ck_assert_ptr_null(layout.slot_expert);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

int main(void)
{
    Suite *suite = suite_create("layout");
    TCase *tcase = tcase_create("layout");
    tcase_add_loop_test(tcase, contiguous, 0, COUNT(sizes));
    tcase_add_loop_test(tcase, round_robin, 0, COUNT(sizes));
    tcase_add_test(tcase, deepseek_at_ep32);
    tcase_add_test(tcase, replicas_take_turns);
    tcase_add_test(tcase, release_is_safe_twice);
    tcase_add_loop_test(tcase, load_balancer_file, 0, COUNT(layers));
    tcase_add_loop_test(tcase, bad_slot_list, 0, COUNT(bad_slots));
    tcase_add_loop_test(tcase, bad_word, 0, COUNT(bad_words));
    tcase_add_loop_test(tcase, bad_file, 0, COUNT(bad_files));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

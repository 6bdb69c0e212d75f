// model/formats/layer_set: sets of layers, and how they are written.
#include "model/formats/layer_set.h"
#include "tests/suite.h"

#include <string.h>

static const struct {
    const char *text, *again;
    uint32_t count, first, last;
} written[] = {
    {"3..60", "3..60", 58, 3, 60},
    {"0", "0", 1, 0, 0},
    {"5,1,3", "1..5:2", 3, 1, 5},
    {"1..47:2", "1..47:2", 24, 1, 47},
    {"1,2,5", "1,2,5", 3, 1, 5},
    {"1,3,6,8,10,13,15", "1,3,6..10:2,13,15", 7, 1, 15},
    {"0..2,4..6,1023", "0..2,4..6,1023", 7, 0, 1023},
    {"7,8", "7,8", 2, 7, 8},
    {"0..1023", "0..1023", 1024, 0, 1023},
};

START_TEST(reads_what_it_writes)
{
    struct layer_set set, back;
    struct error err;
    char text[256];
    ck_assert_msg(layer_set_parse(written[_i].text, &set, &err), "%s", err.text);
    ck_assert(layer_set_format(&set, text, sizeof text));
    ck_assert_str_eq(text, written[_i].again);
    ck_assert(layer_set_parse(text, &back, &err));
    ck_assert_mem_eq(&set, &back, sizeof set);
    const uint32_t count = layer_set_count(&set);
    ck_assert_uint_eq(count, written[_i].count);
    ck_assert_uint_eq(layer_set_nth(&set, 0), written[_i].first);
    ck_assert_uint_eq(layer_set_nth(&set, count - 1), written[_i].last);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t layer = layer_set_nth(&set, i);
        ck_assert(layer_set_has(&set, layer));
        ck_assert_uint_eq(layer_set_count_below(&set, layer), i);
    }
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "'': expected indices"},
    {"3-60", "'3-60': expected indices"},
    {"60..3", "'60..3': goes down"},
    {"3..1024", "layer 1024: expected at most 1023"},
    {"all", "'all': expected indices"},
};

START_TEST(refuses)
{
    struct layer_set set;
    struct error err;
    ck_assert(!layer_set_parse(refused[_i].text, &set, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(!strncmp(err.text, refused[_i].message, strlen(refused[_i].message)), "%s",
                  err.text);
}
END_TEST

START_TEST(says_when_it_does_not_fit)
{
    struct layer_set set;
    struct error err;
    char text[12];
    ck_assert(layer_set_parse("10,12,15,19", &set, &err));
    ck_assert(layer_set_format(&set, text, sizeof text));
    ck_assert_str_eq(text, "10,12,15,19");
    ck_assert(!layer_set_format(&set, text, sizeof text - 1));
    ck_assert(!layer_set_has(&set, 4096));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layer_set");
    TCase *tcase = tcase_create("layer_set");
    tcase_add_loop_test(tcase, reads_what_it_writes, 0, SUITE_COUNT(written));
    tcase_add_loop_test(tcase, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(tcase, says_when_it_does_not_fit);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}

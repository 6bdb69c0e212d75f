// base/field and base/options: one row read, refused, printed back, found, hinted at; and the
// command line that stands on those rows.
#include "base/error.h"
#include "base/field.h"
#include "base/options.h"
#include "base/rng.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

enum colour { RED, GREEN, BLUE_GREEN };
static const char *const colours[] = {"red", "green", "blue-green", NULL};

struct shape {
    const char *name;
    uint32_t corners;
};
static const struct shape square = {"square", 4}, triangle = {"triangle", 3};
static const void *const shapes[] = {&square, &triangle, NULL};

struct thing {
    bool rails, json;
    uint32_t nodes, topk_groups;
    uint64_t seed, chunk_bytes, latency_ps;
    double skew, nic_Bps, flops;
    char name[FIELD_TEXT_BYTES];
    enum colour colour;
    const struct shape *shape;
};

#define AT(member) offsetof(struct thing, member)

static const struct field fields[] = {
    {"rails", FIELD_BOOL, AT(rails), 0, 0, NULL, "one switch a NIC index", NULL, 0},
    {"nodes", FIELD_U32, AT(nodes), 1, 1024, NULL, "NVLink domains", NULL, 0},
    {"topk_groups", FIELD_U32, AT(topk_groups), 0, 0, NULL, "groups a token may use", NULL, 0},
    {"seed", FIELD_U64, AT(seed), 0, 0, NULL, "of every draw", NULL, 0},
    {"chunk", FIELD_BYTES, AT(chunk_bytes), 1, 1 << 20, NULL, "bytes a message", NULL, 0},
    {"latency", FIELD_TIME, AT(latency_ps), 0, 1e12, NULL, "one way", NULL, 0},
    {"skew", FIELD_NUMBER, AT(skew), 0.5, INFINITY, NULL, "ratio", NULL, 0},
    {"nic", FIELD_RATE, AT(nic_Bps), 0, 0, NULL, "bytes a second, each way", NULL, 0},
    {"fp8_flops", FIELD_FLOPS, AT(flops), 0, 0, NULL, "dense", NULL, 0},
    {"name", FIELD_TEXT, AT(name), 0, 0, NULL, "for people", NULL, 0},
    {"colour", FIELD_ENUM, AT(colour), 0, 0, colours, "of the bicycle shed", NULL, 0},
    {"shape", FIELD_NAMED, AT(shape), 0, 0, NULL, "of its plan", shapes, 0},
};

static const struct field *row(const char *key)
{
    const struct field *field = field_find(fields, (size_t)COUNT(fields), key);
    ck_assert_ptr_nonnull(field);
    return field;
}

// ---- fields ------------------------------------------------------------------------------------

static const struct {
    const char *key, *text, *shown;
} good[] = {
    {"rails", "true", "true"},
    {"rails", "Yes", "true"},
    {"rails", "on", "true"},
    {"rails", "1", "true"},
    {"rails", "false", "false"},
    {"rails", "no", "false"},
    {"rails", "OFF", "false"},
    {"rails", "0", "false"},
    {"nodes", "1", "1"},
    {"nodes", "1024", "1024"},
    {"topk_groups", "4294967295", "4294967295"},
    {"seed", "9007199254740992", "9007199254740992"},
    {"chunk", "64KiB", "64KiB"},
    {"chunk", "1000B", "1kB"},
    {"latency", "2500ns", "2.5us"},
    {"latency", "0s", "0ps"},
    {"skew", "0.5", "0.5"},
    {"nic", "400Gbps", "50GB/s"},
    {"fp8_flops", "1979TFLOPS", "1979TFLOPS"},
    {"name", "", ""},
    {"name", "H800, 8 \u00d7 CX7", "H800, 8 \u00d7 CX7"},
    {"colour", "blue-green", "blue-green"},
    {"shape", "triangle", "triangle"},
};

START_TEST(field_reads)
{
    struct thing thing;
    struct error err;
    char text[FIELD_TEXT_BYTES];
    memset(&thing, 0xa5, sizeof thing); // so that a member half written shows
    const struct field *field = row(good[_i].key);
    ck_assert_msg(field_parse(field, good[_i].text, &thing, &err), "%s", err.text);
    ck_assert_str_eq(field_format(field, &thing, text), good[_i].shown);
    ck_assert(field_parse(field, text, &thing, &err));
    ck_assert_str_eq(field_format(field, &thing, text), good[_i].shown);
}
END_TEST

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
    const char *key, *text, *message;
} bad[] = {
    {"rails", "maybe", "'maybe': expected true or false"},
    {"rails", "", "'': expected true or false"},
    {"nodes", "0", "'0': out of range; expected 1 to 1024"},
    {"nodes", "1025", "'1025': out of range; expected 1 to 1024"},
    {"nodes", "abc", "'abc': expected a whole number"},
    {"nodes", "-1", "'-1': must not be negative; expected a whole number"},
    {"topk_groups", "4294967296", "'4294967296': out of range; expected 0 to 4294967295"},
    {"seed", "1e300", "'1e300': too large; expected a whole number"},
    {"chunk", "2MiB", "'2MiB': out of range; expected 1B to 1MiB"},
    {"chunk", "8K",
     "'8K': 'K' alone is read both ways; write KiB (powers of 1024) or kB (powers of 1000)"},
    {"latency", "1.1s", "'1.1s': out of range; expected 0ps to 1s"},
    {"skew", "0.4", "'0.4': out of range; expected at least 0.5"},
    {"skew", "nan", "'nan': expected a number"},
    {"nic", "50", "'50': expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {"name", "a\nb", "'a\\nb': holds a control character; expected text"},
    {"name", X50 X50 X50 X50 X50 "123456",
     "'" X50 "xxxxxxxxxx...': 256 bytes long; expected at most 255"},
    {"colour", "gren", "'gren': did you mean 'green'? Expected one of red, green, blue-green"},
    {"colour", "3", "'3': expected one of red, green, blue-green"},
    {"shape", "sqare", "'sqare': did you mean 'square'? Expected one of square, triangle"},
    {"shape", "disc", "'disc': expected one of square, triangle"},
};

START_TEST(field_refuses)
{
    struct thing thing = {0};
    const struct thing before = thing;
    struct error err;
    ck_assert(!field_parse(row(bad[_i].key), bad[_i].text, &thing, &err));
    ck_assert_str_eq(err.text, bad[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_mem_eq(&thing, &before, sizeof thing);
}
END_TEST

// Times grow, rounded up, and rates fall; a ratio, a count or a name is of no speed.
START_TEST(field_scales)
{
    const struct thing before = {.nodes = 3, .latency_ps = 1001, .skew = 2, .nic_Bps = 5e9};
    struct thing thing = before;
    for (size_t i = 0; i < (size_t)COUNT(fields); i++)
        field_scale(&fields[i], &thing, 2.5);
    ck_assert_uint_eq(thing.latency_ps, 2503);
    ck_assert_double_eq(thing.nic_Bps, 2e9);
    thing.latency_ps = before.latency_ps;
    thing.nic_Bps = before.nic_Bps;
    ck_assert_mem_eq(&thing, &before, sizeof thing);
}
END_TEST

START_TEST(field_round_trips)
{
    struct rng rng = rng_stream(2, 0, 0, 0);
    for (int n = 0; n < 5000; n++) {
        struct thing a = {.skew = 0.5 + 1e4 * rng_unit(&rng),
                          .nic_Bps = 1e12 * rng_unit(&rng),
                          .flops = 1e16 * rng_unit(&rng),
                          .nodes = 1 + rng_below(&rng, 1024),
                          .topk_groups = rng_below(&rng, UINT32_MAX),
                          .seed = rng_next(&rng) >> 11,
                          .chunk_bytes = 1 + rng_below(&rng, 1 << 20),
                          .rails = n % 2 == 0,
                          .latency_ps = rng_next(&rng) % 1000000000000,
                          .colour = (enum colour)(n % 3),
                          .shape = n % 2 ? &square : &triangle};
        struct thing b = {0};
        for (int i = 0; i < COUNT(fields); i++) {
            struct error err;
            char text[FIELD_TEXT_BYTES];
            field_format(&fields[i], &a, text);
            ck_assert_msg(field_parse(&fields[i], text, &b, &err), "%s", err.text);
        }
        ck_assert(a.nodes == b.nodes && a.topk_groups == b.topk_groups && a.seed == b.seed);
        ck_assert(a.chunk_bytes == b.chunk_bytes && a.latency_ps == b.latency_ps);
        ck_assert(a.rails == b.rails && a.colour == b.colour && a.shape == b.shape);
        ck_assert(fabs(a.skew - b.skew) <= 1e-9 * a.skew);
        ck_assert(fabs(a.nic_Bps - b.nic_Bps) <= 1e-9 * a.nic_Bps);
        ck_assert(fabs(a.flops - b.flops) <= 1e-9 * a.flops);
    }
}
END_TEST

START_TEST(field_prints_the_unparsable)
{
    struct thing thing = {.skew = NAN, .nic_Bps = INFINITY, .flops = -1, .seed = UINT64_MAX};
    char text[FIELD_TEXT_BYTES];
    ck_assert_ptr_nonnull(strstr(field_format(row("skew"), &thing, text), "nan"));
    ck_assert_str_eq(field_format(row("nic"), &thing, text), "inf");
    ck_assert_str_eq(field_format(row("fp8_flops"), &thing, text), "-1");
    ck_assert_str_eq(field_format(row("seed"), &thing, text), "18446744073709551615");
}
END_TEST

START_TEST(field_found_by_either_spelling)
{
    const size_t count = (size_t)COUNT(fields);
    ck_assert_ptr_eq(field_find(fields, count, "topk-groups"), row("topk_groups"));
    ck_assert_ptr_null(field_find(fields, count, "topk"));
    ck_assert_ptr_null(field_find(fields, count, "nodes1"));
    ck_assert_ptr_null(field_find(fields, count, ""));
}
END_TEST

static const struct {
    const char *word, *nearest;
} slips[] = {
    {"node", "nodes"},
    {"noeds", "nodes"},
    {"topk-group", "topk_groups"},
    {"Latency", "latency"},
    {"latncy", "latency"},
    {"fp8flops", "fp8_flops"},
    {"topk", "topk_groups"}, // the only one that begins so
    {"fp8", "fp8_flops"},
    {"n", NULL},
    {"gpus", NULL},
    {"", NULL},
    {"xy", NULL},
    {"nid", "nic"},
    {"zzzzzzz", NULL},
    {X50 X50, NULL},
};

START_TEST(field_hints)
{
    const char *nearest = field_nearest_key(fields, (size_t)COUNT(fields), slips[_i].word);
    ck_assert_pstr_eq(nearest, slips[_i].nearest);
}
END_TEST

// ---- options -----------------------------------------------------------------------------------

static const struct option_row shape_rows[] = {
    {OPTION_NUMBER("nodes", FIELD_U32, AT(nodes), "N", 1, 1024, "NVLink domains"), .letter = 'n'},
    {OPTION_NUMBER("topk_groups", FIELD_U32, AT(topk_groups), "N", 0, 0, "groups a token may use")},
};
static const struct option_row output_rows[] = {
    {OPTION_SWITCH("json", AT(json), "one JSON document"), .letter = 'j'},
    {OPTION_TEXT("output", AT(name), "FILE", "where to write"), .letter = 'o'},
};
static const struct option_row colour_rows[] = {
    {OPTION_CHOICE("colour", 0, "NAME", colours, "of the shed")},
};

static const struct option_group shape = {"Shape", OPTION_ROWS(shape_rows)};
static const struct option_group output = {"Output", OPTION_ROWS(output_rows)};
static const struct option_group colour = {"Shape", OPTION_ROWS(colour_rows)};

// The colour's group counts from itself.
static const struct option_part parts[] = {{&shape, 0}, {&output, 0}, {&colour, AT(colour)}};

static bool plans_flag(const char *flag)
{
    return !strcmp(flag, "--latency") || !strcmp(flag, "--nodes");
}

static const struct option_table table = {
    .program = "epsim simulate", .parts = parts, .count = COUNT(parts), .elsewhere = plans_flag};

#define ARGUMENTS 8

struct parsed {
    struct thing thing;
    struct command_line line;
    struct error err;
};

// argv is copied to writable memory: getopt's interface wants it so.
static bool parse(const char *const *arguments, struct parsed *parsed)
{
    static char text[ARGUMENTS + 1][64];
    char *argv[ARGUMENTS + 2] = {text[0]};
    int argc = 1;
    snprintf(text[0], sizeof text[0], "epsim");
    for (; arguments[argc - 1] != NULL; argc++) {
        snprintf(text[argc], sizeof text[argc], "%s", arguments[argc - 1]);
        argv[argc] = text[argc];
    }
    *parsed = (struct parsed){.line = {&table, &parsed->thing, .given = {true, true}}};
    return options_parse(&parsed->line, argc, argv, &parsed->err);
}

static const struct {
    const char *arguments[ARGUMENTS];
    uint32_t nodes, topk_groups;
    bool json;
    const char *output, *words; // words joined with '|'
} lines[] = {
    {{NULL}, 0, 0, false, "", ""},
    {{"--nodes", "4"}, 4, 0, false, "", ""},
    {{"--nodes=4", "--json"}, 4, 0, true, "", ""},
    {{"--topk-groups", "3", "--output=a=b"}, 0, 3, false, "a=b", ""},
    {{"-n", "4", "-j", "-o", "x"}, 4, 0, true, "x", ""},
    {{"-jn4", "-ox"}, 4, 0, true, "x", ""},
    {{"one", "--json", "two", "-n4", "-"}, 4, 0, true, "", "one|two|-"},
    {{"--json", "--", "--nodes", "-x"}, 0, 0, true, "", "--nodes|-x"},
    {{"--output=--json"}, 0, 0, false, "--json", ""},
    {{"--output", "-"}, 0, 0, false, "-", ""},
};

START_TEST(options_read)
{
    struct parsed parsed;
    char words[256] = "";
    ck_assert_msg(parse(lines[_i].arguments, &parsed), "%s", parsed.err.text);
    ck_assert_uint_eq(parsed.thing.nodes, lines[_i].nodes);
    ck_assert_uint_eq(parsed.thing.topk_groups, lines[_i].topk_groups);
    ck_assert_int_eq(parsed.thing.json, lines[_i].json);
    ck_assert_str_eq(parsed.thing.name, lines[_i].output);
    for (size_t i = 0; i < parsed.line.word_count; i++) {
        strcat(strcat(words, i > 0 ? "|" : ""), parsed.line.words[i]);
    }
    ck_assert_str_eq(words, lines[_i].words);
    ck_assert_int_eq(parsed.line.given[0], lines[_i].nodes != 0);
    ck_assert_int_eq(parsed.line.given[1], lines[_i].topk_groups != 0);
    ck_assert_int_eq(parsed.line.given[2], lines[_i].json);
    ck_assert_int_eq(options_given(&parsed.line, "topk_groups"), lines[_i].topk_groups != 0);
    ck_assert(!options_given(&parsed.line, "latency"));
    options_say(&parsed.line, "topk_groups");
    ck_assert(options_given(&parsed.line, "topk_groups"));
    free(parsed.line.words);
}
END_TEST

static const struct {
    const char *arguments[ARGUMENTS];
    const char *message;
} refused[] = {
    {{"--nods", "4"}, "unknown option '--nods'; did you mean '--nodes'?"},
    {{"--topk_groups=3"}, "unknown option '--topk_groups'; did you mean '--topk-groups'?"},
    {{"--topk-group=3"}, "unknown option '--topk-group'; did you mean '--topk-groups'?"},
    {{"--out", "x"}, // a unique beginning, yet no option
     "unknown option '--out'; did you mean '--output'?"},
    {{"--zebra"}, "unknown option '--zebra'"},
    {{"--=x"}, "unknown option '--'"},
    {{"--a\nb"}, "unknown option '--a\\nb'"},
    {{"--latency", "1us"},
     "'--latency': epsim simulate takes no such option, though other commands do"},
    {{"--latncy", "1us"}, "unknown option '--latncy'"}, // no hint at what it does not take
    {{"--nodes"}, "--nodes: needs a value, N"},
    {{"--nodes", "--json"}, "--nodes: needs a value, N; found '--json'"},
    {{"-n"}, "--nodes: needs a value, N"},
    {{"--json=yes"}, "--json: takes no value"},
    {{"--nodes", "abc"}, "--nodes: 'abc': expected a whole number"},
    {{"--nodes="}, "--nodes: '': expected N"},
    {{"-n0"}, "--nodes: '0': out of range; expected 1 to 1024"},
    {{"--nodes", "1", "-n", "2"}, "--nodes: given twice"},
    {{"--json", "-j"}, "--json: given twice"},
    {{"word", "-x"}, "unknown option '-x'"},
    {{"-5"}, "unknown option '-5'"},
    {{"-jx"}, "unknown option '-x'"},
};

START_TEST(options_refuse)
{
    struct parsed parsed;
    ck_assert(!parse(refused[_i].arguments, &parsed));
    ck_assert_str_eq(parsed.err.text, refused[_i].message);
    ck_assert_int_eq(parsed.err.code, EXIT_INPUT);
    ck_assert_ptr_null(parsed.line.words);
    ck_assert_uint_eq(parsed.line.word_count, 0);
}
END_TEST

START_TEST(help)
{
    const struct thing defaults = {.nodes = 4, .name = "", .colour = GREEN};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    options_help(&table, &defaults, out);
    fclose(out);
    ck_assert_str_eq(text, "Shape:\n"
                           "  -n, --nodes N        NVLink domains [4]\n"
                           "      --topk-groups N  groups a token may use\n"
                           "      --colour NAME    of the shed [green]\n"
                           "Output:\n"
                           "  -j, --json           one JSON document\n"
                           "  -o, --output FILE    where to write\n");
    free(text);
}
END_TEST

int main(void)
{
    TCase *field = tcase_create("field");
    tcase_add_loop_test(field, field_reads, 0, COUNT(good));
    tcase_add_loop_test(field, field_refuses, 0, COUNT(bad));
    tcase_add_loop_test(field, field_hints, 0, COUNT(slips));
    tcase_add_test(field, field_scales);
    tcase_add_test(field, field_round_trips);
    tcase_add_test(field, field_prints_the_unparsable);
    tcase_add_test(field, field_found_by_either_spelling);
    TCase *options = tcase_create("options");
    tcase_add_loop_test(options, options_read, 0, COUNT(lines));
    tcase_add_loop_test(options, options_refuse, 0, COUNT(refused));
    tcase_add_test(options, help);
    Suite *suite = suite_create("field");
    suite_add_tcase(suite, field);
    suite_add_tcase(suite, options);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

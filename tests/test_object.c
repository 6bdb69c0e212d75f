// base/object: a map by its table, where values come from, and whole objects: variants over a
// preset, a table chosen by the document, keys that are no fields, changes.
#include "base/object.h"

#include "base/mem.h"
#include "base/preset.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COUNT SUITE_COUNT

static struct doc *load_good(const char *text)
{
    struct error err = {0};
    struct doc *doc = doc_load_text("mine.yaml", text, strlen(text), &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    return doc;
}

// ---- binding -----------------------------------------------------------------------------------

struct thing {
    uint32_t nodes;
    double nic_Bps;
    char name[FIELD_TEXT_BYTES];
    uint32_t items, listed;
};

static const struct field fields[] = {
    {"nodes", FIELD_U32, offsetof(struct thing, nodes), 1, 1024, NULL, "domains", NULL, 0},
    {"nic_rate", FIELD_RATE, offsetof(struct thing, nic_Bps), 0, 0, NULL, "each way", NULL, 0},
    {"name", FIELD_TEXT, offsetof(struct thing, name), 0, 0, NULL, "for people", NULL, 0},
};

START_TEST(binds)
{
    struct thing thing = {0};
    struct error err = {0};
    struct provenance sources[COUNT(fields)] = {[1] = {.source = strdup("older")}};
    bool seen[COUNT(fields)] = {false};
    struct doc *doc = load_good("nodes: 4\n"
                                "nic-rate: {value: 46.7GB/s, source: \"DeepEP README\"}\n");
    const struct object_bind bind = {.fields = fields,
                                     .count = COUNT(fields),
                                     .object = &thing,
                                     .provenance = sources,
                                     .seen = seen};
    ck_assert_msg(object_bind(doc, doc_root(doc), &bind, &err), "%s", err.text);
    doc_free(doc); // what was bound outlives the document
    ck_assert_uint_eq(thing.nodes, 4);
    ck_assert(thing.nic_Bps == 46.7e9);
    ck_assert(seen[0] && seen[1] && !seen[2]);
    ck_assert(!provenance_given(&sources[0]));
    ck_assert_str_eq(sources[1].source, "DeepEP README");
    provenance_release(sources, COUNT(fields));
}
END_TEST

START_TEST(binds_open)
{
    struct thing thing = {.nodes = 7};
    struct error err = {0};
    bool seen[COUNT(fields)] = {false};
    struct doc *doc = load_good("{\"nodes\": null, \"torch_dtype\": \"x\", \"name\": \"y\",\n"
                                " \"quantization_config\": {\"fmt\": [1, 2]}}");
    struct object_bind bind = {
        .fields = fields, .count = COUNT(fields), .object = &thing, .seen = seen, .open = true};
    ck_assert_msg(object_bind(doc, doc_root(doc), &bind, &err), "%s", err.text);
    ck_assert_uint_eq(thing.nodes, 7);
    ck_assert_str_eq(thing.name, "y");
    ck_assert(!seen[0] && seen[2]);
    bind.seen = NULL;
    ck_assert(object_bind(doc, doc_root(doc), &bind, &err));
    doc_free(doc);
}
END_TEST

static const char *const others[] = {"list", NULL};

static const struct {
    const char *text, *message;
} unbound[] = {
    {"nodes: 0", "mine.yaml:1: nodes: '0': out of range; expected 1 to 1024"},
    {"name: x\nnodes: nan", "mine.yaml:2: nodes: 'nan': expected a whole number"},
    {"nic_rate: 50",
     "mine.yaml:1: nic_rate: '50': expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {"nodes: 1\nnode: 1", "mine.yaml:2: unknown key 'node'; did you mean 'nodes'?"},
    {"zebra: 1", "mine.yaml:1: unknown key 'zebra'"},
    {"nic_rate: 1GB/s\nnic-rate: 1GB/s", "mine.yaml:2: nic_rate: given twice"},
    {"nodes:", "mine.yaml:1: nodes: no value given"},
    {"name: ~", "mine.yaml:1: name: no value given"},
    {"nodes: [1]", "mine.yaml:1: nodes: found a list; expected a single value"},
    {"nodes:\n  source: x", "mine.yaml:2: nodes: a map without 'value'; expected value and source"},
    {"nodes: {value: [1]}", "mine.yaml:1: nodes: found a list; expected a single value"},
    {"nodes: {value: 1, source: [x]}", "mine.yaml:1: nodes: source: found a list; expected text"},
    {"nodes: {value: 1, sauce: x}",
     "mine.yaml:1: nodes: unknown key 'sauce'; expected value and source"},
    {"nodes:\n  value: 2000\n  source: x",
     "mine.yaml:2: nodes: '2000': out of range; expected 1 to 1024"},
    {"nodes: {value: 1, source: x, rows: 3}",
     "mine.yaml:1: nodes: expected fit beside it, the name of the data"},
    {"nodes: {value: 1, fit: x}", "mine.yaml:1: nodes: fit: expected rows beside it, how many"},
    {"nodes: {value: 1, fit: x, rows: 0}",
     "mine.yaml:1: nodes: rows: '0': out of range; expected 1 to 1000000000000000"},
    {"nodes: {value: 1, fit: x, rows: 3, only: 1/2, except: 1/3}",
     "mine.yaml:1: nodes: only and except: expected one of them"},
    {"list: [1]\nlst: [1]", "mine.yaml:2: unknown key 'lst'; did you mean 'list'?"},
    {"- nodes", "mine.yaml:1: found a list; expected a map, 'key: value' lines"},
    {"nodes", "mine.yaml:1: found a single value; expected a map, 'key: value' lines"},
};

START_TEST(bind_refuses)
{
    struct thing thing = {0};
    struct error err = {0};
    struct doc *doc = load_good(unbound[_i].text);
    const struct object_bind bind = {
        .fields = fields, .count = COUNT(fields), .object = &thing, .others = others};
    ck_assert(!object_bind(doc, doc_root(doc), &bind, &err));
    ck_assert_str_eq(err.text, unbound[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    doc_free(doc);
}
END_TEST

// ---- where a value comes from -------------------------------------------------------------------

static const struct {
    const char *beside, *text; // what stands beside the value; as one line
} lines[] = {
    {"source: \"a datasheet\"", "a datasheet"},
    {"fit: \"our rows\", rows: 24", "fitted to 24 rows of our rows"},
    {"fit: \"our rows\", rows: 1, stderr_pct: 2.1",
     "fitted to 1 row of our rows; standard error 2.1 %"},
    {"fit: \"our rows\", rows: 24, only: \"1/3\", seed: 7",
     "fitted to 24 rows of our rows (only 1/3, seed 7)"},
    {"fit: \"our rows\", rows: 24, stderr_pct: 0.00012, except: \"2/3\", seed: 1, source: \"a note\"",
     "fitted to 24 rows of our rows (except 2/3, seed 1); standard error 0.00012 %; a note"},
};

// What is printed as data reads back to the same, and as one line says it all.
START_TEST(provenance_reads_back)
{
    char *text = mem_format("nodes: {value: 4, %s}", lines[_i].beside), *printed = NULL;
    struct doc *doc = load_good(text);
    struct provenance sources[COUNT(fields)] = {0};
    struct thing thing;
    struct error err = {0};
    size_t length;
    const struct object_bind bind = {
        .fields = fields, .count = COUNT(fields), .object = &thing, .provenance = sources};
    ck_assert_msg(object_bind(doc, doc_root(doc), &bind, &err), "%s", err.text);
    FILE *out = open_memstream(&printed, &length);
    provenance_print(&sources[0], out);
    fclose(out);
    ck_assert_str_eq(printed + 2, lines[_i].beside);
    char *line = provenance_text(&sources[0]);
    ck_assert_str_eq(line, lines[_i].text);
    struct provenance copy = provenance_copy(&sources[0]);
    ck_assert(provenance_same(&copy, &sources[0]));
    copy.rows++;
    ck_assert(!provenance_same(&copy, &sources[0]));
    provenance_release(&copy, 1);
    provenance_release(sources, COUNT(fields));
    free(line);
    free(printed);
    free(text);
    doc_free(doc);
}
END_TEST

// ---- whole objects ------------------------------------------------------------------------------

static const struct field long_fields[] = {
    {"nodes", FIELD_U32, offsetof(struct thing, nodes), 1, 1024, NULL, "domains", NULL, 0},
    {"nic_rate", FIELD_RATE, offsetof(struct thing, nic_Bps), 0, 0, NULL, "each way", NULL, 0},
    {"name", FIELD_TEXT, offsetof(struct thing, name), 0, 0, NULL, "for people", NULL, 0},
    {"items", FIELD_U32, offsetof(struct thing, items), 0, 0, NULL, "of the long kind alone", NULL, 0},
};

// A document that says `kind: long` has a key more.
static bool choose_table(struct object_reading *reading)
{
    if (doc_get(reading->doc, reading->root, "kind") != DOC_NONE) {
        reading->fields = long_fields;
        reading->count = COUNT(long_fields);
    }
    return true;
}

static bool sum_list(struct object_reading *reading)
{
    struct thing *thing = reading->object;
    const doc_node list = doc_get(reading->doc, reading->root, "list");
    thing->listed = list == DOC_NONE ? 0 : (uint32_t)doc_size(reading->doc, list);
    return true;
}

static const char *thing_fault(void *object, struct error *err)
{
    const struct thing *thing = object;
    return thing->nodes == 13 ? preset_fault(err, "nodes", "13: expected another") : NULL;
}

static const char *const thing_required[] = {"nodes", NULL};
static const char *const thing_others[] = {"kind", "list", NULL};
static const struct object_reader thing_reader = {.kind = "things",
                                                  .whose = "a thing's",
                                                  .fields = fields,
                                                  .count = COUNT(fields),
                                                  .required = thing_required,
                                                  .needs = "a thing needs nodes",
                                                  .others = thing_others,
                                                  .begin = choose_table,
                                                  .read_others = sum_list,
                                                  .fault = thing_fault};

static void write_thing(const char *name, const char *text)
{
    char *path = mem_format("things/%s.yaml", name);
    scratch_write(path, text, strlen(text));
    free(path);
}

static void things_make(void)
{
    struct error err = {0};
    scratch_make();
    ck_assert_int_eq(mkdir(scratch_path("things"), 0700), 0);
    write_thing("plain", "nodes: {value: 2, source: us}\nnic_rate: {value: 1GB/s, source: us}\n");
    write_thing("plain@big", "nodes: {value: 7, fit: rows, rows: 3}\nnic_rate: 2GB/s\n");
    write_thing("plain@odd", "nodes: 13\n");
    write_thing("plain@list", "list: [1]\n");
    write_thing("long", "kind: long\nnodes: 1\nitems: 5\nlist: [1, 2, 3]\n");
    write_thing("long@big", "items: 6\n");
    write_thing("empty", "nic_rate: 1GB/s\n");
    write_thing("scalar", "5\n");
    write_thing("odd", "nic_rate: 1GB/s\nnodes: 13\n");
    ck_assert_msg(preset_folder(scratch_folder, &err), "%s", err.text);
}

static void things_clear(void)
{
    preset_folder(NULL, NULL);
    scratch_clear();
}

// A thing being read, with room for the longer table.
struct thing_at {
    struct object_reading reading;
    struct thing thing;
    struct provenance sources[COUNT(long_fields)];
    bool seen[COUNT(long_fields)];
    struct error err;
};

static struct thing_at *thing_at(void)
{
    struct thing_at *at = mem_alloc(1, sizeof *at);
    at->reading = (struct object_reading){.reader = &thing_reader,
                                          .object = &at->thing,
                                          .provenance = at->sources,
                                          .seen = at->seen,
                                          .err = &at->err};
    return at;
}

static void thing_free(struct thing_at *at)
{
    provenance_release(at->sources, COUNT(long_fields));
    free(at);
}

START_TEST(variant_over_preset)
{
    struct thing_at *at = thing_at();
    ck_assert_msg(object_load(&at->reading, "plain"), "%s", at->err.text);
    ck_assert_str_eq(at->thing.name, "plain");
    ck_assert(object_load_variant(&at->reading, "plain", "nowhere"));
    ck_assert_uint_eq(at->thing.nodes, 2);
    ck_assert_msg(object_load_variant(&at->reading, "plain", "big"), "%s", at->err.text);
    ck_assert_uint_eq(at->thing.nodes, 7);
    ck_assert_str_eq(at->thing.name, "plain");
    ck_assert(at->seen[0] && at->seen[1] && !at->seen[2]);
    ck_assert_str_eq(at->sources[0].fit, "rows");
    ck_assert(!at->sources[0].source && !provenance_given(&at->sources[1]));
    thing_free(at);
}
END_TEST

START_TEST(document_chooses_its_table)
{
    struct thing_at *at = thing_at();
    ck_assert_msg(object_load(&at->reading, "long"), "%s", at->err.text);
    ck_assert_uint_eq(at->thing.items, 5);
    ck_assert_uint_eq(at->thing.listed, 3);
    ck_assert_msg(object_load_variant(&at->reading, "long", "big"), "%s", at->err.text);
    ck_assert_uint_eq(at->thing.items, 6);
    ck_assert(at->seen[3]);
    thing_free(at);
}
END_TEST

START_TEST(changes_lose_their_source)
{
    struct thing_at *at = thing_at();
    char items[] = "nodes=5", named[] = "name=other", wrong[] = "nodes=13", none[] = "nods=1";
    ck_assert(object_load(&at->reading, "plain"));
    ck_assert_msg(object_change(&at->reading, items), "%s", at->err.text);
    ck_assert_uint_eq(at->thing.nodes, 5);
    ck_assert_str_eq(at->thing.name, "plain*");
    ck_assert(!provenance_given(&at->sources[0]) && at->sources[1].source);
    ck_assert(object_change(&at->reading, named));
    ck_assert_str_eq(at->thing.name, "other*");
    ck_assert(!object_change(&at->reading, wrong));
    ck_assert_str_eq(at->err.text, "nodes: 13: expected another");
    ck_assert(!object_change(&at->reading, none));
    ck_assert_str_eq(at->err.text, "nods: unknown key; did you mean 'nodes'?");
    thing_free(at);
}
END_TEST

static const struct {
    const char *name, *variant, *message;
} no_things[] = {
    {"empty", NULL, "things/empty.yaml:1: nodes: missing; a thing needs nodes"},
    {"scalar", NULL, "things/scalar.yaml:1: expected a thing's keys and values"},
    {"odd", NULL, "things/odd.yaml:2: nodes: 13: expected another"},
    {"plain", "odd", "things/plain@odd.yaml:1: nodes: 13: expected another"},
    {"plain", "list", "things/plain@list.yaml:1: unknown key 'list'"},
};

START_TEST(refuses_things)
{
    struct thing_at *at = thing_at();
    const char *name = no_things[_i].name, *variant = no_things[_i].variant;
    const bool loaded = object_load(&at->reading, name);
    ck_assert(variant ? loaded && !object_load_variant(&at->reading, name, variant) : !loaded);
    ck_assert_msg(strstr(at->err.text, no_things[_i].message) != NULL, "%s", at->err.text);
    thing_free(at);
}
END_TEST

// As data a text reads back whole; for people it has one line of source.
START_TEST(prints_both_ways)
{
    struct thing_at *at = thing_at();
    char *text = NULL;
    size_t length;
    ck_assert(object_load(&at->reading, "plain") &&
              object_load_variant(&at->reading, "plain", "big"));
    for (int exact = 0; exact < 2; exact++) {
        const struct object_text whole = {fields, COUNT(fields), &at->thing, at->sources, exact};
        FILE *out = open_memstream(&text, &length);
        object_print(out, &whole);
        fclose(out);
        ck_assert_str_eq(text, exact ? "nodes: {value: 7, fit: \"rows\", rows: 3}\n"
                                       "nic_rate: 2GB/s\nname: \"plain\"\n"
                                     : "nodes: {value: 7, source: \"fitted to 3 rows of rows\"}\n"
                                       "nic_rate: 2GB/s\nname: \"plain\"\n");
        free(text);
    }
    thing_free(at);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("object");
    TCase *maps = tcase_create("map");
    tcase_add_test(maps, binds);
    tcase_add_test(maps, binds_open);
    tcase_add_loop_test(maps, bind_refuses, 0, COUNT(unbound));
    tcase_add_loop_test(maps, provenance_reads_back, 0, COUNT(lines));
    TCase *things = tcase_create("thing");
    tcase_add_checked_fixture(things, things_make, things_clear);
    tcase_add_test(things, variant_over_preset);
    tcase_add_test(things, document_chooses_its_table);
    tcase_add_test(things, changes_lose_their_source);
    tcase_add_loop_test(things, refuses_things, 0, COUNT(no_things));
    tcase_add_test(things, prints_both_ways);
    suite_add_tcase(suite, maps);
    suite_add_tcase(suite, things);
    return suite_run(suite);
}

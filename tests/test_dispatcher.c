// model/dispatcher: presets, wire bytes, chunk sizes by EP, and every refusal.
#include "base/mem.h"
#include "model/dispatcher.h"
#include "base/preset.h"
#include "tests/fixture.h"
#include "tests/scratch.h"

#include <string.h>
#include <sys/stat.h>

// A cluster of one node with that many ranks, of no name and no GPU's model.
static const struct cluster *cluster_of(uint32_t ranks)
{
    static struct cluster cluster;
    cluster = (struct cluster){.nodes = 1, .gpus_per_node = ranks};
    return &cluster;
}

static struct dispatcher load(const char *what, uint32_t ep)
{
    struct dispatcher dispatcher;
    struct error err;
    ck_assert_msg(dispatcher_load(what, cluster_of(ep), &dispatcher, NULL, &err), "%s", err.text);
    return dispatcher;
}

static const struct {
    const char *name;
    enum dedupe dedupe;
    enum route route;
    enum reduce reduce;
    enum inside inside;
    enum counts counts;
    enum sync sync;
    uint32_t sms, channels; // resolved on a GPU of 132 SMs
} rows[] = {
    {"deepep-normal", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 24, 12},
    {"deepep-ll", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"deepep-ll-rdma", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NIC, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"nccl-flat", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_RANK, INSIDE_NVLINK, COUNTS_EXCHANGE, SYNC_NONE,
     16, 1},
    {"nccl-two-stage", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_NONE, 16, 1},
    {"nccl-agrs", DEDUPE_ALL, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE, 16,
     1},
    {"ll-slots", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_PADDED, SYNC_NONE,
     132, 1},
    {"raw", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_RANK, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE, 132, 1},
    {"nccl-alltoall", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_RANK, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"deepep-normal-gin", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 24, 12},
    {"deepep-ll-rdma-gin", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NIC, COUNTS_NONE,
     SYNC_NONE, 132, 1},
    {"deepep-v2", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 12, 6},
    {"mori-ll", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE, 132,
     1},
    {"pplx-garden", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"uccl-ll", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"uccl-normal", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 24, 12},
    {"trtllm-onesided", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_RANK, INSIDE_NVLINK, COUNTS_NONE,
     SYNC_BARRIER, 132, 1},
    {"nccl-calls-ll", DEDUPE_EXPERT, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_NONE,
     SYNC_NONE, 132, 1},
    {"nccl-calls-normal", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 20, 1},
    {"nccl-ep-ll", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_HOME, INSIDE_NVLINK, COUNTS_NONE, SYNC_NONE,
     132, 1},
    {"nccl-ep-ht", DEDUPE_NODE, ROUTE_RAIL, REDUCE_NODE, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_BARRIER, 16, 1},
    {"trtllm-twosided", DEDUPE_RANK, ROUTE_DIRECT, REDUCE_RANK, INSIDE_NVLINK, COUNTS_EXCHANGE,
     SYNC_NONE, 132, 1},
};

START_TEST(preset_choices)
{
    const struct dispatcher d = load(rows[_i].name, 32);
    struct error err;
    ck_assert_str_eq(d.name, rows[_i].name);
    ck_assert_uint_eq(d.dedupe, rows[_i].dedupe);
    ck_assert_uint_eq(d.route, rows[_i].route);
    ck_assert_uint_eq(d.reduce, rows[_i].reduce);
    ck_assert_uint_eq(d.inside, rows[_i].inside);
    ck_assert_uint_eq(d.counts, rows[_i].counts);
    ck_assert_uint_eq(d.sync, rows[_i].sync);
    ck_assert_uint_eq(d.op, OP_PUSH);
    ck_assert_uint_eq(dispatcher_sms(&d, 132), rows[_i].sms);
    ck_assert_uint_eq(dispatcher_channels(&d, 132), rows[_i].channels);
    ck_assert(dispatcher_check(&d, &err));
}
END_TEST

// Choices and the number of channels say what a dispatcher is; every other figure has a source.
static bool needs_source(const struct field *field)
{
    return field->kind != FIELD_ENUM && field->kind != FIELD_NAMED && field->kind != FIELD_TEXT &&
           strcmp(field->key, "channels") != 0;
}

START_TEST(preset_figures_have_sources)
{
    size_t own, count;
    char **names = preset_all("dispatchers", &own, &count);
    ck_assert_uint_eq(count, sizeof rows / sizeof rows[0]);
    struct provenance *sources = mem_alloc(COST_MAX_FIELDS, sizeof *sources);
    struct dispatcher standard = dispatcher_default();
    for (size_t i = 0; i < count; i++) {
        struct dispatcher d;
        struct error err;
        char *name = names[i];
        ck_assert_msg(dispatcher_load(name, cluster_of(32), &d, sources, &err), "%s", err.text);
        dispatcher_set_cost_model(&standard, d.cost_model);
        for (size_t row = 0; row < d.cost_model->field_count; row++) {
            char a[FIELD_TEXT_BYTES], b[FIELD_TEXT_BYTES];
            const struct field *field = &d.cost_model->fields[row];
            const bool moved =
                strcmp(field_format(field, &d, a), field_format(field, &standard, b)) != 0;
            ck_assert_msg(!moved || !needs_source(field) || provenance_given(&sources[row]),
                          "%s: %s has no source", name, field->key);
        }
        provenance_release(sources, COST_MAX_FIELDS);
        free(name);
    }
    free(names);
    free(sources);
}
END_TEST

static const struct {
    const char *dispatcher;
    enum dtype dtype;
    uint64_t dispatch, combine;
} wires[] = {
    {"deepep-normal", DTYPE_FP8, 7472, 14352},
    {"deepep-normal", DTYPE_BF16, 14416, 14352},
    {"deepep-ll", DTYPE_FP8, 7408, 14336},
    {"deepep-ll", DTYPE_BF16, 14352, 14336},
    {"deepep-ll-rdma", DTYPE_FP8, 7408, 14336},
    {"raw", DTYPE_BF16, 14336, 14336},
    {"nccl-flat", DTYPE_BF16, 14416, 14336},
    // TensorRT-LLM's two-sided: 128-byte lines of 120 bytes; FP8 with one scale a tensor.
    {"trtllm-twosided", DTYPE_FP8, 7783, 15292},
    {"trtllm-twosided", DTYPE_NVFP4, 4370, 15292},
    {"trtllm-onesided", DTYPE_MXFP8, 7456, 14336},
};

START_TEST(wire_bytes)
{
    const struct dispatcher d = load(wires[_i].dispatcher, 32);
    struct moe moe = moe_default();
    moe.hidden = 7168;
    moe.topk = 8;
    moe.dispatch_dtype = wires[_i].dtype;
    ck_assert_uint_eq(dispatcher_dispatch_bytes(&d, &moe, 64), wires[_i].dispatch);
    ck_assert_uint_eq(dispatcher_combine_bytes(&d, &moe), wires[_i].combine);
    moe.latent = moe.hidden; // rows of a latent space as wide, of a model that is wider
    moe.hidden = 16384;
    ck_assert_uint_eq(dispatcher_dispatch_bytes(&d, &moe, 64), wires[_i].dispatch);
    ck_assert_uint_eq(dispatcher_combine_bytes(&d, &moe), wires[_i].combine);
}
END_TEST

static const struct {
    uint32_t ep, dispatch, combine;
} chunks[] = {
    {1, 6, 4},  {8, 6, 4},  {9, 4, 12}, {16, 4, 12}, {17, 4, 8},  {24, 4, 8},
    {32, 4, 8}, {64, 4, 8}, {96, 4, 8}, {128, 4, 8}, {160, 4, 8}, {1024, 4, 8},
};

START_TEST(chunk_sizes_by_ep)
{
    const struct dispatcher d = load("deepep-normal", chunks[_i].ep);
    ck_assert_uint_eq(d.chunk_tokens, chunks[_i].dispatch);
    ck_assert_uint_eq(d.combine_chunk_tokens, chunks[_i].combine);
}
END_TEST

START_TEST(sms_and_channels)
{
    struct dispatcher d = dispatcher_default();
    ck_assert_uint_eq(dispatcher_sms(&d, 132), 132);
    ck_assert_uint_eq(dispatcher_channels(&d, 132), 66);
    d.sms = 24;
    ck_assert_uint_eq(dispatcher_channels(&d, 132), 12);
    ck_assert_uint_eq(dispatcher_sms(&d, 16), 16);
    d.sms = 1;
    ck_assert_uint_eq(dispatcher_channels(&d, 132), 1);
    d.channels = 7;
    ck_assert_uint_eq(dispatcher_channels(&d, 132), 7);
}
END_TEST

#define BASE "dedupe: rank\nroute: direct\nreduce: rank\n"
#define RAIL "dedupe: node\nroute: rail\nreduce: node\n"

static const struct {
    const char *text, *message;
} bad_files[] = {
    {"dedupe: node\nroute: direct\nreduce: rank\n",
     ":1: dedupe: node: needs route: rail, not route: direct"},
    {"route: direct\ndedupe: all\nreduce: rank\n",
     ":2: dedupe: all: needs route: rail, not route: direct"},
    {"dedupe: rank\nroute: direct\nreduce: node\n",
     ":3: reduce: node: needs route: rail, not route: direct"},
    {RAIL "inside: nic\n", ":2: route: rail: needs inside: nvlink, not inside: nic"},
    {"dedupe: expert\nroute: rail\nreduce: home\n",
     ":2: route: rail: needs dedupe: node or all, not dedupe: expert"},
    {RAIL "counts: padded\n", ":4: counts: padded: needs route: direct, not route: rail"},
    {"route: direct\nreduce: rank\n",
     ":1: dedupe: missing; a dispatcher needs dedupe, route and reduce"},
    {"dedupe: rank\nreduce: rank\n", ":1: route: missing"},
    {"dedupe: rank\nroute: direct\n", ":1: reduce: missing"},
    {BASE "chunk_token: 3\n", ":4: unknown key 'chunk_token'; did you mean 'chunk_tokens'?"},
    {BASE "qqqqqqqq: 3\n", ":4: unknown key 'qqqqqqqq'"},
    {BASE "law: strem\n",
     ":4: law: 'strem': did you mean 'stream'? Expected one of stream, staged, "
     "nccl, warps, waves"},
    {BASE "law: 3us\n", ":4: law: '3us': expected one of stream, staged, nccl, warps, waves"},
    {BASE "law:\n", ":4: law: no value given"},
    // A key is one of the cost model's, wherever `law` stands.
    {BASE "nccl_chunk: 64KiB\nlaw: staged\n", ":4: unknown key 'nccl_chunk'"},
    {"law: nccl\n" BASE "dispatch_sm_rate: 20GB/s\n", ":5: unknown key 'dispatch_sm_rate'"},
    {BASE "law: waves\ndispatch_token_rate: 20GB/s\n",
     ":5: unknown key 'dispatch_token_rate'; did you mean 'dispatch_store_rate'?"},
    {BASE "combine_ramp_tokens: 3\nlaw: warps\n", ":4: unknown key 'combine_ramp_tokens'"},
    {BASE "sms: 1\nsms: 2\n", ":5: sms: given twice; first on line 4"},
    {BASE "sms:\n", ":4: sms: no value given"},
    {BASE "sms: -1\n", ":4: sms: '-1': must not be negative"},
    {BASE "chunk_tokens: 0\n", ":4: chunk_tokens: '0': out of range"},
    {BASE "align_bytes: 0\n", ":4: align_bytes: '0': out of range"},
    {BASE "chunk_bytes: 65536\n", ":4: chunk_bytes: '65536': expected "},
    {BASE "dispatch_fixed: 25\n", ":4: dispatch_fixed: '25': expected "},
    {BASE "dispatch_fixed: 25GB/s\n", ":4: dispatch_fixed: '25GB/s': "},
    {BASE "combine_sm_rate: 3us\n", ":4: combine_sm_rate: '3us': "},
    {BASE "sync: barier\n", ":4: sync: 'barier': did you mean 'barrier'?"},
    {"dedupe: nod\n", ":1: dedupe: 'nod': did you mean 'node'?"},
    {"just words\n", ":1: expected a dispatcher's keys and values"},
    {BASE "chunk_by_ep: 3\n",
     ":4: chunk_by_ep: expected a list of {ep: N, dispatch: N, combine: N}"},
    {BASE "chunk_by_ep: []\n", ":4: chunk_by_ep: expected a list"},
    {BASE "chunk_by_ep: {source: \"x\"}\n", ":4: chunk_by_ep: expected a list"},
    {BASE "chunk_by_ep:\n  - 3\n", ":5: chunk_by_ep: expected {ep: N, "},
    {BASE "chunk_by_ep:\n  - {ep: 8, dispatch: 1}\n", ":5: chunk_by_ep: combine: missing"},
    {BASE "chunk_by_ep:\n  - {ep: 8, dispatch: 0, combine: 1}\n",
     ":5: dispatch: '0': out of range"},
    {BASE "chunk_by_ep:\n  - {ep: 8, dispach: 1, combine: 1}\n",
     ":5: unknown key 'dispach'; did you mean 'dispatch'?"},
    {BASE "chunk_by_ep:\n  - {ep: 8, dispatch: 1, combine: 1}\n"
          "  - {ep: 8, dispatch: 1, combine: 1}\n",
     ":6: chunk_by_ep: ep: 8: expected more than the 8 before it"},
    {BASE "chunk_tokens: 3\nchunk_by_ep:\n  - {ep: 8, dispatch: 1, combine: 1}\n",
     ":6: chunk_by_ep: expected either this or chunk_tokens, not both"},
};

START_TEST(bad_file)
{
    const struct fixture fixture = fixture_make(bad_files[_i].text, ".yaml");
    struct dispatcher dispatcher;
    struct error err;
    ck_assert_msg(!dispatcher_load(fixture.path, cluster_of(32), &dispatcher, NULL, &err),
                  "accepted: %s", bad_files[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, bad_files[_i].message, strlen(bad_files[_i].message)) == 0,
                  "%s\nexpected %s", message, bad_files[_i].message);
}
END_TEST

START_TEST(bad_name)
{
    struct dispatcher dispatcher;
    struct error err;
    ck_assert(!dispatcher_load("deepep-norml", cluster_of(32), &dispatcher, NULL, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(err.text,
                     "'deepep-norml': no such dispatcher; did you mean 'deepep-normal'? "
                     "Expected a file or one of deepep-ll, deepep-ll-rdma, deepep-ll-rdma-gin, "
                     "deepep-normal, deepep-normal-gin, deepep-v2, ll-slots, mori-ll, nccl-agrs, "
                     "nccl-alltoall, nccl-calls-ll, nccl-calls-normal, nccl-ep-ht, nccl-ep-ll, "
                     "nccl-flat, nccl-two-stage, pplx-garden, raw, trtllm-onesided, "
                     "trtllm-twosided, uccl-ll, uccl-normal");
}
END_TEST

// A variant says constants of its preset's cost model; it cannot bring another.
START_TEST(variant_keeps_the_cost_model)
{
    static const char base[] = BASE "law: waves\n", same[] = "law: waves\ncombine_wave: 3us\n",
                      other[] = "combine_fixed: 3us\nlaw: nccl\n";
    struct cluster cluster = *cluster_of(8);
    struct dispatcher dispatcher;
    struct error err;
    ck_assert_int_eq(mkdir(scratch_path("dispatchers"), 0700), 0);
    scratch_write("dispatchers/mine.yaml", base, strlen(base));
    scratch_write("dispatchers/mine@a.yaml", same, strlen(same));
    scratch_write("dispatchers/mine@b.yaml", other, strlen(other));
    ck_assert_msg(preset_folder(scratch_folder, &err), "%s", err.text);
    strcpy(cluster.gpu, "a");
    ck_assert_msg(dispatcher_load("mine", &cluster, &dispatcher, NULL, &err), "%s", err.text);
    strcpy(cluster.gpu, "b");
    ck_assert(!dispatcher_load("mine", &cluster, &dispatcher, NULL, &err));
    ck_assert_msg(strstr(err.text, ":2: law: nccl: expected the preset's, waves"), "%s", err.text);
    preset_folder(NULL, NULL);
}
END_TEST

START_TEST(own_file)
{
    const struct fixture fixture =
        fixture_make(RAIL "name: mine\nsms: {value: 8, source: \"tried\"}\n"
                          "chunk_by_ep:\n  - {ep: 16, dispatch: 5, combine: 6}\n",
                     ".yaml");
    const struct dispatcher d = load(fixture.path, 64);
    fixture_remove(&fixture);
    ck_assert_str_eq(d.name, "mine");
    ck_assert_uint_eq(d.sms, 8);
    ck_assert_uint_eq(d.chunk_tokens, 5);
    ck_assert_uint_eq(d.combine_chunk_tokens, 6);
    ck_assert_uint_eq(d.align_bytes, 1);
}
END_TEST

// Keys changed behind a name, over what its variants say; the name is marked.
START_TEST(changed_keys)
{
    const struct cluster cluster = {.nodes = 4, .gpus_per_node = 8, .gpu = "h200"};
    struct dispatcher plain, changed;
    struct error err;
    char name[FIELD_TEXT_BYTES];
    ck_assert_msg(dispatcher_load("deepep-ll", &cluster, &plain, NULL, &err), "%s", err.text);
    ck_assert_msg(
        dispatcher_load("deepep-ll:sms=20,dispatch_fixed=7us", &cluster, &changed, NULL, &err),
        "%s", err.text);
    ck_assert_str_eq(changed.name, "deepep-ll*");
    ck_assert_str_eq(dispatcher_base_name(&changed, name), "deepep-ll");
    ck_assert_uint_eq(changed.sms, 20);
    ck_assert_uint_eq(changed.dispatch.fixed_ps, 7000000);
    ck_assert_uint_eq(changed.combine.fixed_ps, plain.combine.fixed_ps);
    ck_assert_mem_eq(changed.variant, plain.variant, sizeof plain.variant);
    ck_assert(!dispatcher_load("deepep-ll:smss=20", &cluster, &changed, NULL, &err));
    ck_assert_str_eq(err.text, "'deepep-ll:smss=20': smss: unknown key; did you mean 'sms'?");
}
END_TEST

START_TEST(check_without_file)
{
    struct dispatcher d = dispatcher_default();
    struct error err;
    ck_assert(dispatcher_check(&d, &err));
    d.dedupe = DEDUPE_NODE;
    ck_assert(!dispatcher_check(&d, &err));
    ck_assert_str_eq(err.text, "dedupe: node: needs route: rail, not route: direct");
    d.dedupe = DEDUPE_RANK;
    d.align_bytes = 0;
    ck_assert(!dispatcher_check(&d, &err));
    ck_assert_str_eq(err.text, "align_bytes: 0: expected at least 1");
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

int main(void)
{
    Suite *suite = suite_create("dispatcher");
    TCase *tcase = tcase_create("dispatcher");
    tcase_add_loop_test(tcase, preset_choices, 0, COUNT(rows));
    tcase_add_test(tcase, preset_figures_have_sources);
    tcase_add_loop_test(tcase, wire_bytes, 0, COUNT(wires));
    tcase_add_loop_test(tcase, chunk_sizes_by_ep, 0, COUNT(chunks));
    tcase_add_test(tcase, sms_and_channels);
    tcase_add_loop_test(tcase, bad_file, 0, COUNT(bad_files));
    tcase_add_test(tcase, bad_name);
    tcase_add_test(tcase, own_file);
    tcase_add_test(tcase, changed_keys);
    tcase_add_test(tcase, check_without_file);
    suite_add_tcase(suite, tcase);
    TCase *variants = tcase_create("variants");
    tcase_add_checked_fixture(variants, scratch_make, scratch_clear);
    tcase_add_test(variants, variant_keeps_the_cost_model);
    suite_add_tcase(suite, variants);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// model/cluster: presets, YAML, the one-line form and back, and every refusal.
#include "base/mem.h"
#include "model/cluster.h"
#include "base/preset.h"
#include "tests/fixture.h"

static struct cluster load(const char *what)
{
    struct cluster cluster;
    struct error err;
    ck_assert_msg(cluster_load(what, &cluster, NULL, &err), "%s", err.text);
    return cluster;
}

static void expect_equal(const struct cluster *a, const struct cluster *b)
{
    for (size_t row = 0; row < cluster_field_count; row++) {
        char x[FIELD_TEXT_BYTES], y[FIELD_TEXT_BYTES];
        ck_assert_str_eq(field_format(&cluster_fields[row], a, x),
                         field_format(&cluster_fields[row], b, y));
    }
}

START_TEST(h800_figures)
{
    const struct cluster cluster = load("h800-cx7");
    ck_assert_str_eq(cluster.name, "h800-cx7");
    ck_assert_uint_eq(cluster_ranks(&cluster), 32);
    ck_assert_double_eq_tol(cluster.nvlink_Bps, 140e9, 5e9); // fitted
    ck_assert_double_eq(cluster.nvlink_nominal_Bps, 200e9);
    ck_assert_double_eq_tol(cluster.nic_Bps, 47e9, 1e9); // fitted
    ck_assert_double_eq(cluster.nic_nominal_Bps, 50e9);
    ck_assert_uint_eq(cluster.nvlink_latency_ps, 1000000);
    ck_assert_uint_eq(cluster.nic_latency_ps, 2500000);
    ck_assert_uint_eq(cluster.sms, 132);
    ck_assert(cluster.rails);
    ck_assert_uint_eq(cluster_nic_ports(&cluster), 8);
}
END_TEST

// Whatever a preset states beyond its size says where the figure comes from.
START_TEST(preset_figures_have_sources)
{
    struct provenance *sources = mem_alloc(cluster_field_count, sizeof *sources);
    const struct cluster standard = cluster_default();
    size_t own, count;
    char **names = preset_all("clusters", &own, &count);
    for (size_t i = 0; i < count; i++) {
        struct cluster cluster;
        struct error err;
        char *name = names[i];
        ck_assert_msg(cluster_load(name, &cluster, sources, &err), "%s", err.text);
        for (size_t row = 0; row < cluster_field_count; row++) {
            char a[FIELD_TEXT_BYTES], b[FIELD_TEXT_BYTES];
            const struct field *field = &cluster_fields[row];
            const bool moved =
                strcmp(field_format(field, &cluster, a), field_format(field, &standard, b)) != 0;
            const bool size = strcmp(field->key, "name") == 0 || strcmp(field->key, "nodes") == 0;
            ck_assert_msg(!moved || size || provenance_given(&sources[row]), "%s: %s has no source",
                          name, field->key);
        }
        provenance_release(sources, cluster_field_count);
        free(name);
    }
    free(names);
    free(sources);
}
END_TEST

START_TEST(one_line)
{
    const struct cluster cluster =
        load("4x8:nvlink_effective=160GB/s,nic_effective=400Gbps,nic=50GB/"
             "s,nvlink-latency=2us,rails=no");
    ck_assert_str_eq(cluster.name, "custom");
    ck_assert_uint_eq(cluster.nodes, 4);
    ck_assert_uint_eq(cluster.gpus_per_node, 8);
    ck_assert_double_eq(cluster.nvlink_Bps, 160e9);
    ck_assert_double_eq(cluster.nvlink_nominal_Bps, 160e9);
    ck_assert_double_eq(cluster.nic_Bps, 50e9);
    ck_assert_uint_eq(cluster.nvlink_latency_ps, 2000000);
    ck_assert_uint_eq(cluster.nic_latency_ps, 2500000);
    ck_assert(!cluster.rails);
}
END_TEST

START_TEST(smallest_clusters)
{
    ck_assert_uint_eq(cluster_ranks(&(const struct cluster){.nodes = 1, .gpus_per_node = 1}), 1);
    load("1x1");
    load("1x8:nvlink_effective=300GB/s");
    load("32x1:nic_effective=25GB/s");
    load("1024x1:nic_effective=25GB/s");
}
END_TEST

static const char *const line_forms[] = {
    "h800-cx7",
    "hopper-cx7",
    "h100-nvl8",
    "1x1",
    "2x4:nvlink_effective=123.456789GB/s,nic_effective=46.7GB/"
    "s,nics_per_node=2,spine_oversubscription=1.5",
    "2x4:name=mine,nvlink_effective=1GB/s,nic_effective=1GB/s,nic=2GB/"
    "s,gemm_efficiency=0.333,fp8=5e14FLOPS",
    "2x8:nvlink_effective=700GB/s,nic_effective=46GB/s,gpu=b200",
    "b200-cx7:sms=132,bf16=989TFLOPS", // what a line has where it says nothing
    "h800-cx7:gpu=b200,sms=100",
};

START_TEST(line_reads_back)
{
    const struct cluster cluster = load(line_forms[_i]);
    char *line = cluster_line(&cluster);
    const struct cluster again = load(line);
    expect_equal(&cluster, &again);
    free(line);
}
END_TEST

START_TEST(line_is_short)
{
    const struct cluster cluster = load("4x8:nic_effective=50GB/s,nvlink_effective=160GB/s");
    char *line = cluster_line(&cluster);
    ck_assert_str_eq(line, "4x8:nvlink_effective=160GB/s,nic_effective=50GB/s");
    free(line);
}
END_TEST

// Nominal rates alone are scaled by the preset that is changed, or the one most like; effective
// ones stand as they are. GB/s.
static const struct {
    const char *line;
    double nvlink, nvlink_nominal, nic, nic_nominal; // 0: not looked at
    const char *like;                                // whose share of nominal; "": none
} rated[] = {
    {"h800-cx7:nic=400Gbps", 0, 200, 0, 50, "h800-cx7"},
    {"h800-cx7:nic=800Gbps", 0, 200, 0, 100, "h800-cx7"},
    {"h800-cx7:nvlink=450GB/s", 0, 450, 0, 50, "h800-cx7"},
    {"h800-cx7:nic_effective=23GB/s", 0, 200, 23, 50, ""},
    {"h800-cx7:nic_effective=23GB/s,nic=200Gbps", 0, 200, 23, 25, ""},
    {"4x8:nvlink=200GB/s,nic=200Gbps,gpu=h800", 0, 200, 0, 25, "h800-cx7"},
    {"4x8:nvlink_effective=160GB/s,nic_effective=50GB/s", 160, 160, 50, 50, ""},
    {"h100-nvl8:nodes=4,nic_effective=40GB/s", 0, 450, 40, 0, ""},
};

START_TEST(nominal_rates)
{
    const struct cluster cluster = load(rated[_i].line);
    if (rated[_i].nvlink > 0)
        ck_assert_double_eq(cluster.nvlink_Bps, rated[_i].nvlink * 1e9);
    if (rated[_i].nic > 0)
        ck_assert_double_eq(cluster.nic_Bps, rated[_i].nic * 1e9);
    if (rated[_i].nvlink_nominal > 0)
        ck_assert_double_eq(cluster.nvlink_nominal_Bps, rated[_i].nvlink_nominal * 1e9);
    if (rated[_i].nic_nominal > 0)
        ck_assert_double_eq(cluster.nic_nominal_Bps, rated[_i].nic_nominal * 1e9);
    if (!*rated[_i].like)
        return;
    const struct cluster like = load(rated[_i].like);
    ck_assert_double_eq_tol(cluster.nvlink_Bps / cluster.nvlink_nominal_Bps,
                            like.nvlink_Bps / like.nvlink_nominal_Bps, 1e-9);
    if (strchr(rated[_i].line, 'x') != rated[_i].line + 1)
        ck_assert_double_eq_tol(cluster.nic_Bps / cluster.nic_nominal_Bps,
                                like.nic_Bps / like.nic_nominal_Bps, 1e-9);
}
END_TEST

// A GPU that is named brings what a preset says of it, but for what the line says itself.
START_TEST(named_gpu_brings_its_figures)
{
    const struct cluster b200 = load("b200-cx7");
    const struct cluster line = load("1x8:nvlink_effective=700GB/s,gpu=b200");
    const struct cluster part = load("h800-cx7:gpu=b200,hbm=5TB/s");
    const struct cluster unknown = load("1x8:nvlink_effective=700GB/s,gpu=new");
    ck_assert_str_eq(line.architecture, "blackwell");
    ck_assert_uint_eq(line.sms, b200.sms);
    ck_assert_double_eq(line.hbm_Bps, b200.hbm_Bps);
    ck_assert_double_eq(line.bf16_flops, b200.bf16_flops);
    ck_assert_double_eq(part.fp8_flops, b200.fp8_flops);
    ck_assert_double_eq(part.hbm_Bps, 5e12);
    ck_assert_double_eq(part.nvlink_Bps, load("h800-cx7").nvlink_Bps);
    ck_assert_str_eq(unknown.architecture, "");
    ck_assert_uint_eq(unknown.sms, cluster_default().sms);
}
END_TEST

// A rate between what presets have takes after the nearest, and never exceeds what was given.
START_TEST(nominal_rates_of_no_preset)
{
    const struct cluster cluster = load("2x8:nvlink=800GB/s,nic=750Gbps");
    const struct cluster near = load("2x8:nvlink=900GB/s,nic=800Gbps");
    ck_assert_double_eq_tol(cluster.nvlink_Bps / 800e9, near.nvlink_Bps / 900e9, 1e-9);
    ck_assert_double_eq_tol(cluster.nic_Bps / 93.75e9, near.nic_Bps / 100e9, 1e-9);
    ck_assert_double_lt(cluster.nvlink_Bps, 800e9);
    ck_assert_double_lt(cluster.nic_Bps, 93.75e9);
}
END_TEST

START_TEST(yaml_nominal_defaults_to_effective)
{
    const struct fixture fixture = fixture_make("nodes: 2\ngpus_per_node: 4\nnvlink: 100GB/s\n"
                                                "nic: {value: 20GB/s, source: \"measured\"}\n",
                                                ".yaml");
    struct provenance *sources = mem_alloc(cluster_field_count, sizeof *sources);
    struct cluster cluster;
    struct error err;
    ck_assert_msg(cluster_load(fixture.path, &cluster, sources, &err), "%s", err.text);
    fixture_remove(&fixture);
    ck_assert_double_eq(cluster.nvlink_nominal_Bps, 100e9);
    ck_assert_double_eq(cluster.nic_nominal_Bps, 20e9);
    const struct field *nic = field_find(cluster_fields, cluster_field_count, "nic");
    ck_assert_str_eq(sources[nic - cluster_fields].source, "measured");
    provenance_release(sources, cluster_field_count);
    free(sources);
}
END_TEST

static const struct {
    uint32_t gpus, nics, ports;
    double rate;
} ports[] = {{8, 0, 8, 50e9}, {8, 8, 8, 50e9}, {8, 4, 4, 50e9}, {8, 1, 1, 50e9}, {8, 16, 8, 100e9}};

START_TEST(nic_ports)
{
    const struct cluster cluster = {.nodes = 2,
                                    .gpus_per_node = ports[_i].gpus,
                                    .nics_per_node = ports[_i].nics,
                                    .nic_Bps = 50e9};
    ck_assert_uint_eq(cluster_nic_ports(&cluster), ports[_i].ports);
    ck_assert_double_eq(cluster_nic_port_Bps(&cluster), ports[_i].rate);
}
END_TEST

static const struct {
    uint32_t gpus, nics, ep, nodes, gpus_after, nics_after;
} eps[] = {
    {8, 8, 32, 4, 8, 8},    {8, 8, 8, 1, 8, 8},      {8, 8, 4, 1, 4, 4},     {8, 0, 4, 1, 4, 0},
    {8, 4, 4, 1, 4, 2},     {8, 4, 1, 1, 1, 1},      {8, 16, 2, 1, 2, 4},    {72, 0, 32, 1, 32, 0},
    {72, 0, 144, 2, 72, 0}, {8, 8, 1024, 128, 8, 8}, {1, 1, 320, 320, 1, 1},
};

START_TEST(set_ep)
{
    struct cluster cluster = cluster_default();
    struct error err;
    cluster.gpus_per_node = eps[_i].gpus;
    cluster.nics_per_node = eps[_i].nics;
    cluster.nvlink_Bps = cluster.nic_Bps = 1e9;
    ck_assert_msg(cluster_set_ep(&cluster, eps[_i].ep, &err), "%s", err.text);
    ck_assert_uint_eq(cluster.nodes, eps[_i].nodes);
    ck_assert_uint_eq(cluster.gpus_per_node, eps[_i].gpus_after);
    ck_assert_uint_eq(cluster.nics_per_node, eps[_i].nics_after);
    ck_assert_uint_eq(cluster_ranks(&cluster), eps[_i].ep);
    ck_assert_msg(cluster_check(&cluster, &err), "%s", err.text);
}
END_TEST

static const struct {
    uint32_t ep;
    const char *message;
} bad_eps[] = {
    {0, "0: expected 1 to 1024 ranks"},
    {12, "12: expected a multiple of the 8 GPUs of a node"},
    {1025, "1025: expected 1 to 1024 ranks"},
};

// What a measured row calls nodes: hosts, where a cluster is one NVLink domain over several.
START_TEST(set_shape)
{
    static const struct {
        const char *cluster;
        uint32_t nodes, gpus, is_nodes, is_gpus; // is_gpus 0: refused
    } cases[] = {
        {"h800-cx7", 2, 4, 2, 4},
        {"h800-cx7", 2, 16, 0, 0},
        {"gb200-nvl72", 2, 4, 1, 8},
        {"1x8:nvlink_effective=700GB/s,nic_effective=90GB/s", 2, 4, 1, 8},
        {"1x8:nvlink_effective=700GB/s,nic_effective=90GB/s", 2, 2, 2, 2},
        {"gb200-nvl72", 18, 4, 1, 72},
        {"gb200-nvl72", 1, 8, 1, 8},
        {"gb200-nvl72", 1, 73, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cluster cluster;
        struct error err = {0};
        ck_assert(cluster_load(cases[i].cluster, &cluster, NULL, &err));
        const bool ok = cluster_set_shape(&cluster, cases[i].nodes, cases[i].gpus, &err);
        ck_assert_int_eq(ok, cases[i].is_gpus > 0);
        if (!ok)
            continue;
        ck_assert_uint_eq(cluster.nodes, cases[i].is_nodes);
        ck_assert_uint_eq(cluster.gpus_per_node, cases[i].is_gpus);
    }
}
END_TEST

START_TEST(bad_ep)
{
    struct cluster cluster = load("h800-cx7");
    const struct cluster before = cluster;
    struct error err;
    ck_assert(!cluster_set_ep(&cluster, bad_eps[_i].ep, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(err.text, bad_eps[_i].message);
    expect_equal(&cluster, &before);
}
END_TEST

static const struct {
    const char *what, *message; // message: how it begins
} bad_words[] = {
    {"4x8:nvlnk=1GB/s", "'4x8:nvlnk=1GB/s': nvlnk: unknown key; did you mean 'nvlink'?"},
    {"4x8:zzzzzz=1", "'4x8:zzzzzz=1': zzzzzz: unknown key"},
    {"4x8:nvlink=50", "'4x8:nvlink=50': nvlink: '50': expected a rate with its unit"},
    {"4x8:nvlink=50GHz", "'4x8:nvlink=50GHz': nvlink: '50GHz': "},
    {"4x8:nvlink_effective=-1GB/s",
     "'4x8:nvlink_effective=-1GB/s': nvlink_effective: '-1GB/s': must not be negative"},
    {"4x8:nvlink=", "'4x8:nvlink=': nvlink: '': "},
    {"4x8:nvlink", "'4x8:nvlink': 'nvlink': expected key=value"},
    {"4x8:=1GB/s", "'4x8:=1GB/s': '=1GB/s': expected key=value"},
    {"4x8:", "'4x8:': '': expected key=value"},
    {"4x8:nvlink_effective=1GB/s,", "'4x8:nvlink_effective=1GB/s,': '': expected key=value"},
    {"4x8:nic_effective=1GB/s,nic_effective=2GB/s",
     "'4x8:nic_effective=1GB/s,nic_effective=2GB/s': nic_effective: given twice"},
    {"4x8:nodes=2", "'4x8:nodes=2': nodes: given twice"},
    {"1x8:nvlink=1GB/s,bridge_gpus=4",
     "'1x8:nvlink=1GB/s,bridge_gpus=4': bridge_gpus: 4: expected a rate of what they share"},
    {"1x8:nic=1GB/s,inside=nic,bridge=1GB/s",
     "'1x8:nic=1GB/s,inside=nic,bridge=1GB/s': bridge: expected none, for inside is nic"},
    {"4x8:nvlink_effective=1GB/s",
     "'4x8:nvlink_effective=1GB/s': nic: missing or 0; expected a rate, for there are 4"},
    {"4x8", "'4x8': nvlink: missing or 0; expected a rate, for a node has 8 GPUs"},
    {"4x", "'4x': '4x': expected NODESxGPUS, such as 4x8"},
    {"4x8x2:nic_effective=1GB/s", "'4x8x2:nic_effective=1GB/s': gpus_per_node: '8x2': "},
    {"0x8:nvlink_effective=1GB/s",
     "'0x8:nvlink_effective=1GB/s': nodes: '0': out of range; expected 1 to 1024"},
    {"2x0", "'2x0': gpus_per_node: '0': out of range"},
    {"x8:nvlink_effective=1GB/s",
     "'x8:nvlink_effective=1GB/s': 'x8': no such cluster; expected a file or one of "},
    {"nvlink_effective=1GB/s",
     "'nvlink_effective=1GB/s': 'nvlink_effective=1GB/s': expected NODESxGPUS"},
    {"129x8:nvlink_effective=1GB/s,nic_effective=1GB/s",
     "'129x8:nvlink_effective=1GB/s,nic_effective=1GB/s': nodes: 129: expected at most 1024 GPUs "
     "in all, not 1032"},
    {"2x8:nvlink=1GB/s,nic_effective=1GB/s,nics_per_node=3",
     "'2x8:nvlink=1GB/s,nic_effective=1GB/s,nics_per_node=3': nics_per_node: 3: expected "
     "a divisor or a "
     "multiple of the 8 GPUs"},
    {"1x1:spine_oversubscription=0.5",
     "'1x1:spine_oversubscription=0.5': spine_oversubscription: "},
    {"1x1:gemm_efficiency=1.1", "'1x1:gemm_efficiency=1.1': gemm_efficiency: '1.1': out of range"},
    {"1x1:rails=maybe", "'1x1:rails=maybe': rails: 'maybe': expected true or false"},
    {"h800-cx", "'h800-cx': no such cluster; did you mean 'h800-cx7'? Expected a file or one of "},
    {"absent/cluster", "absent/cluster: "},
};

START_TEST(bad_word)
{
    struct cluster cluster;
    struct error err;
    ck_assert_msg(!cluster_load(bad_words[_i].what, &cluster, NULL, &err), "accepted: %s",
                  bad_words[_i].what);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strncmp(err.text, bad_words[_i].message, strlen(bad_words[_i].message)) == 0,
                  "%s\nexpected %s", err.text, bad_words[_i].message);
}
END_TEST

#define SIZE "nodes: 2\ngpus_per_node: 8\n"
#define LINKS "nvlink: 1GB/s\nnic: 1GB/s\n"

static const struct {
    const char *text, *message;
} bad_files[] = {
    {"gpus_per_node: 8\n", ":1: nodes: missing; a cluster needs nodes, gpus_per_node and its"},
    {"nodes: 8\n", ":1: gpus_per_node: missing"},
    {SIZE LINKS "nvlink_latncy: 1us\n",
     ":5: unknown key 'nvlink_latncy'; did you mean 'nvlink_latency'?"},
    {SIZE "nvlink: 50\n", ":3: nvlink: '50': expected a rate with its unit"},
    {SIZE "nvlink: {value: 1us}\n", ":3: nvlink: '1us': "},
    {SIZE "nvlink:\n  source: \"x\"\n", ":4: nvlink: a map without 'value'"},
    {SIZE LINKS "nic_latency: 1GB/s\n", ":5: nic_latency: '1GB/s': "},
    {SIZE LINKS "nic_latency: -1us\n", ":5: nic_latency: '-1us': must not be negative"},
    {SIZE LINKS "nic: 2GB/s\n", ":5: nic: given twice; first on line 4"},
    {SIZE "nvlink: 1GB/s\n", ":1: nic: missing or 0"},
    {SIZE "nvlink: 1GB/s\nnic: 0GB/s\n", ":4: nic: missing or 0"},
    {SIZE LINKS "nics_per_node: 5\n", ":5: nics_per_node: 5: expected a divisor or a multiple"},
    {SIZE LINKS "name: \"a,b\"\n", ":5: name: 'a,b': expected no comma"},
    {"nodes: 1000\ngpus_per_node: 2\n" LINKS, ":1: nodes: 1000: expected at most 1024 GPUs"},
    {"4x8\n", ":1: expected a cluster's keys and values"},
    {"", ": empty"},
};

START_TEST(bad_file)
{
    const struct fixture fixture = fixture_make(bad_files[_i].text, ".yaml");
    struct cluster cluster;
    struct error err;
    ck_assert_msg(!cluster_load(fixture.path, &cluster, NULL, &err), "accepted: %s",
                  bad_files[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, bad_files[_i].message, strlen(bad_files[_i].message)) == 0,
                  "%s\nexpected %s", message, bad_files[_i].message);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

int main(void)
{
    Suite *suite = suite_create("cluster");
    TCase *tcase = tcase_create("cluster");
    tcase_add_test(tcase, h800_figures);
    tcase_add_test(tcase, preset_figures_have_sources);
    tcase_add_test(tcase, one_line);
    tcase_add_test(tcase, smallest_clusters);
    tcase_add_loop_test(tcase, line_reads_back, 0, COUNT(line_forms));
    tcase_add_test(tcase, line_is_short);
    tcase_add_loop_test(tcase, nominal_rates, 0, (int)(sizeof rated / sizeof rated[0]));
    tcase_add_test(tcase, named_gpu_brings_its_figures);
    tcase_add_test(tcase, nominal_rates_of_no_preset);
    tcase_add_test(tcase, yaml_nominal_defaults_to_effective);
    tcase_add_loop_test(tcase, nic_ports, 0, COUNT(ports));
    tcase_add_loop_test(tcase, set_ep, 0, COUNT(eps));
    tcase_add_test(tcase, set_shape);
    tcase_add_loop_test(tcase, bad_ep, 0, COUNT(bad_eps));
    tcase_add_loop_test(tcase, bad_word, 0, COUNT(bad_words));
    tcase_add_loop_test(tcase, bad_file, 0, COUNT(bad_files));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

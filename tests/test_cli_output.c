// The command line: notices, JSON, --show, the command that an output carries, determinism.
#include "tests/cli.h"

#include <jansson.h>
#include <math.h>

// ---- notices -----------------------------------------------------------------------------------

static const struct {
    const char *arguments;
    const char *wants[4]; // in what stands on standard error; none: nothing does
} noticed[] = {
    {"simulate --ep 8 --tokens 8 --check", {"check: conservation and bounds hold"}},
    {"estimate --ep 8 --tokens 8 --check", {"check: conservation and bounds hold"}},
    {"simulate --ep 8 --tokens 8 --check --quiet", {NULL}},
    {"estimate --ep 24 --tokens 16",
     {"256 experts do not divide among 24 ranks: 10 or 11 on each", "--redundant 8",
      "264 slots, 11 on each"}},
    {"compare --ep 24 --tokens 16,32", {"10 or 11 on each"}},
    {"estimate --ep 16 --tokens 16", {NULL}},
    {"estimate --ep 8 --tokens 16 --dispatcher deepep-normal:sms=200",
     {"deepep-normal* moves data on 200 SMs; the GPU has 132"}},
    {"compare --ep 8 --tokens 16 --measured $D/rows.csv",
     {"no row of", "tokens a GPU (16)", "dispatcher (deepep-ll)", "nodes x GPUs (1x8)"}},
    {"compare --ep 8 --tokens 16,512 --measured $D/rows.csv",
     {"no row of", "dispatcher (deepep-ll)"}},
    {"compare --ep 8 --tokens 32 --measured $D/rows.csv", {"routing uniform", "--routing v3"}},
    {"compare --ep 8 --tokens 32 --routing uniform --measured $D/rows.csv", {NULL}},
    {"compare --ep 8 --tokens 32 --routing deepep --measured $D/rows.csv", {NULL}},
    {"compare --tokens 4096 --measured study/measured/h800-cx7.csv",
     {"routing deepep (3.61 nodes a token)", "--routing v3 (3.1"}},
    {"compare --tokens 4096 --routing uniform --measured study/measured/h800-cx7.csv", {NULL}},
    {"compare --ep 8 --tokens 32 --trace traces/minimoe-256e --measured "
     "tests/data/measured-steps.csv",
     {NULL}},
    {"compare --ep 8 --tokens 32 --trace traces/minimoe-256e --layer 0 --measured "
     "tests/data/measured-steps.csv",
     {"no row of", "tokens a GPU (32)", "must be trace"}},
    {"compare --ep 8 --tokens 2000 --trace traces/minimoe-256e --layer 0..2 --dispatcher nccl-flat",
     {"the last 8576 tokens are no whole step"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 0 --engine estimate", {NULL}},
    {"replay --trace traces/minimoe-256e --ep 8 --engine estimate",
     {"one step of 3072 tokens a GPU", "--tokens"}},
    {"replay --trace traces/minimoe-256e --ep 8 --engine estimate --tokens 3072 --step 0", {NULL}},
};

START_TEST(notices)
{
    struct outcome outcome = run(noticed[_i].arguments);
    ck_assert_msg(outcome.exit == 0, "epsim %s: %.600s", noticed[_i].arguments, outcome.err);
    for (int i = 0; i < 4 && noticed[_i].wants[i]; i++)
        ck_assert_msg(strstr(outcome.err, noticed[_i].wants[i]) != NULL,
                      "epsim %s: no '%s' in: %.900s", noticed[_i].arguments, noticed[_i].wants[i],
                      outcome.err);
    const char *newline = strchr(outcome.err, '\n');
    if (noticed[_i].wants[0])
        ck_assert_msg(newline && !newline[1], "more than one line: %.900s", outcome.err);
    else
        ck_assert_str_eq(outcome.err, "");
    outcome_release(&outcome);
}
END_TEST

// ---- help --------------------------------------------------------------------------------------

static const char *const pages[] = {
    "simulate", "estimate",     "compare",      "replay",     "accuracy", "calibrate", "diagnose",
    "trace",    "trace import", "trace export", "trace make", "layout",   "plot",
};

// A command's page, by either way to ask for it, in the list of all.
START_TEST(help_is_one_page)
{
    char arguments[64], line[64];
    snprintf(arguments, sizeof arguments, "help %s", pages[_i]);
    struct outcome help = run(arguments);
    snprintf(arguments, sizeof arguments, "%s --help", pages[_i]);
    struct outcome flag = run(arguments);
    struct outcome list = run("--help");
    ck_assert_int_eq(help.exit, 0);
    ck_assert_int_eq(flag.exit, 0);
    ck_assert_str_eq(help.out, flag.out);
    snprintf(line, sizeof line, "epsim %s: ", pages[_i]);
    ck_assert_int_eq(strncmp(help.out, line, strlen(line)), 0);
    snprintf(line, sizeof line, "\n  %-12s ", pages[_i]);
    ck_assert_ptr_nonnull(strstr(list.out, line));
    outcome_release(&help);
    outcome_release(&flag);
    outcome_release(&list);
}
END_TEST

// ---- JSON --------------------------------------------------------------------------------------

static json_t *parse(const char *arguments, const char *text)
{
    json_error_t error;
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(document != NULL, "epsim %s: line %d: %s", arguments, error.line, error.text);
    return document;
}

static json_t *run_json(const char *arguments)
{
    struct outcome outcome = run(arguments);
    ck_assert_msg(outcome.exit == 0, "epsim %s: %.600s", arguments, outcome.err);
    json_t *document = parse(arguments, outcome.out);
    outcome_release(&outcome);
    return document;
}

// keys: "name:type" with types s(tring), i(nteger), n(umber), o(bject), a(rray), separated by
// spaces.
static bool is_of_type(const json_t *value, char type)
{
    switch (type) {
    case 's':
        return json_is_string(value);
    case 'i':
        return json_is_integer(value);
    case 'n':
        return json_is_number(value) && isfinite(json_number_value(value));
    case 'o':
        return json_is_object(value);
    default:
        return json_is_array(value);
    }
}

static void assert_keys(const json_t *object, const char *keys)
{
    char copy[512], *save = NULL;
    ck_assert(json_is_object(object));
    snprintf(copy, sizeof copy, "%s", keys);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *colon = strchr(word, ':');
        *colon = '\0';
        ck_assert_msg(is_of_type(json_object_get(object, word), colon[1]), "'%s' is not of type %c",
                      word, colon[1]);
    }
}

static void assert_rows(const json_t *document, const char *key, const char *keys)
{
    const json_t *rows = json_object_get(document, key);
    ck_assert_msg(json_array_size(rows) > 0, "no %s", key);
    for (size_t i = 0; i < json_array_size(rows); i++)
        assert_keys(json_array_get(rows, i), keys);
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const json_t *phase_named(const json_t *document, const char *name)
{
    const json_t *phases = json_object_get(document, "phases");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        if (!strcmp(json_string_value(json_object_get(phase, "phase")), name))
            return phase;
    }
    ck_abort_msg("no phase %s", name);
}

#define PHASE_KEYS                                                                                 \
    "phase:s start_us:n end_us:n latency_us:n latency_mean_us:n bytes:i bound_us:n bottleneck:s"

static void assert_timing(const json_t *document)
{
    const json_t *phases = json_object_get(document, "phases");
    double end_us = 0;
    assert_keys(document, "schema:s version:s engine:s seed:i config:o phases:a layer_us:n links:a "
                          "copies:o events:i");
    ck_assert_str_eq(json_string_value(json_object_get(document, "schema")), "epsim.timing/1");
    assert_rows(document, "phases", PHASE_KEYS);
    assert_rows(document, "links", "link:s busiest:s bytes:i utilisation:n");
    assert_keys(json_object_get(document, "copies"), "nodes_per_token:n ranks_per_token:n");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        end_us = fmax(end_us, real(phase, "end_us"));
        ck_assert_double_ge(real(phase, "latency_us") * (1 + 1e-5), real(phase, "bound_us"));
        ck_assert_double_ge(real(phase, "latency_us") * (1 + 1e-5), real(phase, "latency_mean_us"));
    }
    ck_assert_double_eq_tol(real(document, "layer_us"), end_us, 1e-5 * end_us);
}

static const char *const layer_runs[] = {
    "simulate --ep 16 --tokens 32 --json",
    "simulate --ep 16 --tokens 512 --json",
    "estimate --ep 16 --tokens 32 --json",
    "estimate --ep 16 --tokens 512 --loads counted --json",
    "simulate --ep 16 --tokens 32 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --json",
    "estimate --ep 16 --tokens 32 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --json",
    "simulate --ep 4 --tokens 1 --trace $D/trace-good --json",
};

START_TEST(json_of_a_layer)
{
    json_t *document = run_json(layer_runs[_i]);
    assert_timing(document);
    ck_assert_double_gt(real(phase_named(document, "dispatch"), "bytes"), 0);
    ck_assert_double_gt(real(phase_named(document, "combine"), "bytes"), 0);
    static const char *const others[] = {"rmsnorm", "router", "experts"};
    for (size_t i = 0; i < COUNT(others); i++)
        phase_named(document, others[i]);
    const json_t *config = json_object_get(document, "config");
    assert_keys(config, "model:o cluster:o dispatcher:o ep:i tokens_per_gpu:i routing:s layout:s");
    json_decref(document);
}
END_TEST

START_TEST(json_of_a_matrix)
{
    static const char *const engines[] = {"simulate", "estimate"};
    for (size_t e = 0; e < COUNT(engines); e++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments,
                 "%s --traffic tests/data/traffic/incast-8.txt --cluster "
                 "1x8:nvlink_effective=160GB/s --json",
                 engines[e]);
        json_t *document = run_json(arguments);
        assert_timing(document);
        ck_assert_str_eq(json_string_value(json_object_get(document, "engine")), engines[e]);
        ck_assert_uint_eq(json_array_size(json_object_get(document, "phases")), 1);
        // Seven senders of 1 MiB into one port of 160 GB/s.
        const json_t *phase = phase_named(document, "alltoall");
        ck_assert_double_eq_tol(real(phase, "bound_us"), 7 * 1048576 / 160e3, 1e-3);
        ck_assert_double_eq(real(phase, "bytes"), 7 * 1048576 + 7 * 7 * 65536);
        json_decref(document);
    }
}
END_TEST

START_TEST(json_of_accuracy)
{
    json_t *document = run_json("accuracy tests/data/measured-small.csv --json");
    assert_keys(document, "schema:s rows:a groups:a skipped:a median_abs_pct:n p90_abs_pct:n");
    ck_assert_str_eq(json_string_value(json_object_get(document, "schema")), "epsim.accuracy/1");
    assert_rows(document, "rows", "id:s measured_us:n predicted_us:n error_pct:n");
    assert_rows(document, "groups",
                "family:s cluster:s dispatcher:s nodes:i phase:s n:i "
                "median_abs_pct:n p90_abs_pct:n worst_abs_pct:n bias_pct:n");
    assert_rows(document, "skipped", "id:s why:s");
    const json_t *row = json_array_get(json_object_get(document, "rows"), 0);
    ck_assert_double_eq_tol(real(row, "error_pct"),
                            100 * (real(row, "predicted_us") / real(row, "measured_us") - 1), 1e-3);
    json_decref(document);
}
END_TEST

START_TEST(json_of_compare_and_trace)
{
    json_t *compare = run_json("compare --ep 8 --tokens 8,16 --json");
    assert_keys(compare, "schema:s version:s seed:i config:o rows:a");
    assert_rows(compare, "rows", "tokens_per_gpu:i phase:s simulate_us:n estimate_us:n");
    ck_assert_uint_eq(json_array_size(json_object_get(compare, "rows")), 4);
    json_decref(compare);
    json_t *steps = run_json("compare --ep 8 --tokens 8 --trace traces/minimoe-256e --layer 1,2 "
                             "--step 0..3 --json");
    assert_keys(steps, "schema:s version:s seed:i config:o rows:a");
    ck_assert_str_eq(json_string_value(json_object_get(steps, "schema")), "epsim.steps/1");
    assert_rows(steps, "rows",
                "tokens_per_gpu:i layer:i step:i phase:s stat:s simulate_us:n estimate_us:n");
    ck_assert_uint_eq(json_array_size(json_object_get(steps, "rows")), 2 * 4 * 12);
    json_decref(steps);
    json_t *replay =
        run_json("replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 1,2 --json");
    assert_keys(replay, "schema:s version:s seed:i config:o engine:s steps:i phases:a layers:a "
                        "ranks:a");
    assert_rows(replay, "ranks", "layer:i layer_id:i rank:i load_ratio:n experts_us:n");
    ck_assert_uint_eq(json_array_size(json_object_get(replay, "phases")), 3 * 7);
    ck_assert_uint_eq(json_array_size(json_object_get(replay, "layers")), 3);
    ck_assert_uint_eq(json_array_size(json_object_get(replay, "ranks")), 2 * 8);
    json_decref(replay);
    json_t *trace = run_json("trace info $D/trace-good --ep 4 --json");
    assert_keys(trace, "schema:s version:s layers:a tokens:i experts:i topk:i");
    json_decref(trace);
}
END_TEST

// The command that an output carries asks the same question again, to the same answer.
static const char *const repeated[] = {
    "simulate --ep 16 --tokens 32 --json",
    "simulate --ep 16 --tokens 512 --routing deepep --skew-us 12.5 --overlap dispatch --seed 7 "
    "--json",
    "simulate --ep 16 --tokens 300 --sms 24 --layer 3 --aligned --json",
    "simulate --ep 16 --tokens 32 --slow gpu=5:nic=0.5:late=30us,node=1:compute=0.8 --json",
    "simulate --ep 16 --tokens 32 --imbalance --skew-us 9 --json",
    "estimate --ep 16 --tokens 32 --loads counted --json",
    "simulate --model mixtral-8x7b --routing uniform --ep 8 --tokens 64 --layout round-robin "
    "--json",
    "simulate --ep 16 --tokens 32 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --step "
    "3 --json",
    "simulate --traffic tests/data/traffic/uneven-32.txt --cluster "
    "4x8:nvlink_effective=160GB/s,nic_effective=50GB/s "
    "--json",
    "simulate --traffic uniform:64KiB --ep 16 --dispatcher nccl-alltoall --json",
    "simulate --cluster h800-cx7:nic_effective=100GB/s --ep 16 --tokens 16 --json",
    "compare --ep 8 --tokens 8,16 --routing deepep --json",
    "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --json",
    "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --layer 1,2 --step 0..4:2 --json",
    "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --json",
    "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --step 0 --measured "
    "tests/data/measured-steps.csv --json",
    "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 1,3 --step 0..9:3 --skew-us 2.5 "
    "--aligned --json",
    "replay --trace traces/minimoe-256e --ep 16 --engine estimate --model deepseek-v3 -q --json",
    "replay --trace $D/trace-steps --ep 4 --dispatcher nccl-flat --json",
    "accuracy tests/data/measured-small.csv --engine estimate,naive --json",
    "diagnose tests/data/measured-small.csv --json",
    "diagnose tests/data/diagnose/h20-one-nic.csv --interval 99 --json",
    "trace info traces/minimoe-256e --ep 16 --layout round-robin --json",
    "simulate --ep 8 --tokens 16 --skew-us 12.345678901234567 --json",
    "simulate --ep 8 --tokens 16 --skew-us 1e-5 --seed 9007199254740992 --json",
    "simulate --ep 8 --tokens 16 --model \"$D/it's a \\$model; \\`name\\`.yaml\" --routing uniform "
    "--json",
    "simulate --trace \"$D/a trace's\" --ep 4 --tokens 1 --json",
    "simulate --trace $D/trace-steps --ep 4 --step 1 --json",
    "compare --trace $D/trace-steps --ep 4 --step 0..1 --json",
    "trace info \"$D/a trace's\" --ep 4 --json",
    "accuracy tests/data/measured-small.csv --tolerance-pct 1000 --json",
    "accuracy tests/data/measured-small.csv --each phase,sms --engine estimate --json",
    "accuracy tests/data/measured-small.csv --worst 2 --json",
    "compare --ep 16 --tokens 16,32 --measured tests/data/measured-small.csv --tolerance-pct "
    "500.25 "
    "--routing uniform --json",
    "compare --ep 8 --tokens 300 --sms 24 --skew-us 3.3 --overlap combine --layer 2 --json",
    "estimate --cluster '2x4:nvlink_effective=123.456789012345GB/s,nic_effective=46GB/s,name=a b' "
    "--tokens 16 --json",
};

START_TEST(command_repeats_the_run)
{
    struct outcome first = run(repeated[_i]);
    ck_assert_msg(first.exit == 0, "epsim %s: %.600s", repeated[_i], first.err);
    json_t *document = parse(repeated[_i], first.out);
    const char *command = json_string_value(json_object_get(document, "command"));
    ck_assert_ptr_nonnull(command);
    ck_assert_int_eq(strncmp(command, "epsim ", 6), 0);
    char again[1024];
    snprintf(again, sizeof again, "%s --json", command + 6);
    struct outcome second = run(again);
    ck_assert_msg(second.exit == 0, "%s: %.600s", command, second.err);
    ck_assert_msg(!strcmp(first.out, second.out), "epsim %s: '%s' prints something else",
                  repeated[_i], command);
    json_decref(document);
    outcome_release(&first);
    outcome_release(&second);
}
END_TEST

// What --show prints is read back to the same run.
static const struct {
    const char *part, *arguments, *rest; // rest: of the run with the file in place of the flags
} shown[] = {
    {"dispatcher", "--ep 16 --tokens 512", "--ep 16 --tokens 512"},
    {"dispatcher", "--ep 16 --tokens 32", "--ep 16 --tokens 32"},
    {"dispatcher", "--ep 16 --tokens 512 --sms 24", "--ep 16 --tokens 512"},
    {"dispatcher", "--ep 64 --tokens 64 --dispatcher nccl-two-stage", "--ep 64 --tokens 64"},
    {"dispatcher", "--traffic uniform:64KiB --ep 16", "--traffic uniform:64KiB --ep 16"},
    {"cluster", "--ep 16 --tokens 32", "--tokens 32"},
    {"cluster", "--cluster h800-cx7:nic_effective=23.123456789012345GB/s --ep 64 --tokens 32",
     "--tokens 32"},
    {"cluster",
     "--cluster 2x4:nvlink_effective=123.456789012345GB/s,nic_effective=46GB/s --tokens 32",
     "--tokens 32"},
    {"cluster", "--ep 16 --tokens 32 --slow gpu=5:nic=0.5:late=30us,node=1:compute=0.8",
     "--tokens 32"},
    {"cluster", "--traffic tests/data/traffic/incast-8.txt",
     "--traffic tests/data/traffic/incast-8.txt"},
    {"model", "--ep 16 --tokens 32", "--ep 16 --tokens 32"},
    {"model", "--model tests/data/config/mixtral-8x7b.json --ep 8 --routing uniform --tokens 32",
     "--ep 8 --routing uniform --tokens 32"},
    {"model", "--trace traces/minimoe-256e --ep 16 --tokens 32",
     "--trace traces/minimoe-256e --ep 16 --tokens 32"},
};

START_TEST(show_is_read_back)
{
    char arguments[512];
    snprintf(arguments, sizeof arguments, "simulate %s --show %s -o $D/part.yaml",
             shown[_i].arguments, shown[_i].part);
    struct outcome outcome = run(arguments);
    ck_assert_msg(outcome.exit == 0, "epsim %s: %.600s", arguments, outcome.err);
    outcome_release(&outcome);
    snprintf(arguments, sizeof arguments, "simulate %s --json", shown[_i].arguments);
    json_t *first = run_json(arguments);
    snprintf(arguments, sizeof arguments, "simulate --%s $D/part.yaml %s --json", shown[_i].part,
             shown[_i].rest);
    json_t *second = run_json(arguments);
    // Whose figures a file has, and that one was chosen, is another's to say.
    static const char *const others[] = {"command", "extrapolates", "dispatcher_choice"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        json_object_del(first, others[i]);
        json_object_del(second, others[i]);
    }
    ck_assert_msg(json_equal(first, second), "epsim %s: not the run that --show told", arguments);
    json_decref(first);
    json_decref(second);
}
END_TEST

START_TEST(show_all)
{
    struct outcome outcome = run("estimate --show all --tokens 64 --ep 16");
    static const char *const wants[] = {"--model: --show model", "--cluster: --show cluster",
                                        "--dispatcher: --show dispatcher", "nodes: 2\n",
                                        "name: \"deepep-ll\"\n"};
    ck_assert_int_eq(outcome.exit, 0);
    for (size_t i = 0; i < COUNT(wants); i++)
        ck_assert_msg(strstr(outcome.out, wants[i]) != NULL, "no '%s'", wants[i]);
    outcome_release(&outcome);
}
END_TEST

START_TEST(timeline_is_json)
{
    struct outcome outcome = run("simulate --ep 8 --tokens 32 --timeline $D/timeline.json");
    ck_assert_msg(outcome.exit == 0, "%.600s", outcome.err);
    char *text = read_text("timeline.json");
    json_t *document = parse("timeline", text);
    const json_t *events =
        json_is_array(document) ? document : json_object_get(document, "traceEvents");
    ck_assert_uint_gt(json_array_size(events), 8);
    json_decref(document);
    free(text);
    outcome_release(&outcome);
}
END_TEST

// ---- determinism -------------------------------------------------------------------------------

static const char *const steady[] = {
    "simulate --ep 16 --tokens 512 --json",
    "simulate --ep 16 --tokens 64 --trace traces/minimoe-256e --model deepseek-v3 --tsv ranks",
    "simulate --ep 16 --tokens 64 --skew-us 20 --tsv ports",
    "estimate --ep 32 --tokens 512 --json",
    "estimate --ep 32 --tokens 512 --loads counted --json",
    "compare --ep 16 --tokens 1..64:log --tsv compare",
    "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --layer 0..2 --step 1,3 --tsv steps",
    "accuracy tests/data/measured-small.csv --engine simulate,estimate,naive --json",
    "trace info traces/minimoe-256e --json",
    "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 0..2 --step 1,3,5 --json",
    "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --engine estimate --tsv replay-steps",
};

START_TEST(threads_change_nothing)
{
    struct outcome one = run_with("OMP_NUM_THREADS=1", steady[_i]);
    struct outcome two = run_with("OMP_NUM_THREADS=2", steady[_i]);
    struct outcome again = run_with("OMP_NUM_THREADS=2", steady[_i]);
    ck_assert_msg(one.exit == 0, "epsim %s: %.600s", steady[_i], one.err);
    ck_assert_msg(!strcmp(one.out, two.out), "epsim %s: one thread and two differ", steady[_i]);
    ck_assert_msg(!strcmp(two.out, again.out), "epsim %s: two runs differ", steady[_i]);
    outcome_release(&one);
    outcome_release(&two);
    outcome_release(&again);
}
END_TEST

// What stands in -o FILE is what would have been printed.
START_TEST(output_file_is_what_is_printed)
{
    static const char *const kinds[] = {"", "--json", "--tsv traffic"};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        char arguments[128];
        snprintf(arguments, sizeof arguments, "simulate --ep 8 --tokens 16 %s", kinds[k]);
        struct outcome printed = run(arguments);
        strcat(arguments, " -o $D/" TARGET);
        struct outcome filed = run(arguments);
        char *text = read_text(TARGET);
        ck_assert_int_eq(filed.exit, 0);
        ck_assert_str_eq(filed.out, "");
        ck_assert_msg(!strcmp(text, printed.out), "epsim %s: the file differs", arguments);
        free(text);
        outcome_release(&printed);
        outcome_release(&filed);
    }
}
END_TEST

int main(void)
{
    TCase *tests = cli_case("cli output");
    if (!tests)
        return 0;
    tcase_add_loop_test(tests, help_is_one_page, 0, (int)COUNT(pages));
    tcase_add_loop_test(tests, json_of_a_layer, 0, (int)COUNT(layer_runs));
    tcase_add_test(tests, json_of_a_matrix);
    tcase_add_test(tests, json_of_accuracy);
    tcase_add_test(tests, json_of_compare_and_trace);
    tcase_add_loop_test(tests, command_repeats_the_run, 0, (int)COUNT(repeated));
    tcase_add_loop_test(tests, show_is_read_back, 0, (int)COUNT(shown));
    tcase_add_test(tests, show_all);
    tcase_add_test(tests, timeline_is_json);
    tcase_add_loop_test(tests, notices, 0, (int)COUNT(noticed));
    tcase_add_loop_test(tests, threads_change_nothing, 0, (int)COUNT(steady));
    tcase_add_test(tests, output_file_is_what_is_printed);
    return cli_run("cli output", tests);
}

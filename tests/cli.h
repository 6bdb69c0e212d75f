// The program itself, as a person runs it: what the suites of its command line share. The binary is
// the one that $EPSIM names.
#ifndef TESTS_CLI_H
#define TESTS_CLI_H

#include "tests/measured_rows.h"
#include "tests/scratch.h"
#include "tests/suite.h"
#include "base/formats/npy.h"

#include <check.h>
#include <dirent.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TARGET "target" // what -o names in the scratch folder

extern char **environ;

// ---- running -----------------------------------------------------------------------------------

struct outcome {
    int exit; // above 128: ended by that signal
    char *out, *err;
};

static inline char *read_text(const char *name)
{
    FILE *in = fopen(scratch_path(name), "rb");
    ck_assert_ptr_nonnull(in);
    struct stat status;
    ck_assert_int_eq(fstat(fileno(in), &status), 0);
    char *text = calloc((size_t)status.st_size + 1, 1);
    ck_assert_uint_eq(fread(text, 1, (size_t)status.st_size, in), (size_t)status.st_size);
    fclose(in);
    return text;
}

static inline pid_t start(const char *line)
{
    char *arguments[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)line, NULL};
    pid_t child;
    ck_assert_int_eq(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ), 0);
    return child;
}

static inline int finish(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs `$EPSIM arguments` in the shell with an environment ("OMP_NUM_THREADS=1", or ""); $D is the
// scratch folder.
static inline struct outcome run_with(const char *environment, const char *arguments)
{
    char line[1024];
    const int length =
        snprintf(line, sizeof line, "%s \"$EPSIM\" %s >$D/stdout 2>$D/stderr </dev/null",
                 environment, arguments);
    ck_assert_int_lt(length, (int)sizeof line);
    struct outcome outcome = {.exit = finish(start(line))};
    outcome.out = read_text("stdout");
    outcome.err = read_text("stderr");
    return outcome;
}

static inline struct outcome run(const char *arguments)
{
    return run_with("", arguments);
}

static inline void outcome_release(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

// Neither the target nor any temporary of it.
static inline void assert_nothing_written(const char *arguments)
{
    DIR *folder = opendir(scratch_folder);
    ck_assert_ptr_nonnull(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        ck_assert_msg(strcmp(entry->d_name, TARGET) && !strstr(entry->d_name, ".tmp"),
                      "epsim %s: left %s behind", arguments, entry->d_name);
    closedir(folder);
}

static inline void assert_one_line(const char *arguments, const char *err)
{
    const char *newline = strchr(err, '\n');
    ck_assert_msg(!strncmp(err, "epsim: error: ", 14) && newline && !newline[1],
                  "epsim %s: expected one line 'epsim: error: ...', got: %.600s", arguments, err);
}

// ---- what a run finds in the scratch folder ----------------------------------------------------

// Small files, written before every test.
static const struct {
    const char *name, *text;
} files[] = {
    {"empty", ""},
    {"nan.txt", "0 nan\n1 0\n"},
    {"negative.txt", "0 1\n-1 0\n"},
    {"overflow.txt", "0 1\n99999999999999999999 0\n"},
    {"fraction.txt", "0 1.5\n1 0\n"},
    {"word.txt", "0 1\nx 0\n"},
    {"ragged.txt", "0 1 2\n1 0 2\n1 2\n"},
    {"oblong.txt", "0 1 2\n1 0 2\n"},
    {"zeros.txt", "0 0\n0 0\n"},
    {"diagonal.txt", "5 0\n0 5\n"},
    {"one.txt", "5\n"},
    {"comments.txt", "# nothing\n"},
    {"cluster-key.yaml", "nodes: 4\ngpus_per_node: 8\nnvlnk: 160GB/s\n"},
    {"cluster-unit.yaml", "nodes: 4\ngpus_per_node: 8\nnvlink: 160GB\nnic: 50GB/s\n"},
    {"cluster-bare.yaml", "nodes: 4\ngpus_per_node: 8\nnvlink: 160\nnic: 50GB/s\n"},
    {"cluster-nan.yaml", "nodes: 4\ngpus_per_node: 8\nnvlink: nanGB/s\nnic: 50GB/s\n"},
    {"cluster-negative.yaml", "nodes: 4\ngpus_per_node: 8\nnvlink: -160GB/s\nnic: 50GB/s\n"},
    {"cluster-zero.yaml", "nodes: 0\ngpus_per_node: 8\nnvlink: 160GB/s\nnic: 50GB/s\n"},
    {"cluster-no-nic.yaml", "nodes: 4\ngpus_per_node: 8\nnvlink: 160GB/s\n"},
    {"cluster-overflow.yaml", "nodes: 99999999999\ngpus_per_node: 8\nnvlink: 160GB/s\n"},
    {"cluster-twice.yaml", "nodes: 4\nnodes: 4\ngpus_per_node: 8\n"},
    {"cluster-list.yaml", "- 4\n- 8\n"},
    {"broken.yaml", "nodes: [4\n"},
    {"model-key.yaml", "hidden: 7168\nexprts: 256\ntopk: 8\n"},
    {"model-zero.yaml", "hidden: 0\nexperts: 256\ntopk: 8\nintermediate: 2048\n"},
    {"model-topk.yaml", "hidden: 7168\nexperts: 4\ntopk: 8\nintermediate: 2048\n"},
    {"model-dense.json", "{\"hidden_size\": 4096, \"num_hidden_layers\": 32}\n"},
    {"model-broken.json", "{\"hidden_size\": 4096,\n \"n_routed_experts\": [8\n"},
    {"model-list.json", "[1, 2]\n"},
    {"dispatcher-key.yaml", "dedupe: rank\nroute: direct\nsmms: 4\n"},
    {"dispatcher-value.yaml", "dedupe: rnk\nroute: direct\n"},
    {"dispatcher-illegal.yaml", "dedupe: node\nroute: direct\nreduce: home\n"},
    {"dispatcher-unit.yaml", "dedupe: rank\nroute: direct\ndispatch_fixed: 26\n"},
    {"layout-few.yaml",
     "num_slots: 16\ninitial_global_assignments: {3: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "
     "10, 11, 12, 13, 14, 15]}\n"},
    {"layout-range.yaml",
     "num_slots: 8\ninitial_global_assignments: {3: [0, 1, 2, 3, 4, 5, 6, 8]}\n"},
    {"layout-missing.yaml",
     "num_slots: 9\ninitial_global_assignments: {3: [0, 1, 2, 3, 4, 5, 6, 6, 6]}\n"},
    {"layout-count.yaml",
     "num_slots: 9\ninitial_global_assignments: {3: [0, 1, 2, 3, 4, 5, 6, 7]}\n"},
    {"layout-eight.yaml",
     "num_slots: 8\ninitial_global_assignments:\n  5: [7, 6, 5, 4, 3, 2, 1, 0]\n"},
    {"layout-none.yaml", "num_slots: 8\n"},
    {"eight.yaml", "hidden: 512\nexperts: 8\ntopk: 2\nintermediate: 256\n"},
    {"it's a $model; `name`.yaml", "hidden: 512\nexperts: 8\ntopk: 2\nintermediate: 256\n"},
    {"nccl-cut.txt", "# Collective test starting: alltoall_perf\n"
                     "# nThread 1 nGpus 1 minBytes 8\n"
                     "#  Rank  0 Group  0 Pid 1 on a device  0 [0000:1b:00] NVIDIA H100\n"
                     "#       size         count      type   redop    root     time   algbw   "
                     "busbw  #wrong     time   algbw   busbw  #wrong \n"
                     "        4096            64     float    none"},
    {"nccl-wrong.txt", "# Collective test starting: alltoall_perf\n"
                       "# nThread 1 nGpus 1 minBytes 8\n"
                       "#  Rank  0 Group  0 Pid 1 on a device  0 [0000:1b:00] NVIDIA H100\n"
                       "#       size         count      type   redop    root     time   algbw   "
                       "busbw  #wrong     time   algbw   busbw  #wrong \n"
                       "        4096            64     float    none      -1    14.37    0.29    "
                       "0.27       3    14.54    0.28    0.26    N/A\n"},
    {"probe-2.tsv", "# epsim.probe/2\n"},
    {"rows.csv", HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"},
    {"rows-nan.csv", HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,nan,0,s\n"},
    {"rows-negative.csv",
     HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,-60,0,s\n"},
    {"rows-zero.csv", HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"
                             "b,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,0,0,s\n"},
    {"rows-phase.csv", HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispach,,60,0,s\n"},
    {"rows-twice.csv", HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"
                              "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"},
    {"rows-short.csv", HEADER "a,f,h800-cx7\n"},
    {"rows-none.csv", HEADER},
    {"rows-column.csv", "id,family\na,f\n"},
    {"plain.tsv", "rank\tphase\n0\tdispatch\n"},
    {"kind.tsv", "# epsim.ports/1\nphase\tport\ndispatch\tgpu0.nic.tx\n"},
    {"columns.tsv", "# epsim.traffic/1\nphase\tsrc\tbytes\ndispatch\t0\t1\n"},
    {"cell.tsv", "# epsim.traffic/1\nphase\tsrc\tdst\tbytes\ndispatch\t0\t1\tmany\n"},
    {"none.tsv", "# epsim.traffic/1\nphase\tsrc\tdst\tbytes\n"},
    {"good.tsv",
     "# epsim.traffic/1\nphase\tsrc\tdst\tbytes\ndispatch\t0\t1\t5\ndispatch\t1\t0\t6\n"},
};

// Traces of eight experts, top-2: one good, and what can be wrong with one.
static inline void write_trace(const char *name, const char *manifest, const uint8_t *ids)
{
    struct error err;
    char file[64], manifest_name[64];
    snprintf(file, sizeof file, "%s/expert_ids.npy", name);
    snprintf(manifest_name, sizeof manifest_name, "%s/trace.yaml", name);
    ck_assert_int_eq(mkdir(scratch_path(name), 0777), 0);
    if (manifest)
        scratch_write(manifest_name, manifest, strlen(manifest));
    if (ids)
        ck_assert_msg(
            npy_write(scratch_path(file), NPY_U8, (const uint64_t[]){4, 1, 2}, 3, ids, &err), "%s",
            err.text);
}

#define MANIFEST "name: tiny\nexperts: 8\ntopk: 2\nhidden: 512\nintermediate: 256\nlayer_ids: [3]\n"

static inline void write_traces(void)
{
    const uint8_t good[] = {2, 7, 1, 4, 0, 5, 3, 6};
    const uint8_t twice[] = {0, 1, 2, 3, 5, 5, 6, 7};
    const uint8_t range[] = {0, 1, 2, 3, 4, 5, 6, 8};
    write_trace("trace-good", MANIFEST, good);
    write_trace("a trace's", MANIFEST, good);
    write_trace("trace-steps", MANIFEST, good);
    const uint32_t steps[] = {0, 1, 0, 2, 0, 2, 1, 3}; // step 0: ranks 1, 2, 2; step 1: rank 3
    struct error err;
    ck_assert(npy_write(scratch_path("trace-steps/steps.npy"), NPY_U32, (const uint64_t[]){4, 2}, 2,
                        steps, &err));
    write_trace("trace-twice", MANIFEST, twice);
    write_trace("trace-range", MANIFEST, range);
    write_trace("trace-key", MANIFEST "hiden: 5\n", good);
    write_trace("trace-topk",
                "experts: 8\ntopk: 3\nhidden: 512\nintermediate: 256\nlayer_ids: [3]\n", good);
    write_trace("trace-no-manifest", NULL, good);
    write_trace("trace-no-ids", MANIFEST, NULL);
    write_trace("trace-cut", MANIFEST, good);
    ck_assert_int_eq(truncate(scratch_path("trace-cut/expert_ids.npy"), 133), 0);
    write_trace("trace-not-npy", MANIFEST, NULL);
    scratch_write("trace-not-npy/expert_ids.npy", "hello, world", 12);
    write_trace("trace-empty", MANIFEST, NULL);
    scratch_write("trace-empty/expert_ids.npy", "", 0);
}

static inline void set_up(void)
{
    scratch_make();
    setenv("D", scratch_folder, 1);
    for (size_t i = 0; i < COUNT(files); i++)
        scratch_write(files[i].name, files[i].text, strlen(files[i].text));
    write_traces();
    ck_assert_int_eq(link(scratch_path("good.tsv"), scratch_path("linked")), 0);
}

// ---- refusals ----------------------------------------------------------------------------------

#define WANTS 3

struct bad {
    const char *arguments;
    const char *wants[WANTS]; // in the message: place, what is wrong, what was expected
};

static inline void assert_refused(const char *arguments, const char *const wants[WANTS])
{
    struct outcome outcome = run(arguments);
    ck_assert_msg(outcome.exit == 2, "epsim %s: exit %d, not 2; stderr: %.600s", arguments,
                  outcome.exit, outcome.err);
    ck_assert_msg(!outcome.out[0], "epsim %s: printed %.600s", arguments, outcome.out);
    assert_one_line(arguments, outcome.err);
    for (int i = 0; i < WANTS && wants[i]; i++)
        ck_assert_msg(strstr(outcome.err, wants[i]) != NULL, "epsim %s: no '%s' in: %.600s",
                      arguments, wants[i], outcome.err);
    assert_nothing_written(arguments);
    outcome_release(&outcome);
}

// ---- the suite ---------------------------------------------------------------------------------

// A case whose tests have the scratch folder; NULL, and a word on it, without a program to run.
static inline TCase *cli_case(const char *suite)
{
    if (!getenv("EPSIM")) {
        printf("%s: skipped: EPSIM does not name the program\n", suite);
        return NULL;
    }
    TCase *tests = tcase_create("program");
    tcase_add_checked_fixture(tests, set_up, scratch_clear);
    tcase_set_timeout(tests, 120);
    return tests;
}

static inline int cli_run(const char *name, TCase *tests)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

#endif

// The program itself, as a person runs it: what it says to bad input, its exit codes, what it
// leaves behind, and its JSON. The binary is the one that $EPSIM names; without it the suite is
// skipped.
#include "tests/scratch.h"
#include "traces/npy_out.h"

#include <check.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TARGET "target" // what -o names in the scratch folder

extern char **environ;

// ---- running -----------------------------------------------------------------------------------

struct outcome {
    int exit; // above 128: ended by that signal
    char *out, *err;
};

static char *read_text(const char *name)
{
    FILE *in = fopen(scratch_path(name), "rb");
    ck_assert_ptr_nonnull(in);
    char *text = NULL;
    size_t length = 0;
    FILE *copy = open_memstream(&text, &length);
    for (int c; (c = getc(in)) != EOF;)
        putc(c, copy);
    fclose(in);
    ck_assert_int_eq(fclose(copy), 0);
    return text;
}

static pid_t start(const char *line)
{
    char *arguments[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)line, NULL};
    pid_t child;
    ck_assert_int_eq(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ), 0);
    return child;
}

static int finish(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs `$EPSIM arguments` in the shell with an environment ("OMP_NUM_THREADS=1", or ""); $D is the
// scratch folder.
static struct outcome run_with(const char *environment, const char *arguments)
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

static struct outcome run(const char *arguments)
{
    return run_with("", arguments);
}

static void outcome_release(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

// Neither the target nor any temporary of it.
static void assert_nothing_written(const char *arguments)
{
    DIR *folder = opendir(scratch_folder);
    ck_assert_ptr_nonnull(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        ck_assert_msg(strcmp(entry->d_name, TARGET) && !strstr(entry->d_name, ".tmp"),
                      "epsim %s: left %s behind", arguments, entry->d_name);
    closedir(folder);
}

static void assert_one_line(const char *arguments, const char *err)
{
    const char *newline = strchr(err, '\n');
    ck_assert_msg(!strncmp(err, "epsim: error: ", 14) && newline && !newline[1],
                  "epsim %s: expected one line 'epsim: error: ...', got: %.600s", arguments, err);
}

// ---- bad input ---------------------------------------------------------------------------------

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
    {"rows.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                 "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                 "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"},
    {"rows-nan.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                     "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                     "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,nan,0,s\n"},
    {"rows-negative.csv",
     "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
     "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
     "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,-60,0,s\n"},
    {"rows-zero.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                      "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                      "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"
                      "b,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,0,0,s\n"},
    {"rows-phase.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                       "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                       "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispach,,60,0,s\n"},
    {"rows-twice.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                       "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                       "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"
                       "a,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,60,0,s\n"},
    {"rows-short.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                       "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"
                       "a,f,h800-cx7\n"},
    {"rows-none.csv", "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,"
                      "tokens_per_gpu,hidden,dtype,phase,sms,latency_us,derived,source\n"},
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
static void write_trace(const char *name, const char *manifest, const uint8_t *ids)
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

static void write_traces(void)
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

static void set_up(void)
{
    scratch_make();
    setenv("D", scratch_folder, 1);
    for (size_t i = 0; i < COUNT(files); i++)
        scratch_write(files[i].name, files[i].text, strlen(files[i].text));
    write_traces();
    ck_assert_int_eq(link(scratch_path("good.tsv"), scratch_path("linked")), 0);
}

#define WANTS 3

struct bad {
    const char *arguments;
    const char *wants[WANTS]; // in the message: place, what is wrong, what was expected
};

static const struct bad bad_rows[] = {
    // Byte matrices.
    {"simulate --traffic ''", {"--traffic", "''", "expected"}},
    {"simulate --traffic $D/missing.txt", {"--traffic", "/missing.txt", "No such file"}},
    {"simulate --traffic $D", {"--traffic", "directory"}},
    {"simulate --traffic $D/empty", {"--traffic", "/empty", "empty"}},
    {"simulate --traffic $D/comments.txt", {"/comments.txt", "empty"}},
    {"simulate --traffic $D/nan.txt", {"/nan.txt:1", "'nan'", "expected"}},
    {"simulate --traffic $D/negative.txt", {"/negative.txt:2", "'-1'", "expected"}},
    {"simulate --traffic $D/overflow.txt",
     {"/overflow.txt:2", "'99999999999999999999'", "expected"}},
    {"simulate --traffic $D/fraction.txt", {"/fraction.txt:1", "'1.5'", "expected"}},
    {"simulate --traffic $D/word.txt", {"/word.txt:2", "'x'", "expected"}},
    {"simulate --traffic $D/ragged.txt", {"/ragged.txt:3", "expected"}},
    {"simulate --traffic $D/oblong.txt", {"/oblong.txt", "square"}},
    {"simulate --traffic $D/zeros.txt", {"/zeros.txt", "nothing to move"}},
    {"simulate --traffic $D/diagonal.txt", {"/diagonal.txt", "nothing to move"}},
    {"estimate --traffic $D/zeros.txt", {"/zeros.txt", "nothing to move"}},
    {"simulate --traffic $D/one.txt", {"/one.txt", "nothing to move"}},
    {"simulate --traffic tests/data/traffic/incast-8.txt --ep 16",
     {"--traffic", "incast-8.txt", "16"}},
    {"simulate --traffic uniform:1M", {"--traffic", "'1M'", "write MiB"}},
    {"simulate --traffic uniform:0B", {"--traffic", "uniform", "expected"}},
    {"simulate --traffic uniform:-1MiB", {"--traffic", "'-1MiB'", "expected"}},
    {"simulate --traffic uniform:", {"--traffic", "expected"}},
    {"simulate --traffic uniform:1MiB --tokens 5", {"--tokens", "--traffic"}},
    {"simulate --traffic uniform:1MiB --model deepseek-v3", {"--model", "--traffic"}},
    {"simulate --traffic uniform:1MiB --trace traces/minimoe-256e", {"--trace", "--traffic"}},
    {"simulate --traffic uniform:1MiB --dispatcher deepep-ll",
     {"--dispatcher", "deepep-ll", "raw"}},

    // Clusters.
    {"simulate --cluster $D/missing.yaml", {"--cluster", "/missing.yaml", "No such file"}},
    {"simulate --cluster $D", {"--cluster", "directory"}},
    {"simulate --cluster $D/empty", {"--cluster", "/empty", "empty"}},
    {"simulate --cluster ''", {"--cluster", "''", "expected"}},
    {"simulate --cluster $D/cluster-key.yaml", {"/cluster-key.yaml:3", "nvlnk", "'nvlink'"}},
    {"simulate --cluster $D/cluster-unit.yaml",
     {"/cluster-unit.yaml:3: nvlink", "'160GB'", "expected"}},
    {"simulate --cluster $D/cluster-bare.yaml",
     {"/cluster-bare.yaml:3: nvlink", "'160'", "expected"}},
    {"simulate --cluster $D/cluster-nan.yaml",
     {"/cluster-nan.yaml:3: nvlink", "'nanGB/s'", "expected"}},
    {"simulate --cluster $D/cluster-negative.yaml",
     {"/cluster-negative.yaml:3: nvlink", "'-160GB/s'", "expected"}},
    {"simulate --cluster $D/cluster-zero.yaml", {"/cluster-zero.yaml:1: nodes", "expected"}},
    {"simulate --cluster $D/cluster-no-nic.yaml", {"/cluster-no-nic.yaml", "nic", "expected"}},
    {"simulate --cluster $D/cluster-overflow.yaml",
     {"/cluster-overflow.yaml:1: nodes", "expected"}},
    {"simulate --cluster $D/cluster-twice.yaml", {"/cluster-twice.yaml:2", "nodes"}},
    {"simulate --cluster $D/cluster-list.yaml", {"/cluster-list.yaml:1", "expected"}},
    {"simulate --cluster $D/broken.yaml", {"/broken.yaml:"}},
    {"simulate --cluster 4x8:nvlnk=160GB/s", {"--cluster", "nvlnk", "'nvlink'"}},
    {"simulate --cluster 4x8:nvlink=160furlongs,nic=50GB/s",
     {"nvlink", "'160furlongs'", "expected"}},
    {"simulate --cluster 4x8:nvlink=nan,nic=50GB/s", {"nvlink", "'nan'", "expected"}},
    {"simulate --cluster 4x8:nvlink=160GB/s,nic=-50GB/s", {"nic", "'-50GB/s'", "expected"}},
    {"simulate --cluster 4x8:nvlink=1e30GB/s,nic=50GB/s", {"nvlink", "'1e30GB/s'", "expected"}},
    {"simulate --cluster 4x8:nvlink=160GB/s,nic=0GB/s", {"nic", "expected"}},
    {"simulate --cluster 0x8:nvlink=160GB/s,nic=50GB/s", {"--cluster", "0x8", "expected"}},
    {"simulate --cluster 4x:nvlink=160GB/s", {"--cluster", "4x", "expected"}},
    {"simulate --cluster 4x8:nvlink", {"--cluster", "nvlink", "expected"}},
    {"simulate --cluster 9999x8:nvlink=160GB/s,nic=50GB/s", {"--cluster", "1024"}},

    {"simulate --cluster h800-cx7:nics=4", {"--cluster", "nics", "'nics_per_node'"}},

    // Models.
    {"simulate --model $D/missing.json", {"--model", "/missing.json", "No such file"}},
    {"simulate --model $D", {"--model", "directory"}},
    {"simulate --model $D/empty", {"--model", "/empty", "empty"}},
    {"simulate --model ''", {"--model", "''", "expected"}},
    {"simulate --model $D/model-key.yaml", {"/model-key.yaml:2", "exprts", "'experts'"}},
    {"simulate --model $D/model-zero.yaml", {"/model-zero.yaml:1: hidden", "expected"}},
    {"simulate --model $D/model-topk.yaml", {"/model-topk.yaml", "topk", "expected"}},
    {"simulate --model $D/model-dense.json",
     {"/model-dense.json:1", "not an MoE model", "n_routed_experts"}},
    {"simulate --model $D/model-broken.json", {"/model-broken.json:"}},
    {"simulate --model $D/model-list.json", {"/model-list.json:1", "expected"}},

    // Dispatchers.
    {"simulate --dispatcher ''", {"--dispatcher", "''", "expected"}},
    {"simulate --dispatcher $D/missing.yaml", {"--dispatcher", "/missing.yaml", "No such file"}},
    {"simulate --dispatcher $D", {"--dispatcher", "directory"}},
    {"simulate --dispatcher $D/empty", {"--dispatcher", "/empty", "empty"}},
    {"simulate --dispatcher $D/dispatcher-key.yaml", {"/dispatcher-key.yaml:3", "smms", "'sms'"}},
    {"simulate --dispatcher $D/dispatcher-value.yaml",
     {"/dispatcher-value.yaml:1: dedupe", "'rnk'", "rank"}},
    {"simulate --dispatcher $D/dispatcher-illegal.yaml",
     {"/dispatcher-illegal.yaml", "dedupe", "route"}},
    {"simulate --dispatcher $D/dispatcher-unit.yaml",
     {"/dispatcher-unit.yaml:3: dispatch_fixed", "'26'", "expected"}},

    // Layouts.
    {"simulate --layout ''", {"--layout", "''", "expected"}},
    {"simulate --layout $D/missing.yaml", {"--layout", "/missing.yaml", "No such file"}},
    {"simulate --layout $D", {"--layout", "directory"}},
    {"simulate --layout $D/empty", {"--layout", "/empty", "empty"}},
    {"simulate --layout $D/layout-few.yaml", {"/layout-few.yaml", "16 slots"}},
    {"simulate --model $D/eight.yaml --routing uniform --ep 8 --layout $D/layout-range.yaml",
     {"/layout-range.yaml", "8", "expected"}},
    {"simulate --model $D/eight.yaml --routing uniform --ep 8 --layout $D/layout-missing.yaml",
     {"/layout-missing.yaml", "expert 7", "slot"}},
    {"simulate --model $D/eight.yaml --routing uniform --ep 8 --layout $D/layout-count.yaml",
     {"/layout-count.yaml", "8", "9"}},
    {"simulate --layout $D/layout-none.yaml", {"/layout-none.yaml", "initial_global_assignments"}},
    {"simulate --model $D/eight.yaml --routing uniform --ep 16",
     {"--layout", "8 experts", "16 ranks"}},

    // Traces.
    {"simulate --trace ''", {"--trace", "''", "expected"}},
    {"simulate --trace $D/missing", {"--trace", "/missing", "No such file"}},
    {"simulate --trace $D/empty", {"--trace", "/empty", "expected"}},
    {"simulate --trace $D/trace-no-manifest", {"/trace-no-manifest/trace.yaml", "No such file"}},
    {"simulate --trace $D/trace-no-ids", {"/trace-no-ids/expert_ids.npy", "No such file"}},
    {"simulate --trace $D/trace-empty", {"/trace-empty/expert_ids.npy", "empty"}},
    {"simulate --trace $D/trace-not-npy", {"/trace-not-npy/expert_ids.npy", "npy"}},
    {"simulate --trace $D/trace-cut", {"/trace-cut/expert_ids.npy", "5", "8"}},
    {"simulate --trace $D/trace-twice", {"/trace-twice/expert_ids.npy", "token 2", "[5 5]"}},
    {"simulate --trace $D/trace-range", {"/trace-range/expert_ids.npy", "token 3", "8"}},
    {"simulate --trace $D/trace-key", {"/trace-key/trace.yaml:7", "hiden", "hidden'?"}},
    {"simulate --trace $D/trace-topk", {"/trace-topk/expert_ids.npy", "2", "3"}},
    {"simulate --trace $D/trace-good --ep 4 --layer 1", {"--layer", "1"}},
    {"simulate --trace $D/trace-good --ep 4 --tokens 1 --step 1", {"--step", "1"}},
    {"simulate --trace $D/trace-good --model mixtral-8x7b --ep 8 --routing uniform",
     {"--routing", "--trace"}},
    {"simulate --trace traces/minimoe-256e --model mixtral-8x7b", {"--model", "256", "8"}},
    {"simulate --step 1", {"--step", "--trace"}},
    // Traces out.
    {"trace export traces/minimoe-256e --matrix x", {"--matrix", "'x'", "combine"}},
    {"trace export traces/minimoe-256e --matrix combine --layer 0,1", {"--layer 0,1", "one"}},
    {"trace export traces/minimoe-256e --matrix combine --rows 0..9", {"--rows", "--matrix"}},
    {"trace export traces/minimoe-256e --matrix combine --dispatcher raw", {"raw"}},
    {"trace mend x", {"trace", "expected"}},
    {"trace info traces/minimoe-256e --tsv lag", {"--tsv", "'lag'", "lags"}},
    {"simulate --routing trace", {"--routing", "--trace"}},
    {"compare --step 1", {"--step", "--trace"}},
    {"compare --routing trace", {"--routing", "--trace"}},
    {"compare --ep 8 --trace traces/minimoe-256e --routing uniform", {"--routing", "--trace"}},
    {"trace info $D/missing", {"/missing", "No such file"}},
    {"trace info $D/trace-twice", {"/trace-twice/expert_ids.npy", "token 2", "[5 5]"}},
    {"trace info $D/trace-cut", {"/trace-cut/expert_ids.npy", "5", "8"}},
    {"trace info", {"FOLDER"}},
    {"trace make", {"trace make", "one recipe"}},
    {"trace info $D/trace-good --ep 4 --layout $D/layout-eight.yaml",
     {"--layout: ", "layout-eight.yaml:3: ", "no layer 3"}},
    {"layout", {"layout: ''", "make, compare, inspect, import or export"}},
    {"layout balance", {"layout: 'balance'", "expected make"}},
    {"layout make", {"epsim layout make RULE --trace FOLDER"}},
    {"layout make eplb", {"layout make: expected --trace FOLDER"}},
    {"layout make eplb more --trace $D/trace-good", {"epsim layout make RULE"}},
    {"layout make best --trace $D/trace-good", {"layout make: 'best'", "eplb-global"}},
    {"layout make eplb --trace $D/missing", {"--trace: ", "/missing", "No such file"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --redundant 3",
     {"--redundant 3: 11 slots on 4 ranks", "8 or 12"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --plan-on 0.5..0.2",
     {"--plan-on: '0.5..0.2'", "0..0.5"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --plan-on half",
     {"--plan-on: 'half'", "0..0.5"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --plan-on 0..1.5", {"--plan-on: '0..1.5'"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --plan-on 0..0.1",
     {"--plan-on: ", "no token", "4 tokens"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --layer 1", {"--layer: 1: expected 0 to 0"}},
    {"layout make eplb --trace $D/trace-steps --ep 4 --tokens 1", {"--tokens: ", "steps.npy"}},
    {"layout make eplb --trace $D/trace-good --ep 4 --format torch",
     {"--format: 'torch'", "trtllm or sglang"}},
    {"layout make eplb --trace $D/trace-good --replay-on 0..1",
     {"--replay-on has no meaning with layout make"}},
    {"layout make eplb --trace $D/trace-good --routing v3", {"'--routing'", "layout takes no such option"}},
    {"layout make eplb --trace $D/trace-good --json", {"--json has no meaning with layout make"}},
    {"layout compare --trace $D/trace-good --ep 4 --plan-on 0.2..0.6",
     {"--plan-on 0.2..0.6", "--replay-on"}},
    {"layout compare none --trace $D/trace-good --ep 4",
     {"layout compare: 'none'", "search or a file"}},
    {"layout compare $D/layout-eight.yaml --trace $D/trace-good --ep 4 --plan-on 0..1",
     {"layout compare: ", "layout-eight.yaml:3: ", "no layer 3"}},
    {"layout compare --trace $D/trace-good --ep 4 --engine naive",
     {"--engine: 'naive'", "simulate or estimate"}},
    {"layout compare --trace $D/trace-good --ep 4 --tsv layout", {"--tsv: 'layout'", "layouts"}},
    {"layout inspect", {"epsim layout inspect FILE"}},
    {"layout inspect $D/missing.yaml", {"/missing.yaml", "No such file"}},
    {"layout inspect $D/layout-eight.yaml --ep 16", {"layer 5: 8 slots", "16 ranks"}},
    {"layout inspect $D/layout-none.yaml --ep 8", {"layout-none.yaml:1", "initial_global"}},
    {"layout export $D/layout-eight.yaml --ep 8 --redundant 8",
     {"--redundant has no meaning with layout export"}},
    {"trace", {"FOLDER"}},

    // Measured rows.
    {"calibrate", {"expected files of measurements", "nccl-tests"}},
    {"calibrate tests/data/nccl-tests/alltoall-1x8.txt --fit study/fits/nccl-tests.yaml",
     {"--fit: ", "nccl-tests.yaml:4: asked", "--cluster"}},
    {"calibrate tests/data/nccl-tests/alltoall-1x8.txt --fit study/fits/nccl-tests.yaml --cluster "
     "a100-nvl8",
     {"first reason: ", "gpu h100", "a100-nvl8 has a100"}},
    {"calibrate tests/data/nccl-tests/alltoall-1x8.txt tests/data/nccl-tests/alltoall-1x8.txt "
     "--fit study/fits/nccl-tests.yaml --cluster h100-nvl8",
     {"alltoall-1x8.txt:18: id", "stands"}},
    {"accuracy tests/data/nccl-tests/alltoall-1x8.txt $D/missing.csv", {"/missing.csv", "No such"}},
    {"accuracy $D/nccl-cut.txt", {"/nccl-cut.txt:5", "4 cells", "13"}},
    {"accuracy $D/nccl-wrong.txt", {"/nccl-wrong.txt:5", "#wrong: 3", "without errors"}},
    {"accuracy $D/probe-2.tsv", {"/probe-2.tsv:1", "epsim.probe/2", "epsim.probe/1"}},
    {"simulate --traffic pair:0:32:1MiB", {"--traffic", "pair:0:32:1MiB", "32 ranks"}},
    {"simulate --traffic between:1MiB --ep 8", {"--traffic", "moves nothing between 8 ranks"}},
    {"calibrate study/measured/h800-cx7.csv", {"--fit: missing"}},
    {"calibrate study/measured/h800-cx7.csv --fit $D/none.yaml", {"--fit: ", "No such file"}},
    {"calibrate $D/missing.csv --fit study/fits/h800-cx7.yaml", {"/missing.csv", "No such file"}},
    {"calibrate study/measured/h800-cx7.csv --fit study/fits/h800-cx7.yaml --write $D/no/such",
     {"--write: ", "No such file"}},
    {"calibrate study/measured/h800-cx7.csv --fit study/fits/h800-cx7.yaml --tsv left-out",
     {"--tsv: 'left-out': expected calibrate"}},
    {"calibrate study/measured/h800-cx7.csv --fit study/fits/h800-cx7.yaml --cluster nowhere",
     {"0 rows depend on what may move", "first reason"}},
    {"accuracy study/measured/h800-cx7.csv --presets $D/none", {"--presets: ", "folder"}},
    {"accuracy", {"CSV"}},
    {"accuracy $D/missing.csv", {"/missing.csv", "No such file"}},
    {"accuracy $D", {"directory"}},
    {"accuracy $D/empty", {"/empty", "empty"}},
    {"accuracy $D/rows-nan.csv", {"/rows-nan.csv:2: latency_us", "'nan'", "expected"}},
    {"accuracy $D/rows-negative.csv", {"/rows-negative.csv:2: latency_us", "-60", "expected"}},
    {"accuracy $D/rows-zero.csv", {"/rows-zero.csv:3: latency_us", "0", "expected"}},
    {"accuracy $D/rows-phase.csv", {"/rows-phase.csv:2: phase", "'dispach'", "dispatch"}},
    {"accuracy $D/rows-twice.csv", {"/rows-twice.csv:3", "'a'", "2"}},
    {"accuracy $D/rows-short.csv", {"/rows-short.csv:2", "3", "17"}},
    {"accuracy $D/rows-none.csv", {"/rows-none.csv", "row"}},
    {"accuracy $D/rows-column.csv", {"/rows-column.csv", "column"}},
    {"simulate --interval 0", {"--interval", "0", "expected"}},
    {"estimate --interval 100", {"--interval", "100", "expected"}},
    {"compare --interval", {"--interval: "}},
    {"accuracy $D/rows.csv --interval 90%", {"--interval", "'90%'", "expected"}},
    {"calibrate $D/rows.csv --interval 90", {"--interval", "calibrate"}},
    {"simulate --interval 90 --show cluster", {"--interval has no meaning with --show"}},
    {"accuracy $D/rows.csv --tolerance-pct nan", {"--tolerance-pct", "'nan'", "expected"}},
    {"accuracy $D/rows.csv --tolerance-pct -1", {"--tolerance-pct", "-1", "expected"}},
    {"accuracy $D/rows.csv --tolerance-pct 1e99", {"--tolerance-pct", "1e99", "expected"}},
    {"accuracy $D/rows.csv --tolerance-pct 5%", {"--tolerance-pct", "'5%'", "expected"}},
    {"accuracy $D/rows.csv --tolerance-pct ''", {"--tolerance-pct", "expected"}},
    {"accuracy $D/rows.csv --engine real", {"--engine", "'real'", "simulate"}},
    {"accuracy $D/rows.csv --engine ''", {"--engine", "expected LIST"}},
    {"accuracy $D/rows.csv --engine naive,naive", {"--engine", "naive"}},
    {"accuracy $D/rows.csv --by phase --worst 3", {"--by and --worst", "expected one of them"}},
    {"accuracy $D/rows.csv --each phase --by nodes", {"--by and --each", "expected one of them"}},
    {"accuracy $D/rows.csv --each phase,nope", {"--each", "'nope'", "family"}},
    {"accuracy $D/rows.csv --each phase,phase", {"--each", "'phase' stands twice"}},
    {"accuracy $D/rows.csv --worst 0", {"--worst", "0", "expected"}},
    {"accuracy $D/rows.csv --worst -1", {"--worst", "-1", "expected"}},
    {"accuracy $D/rows.csv --worst 3 --tsv accuracy", {"--worst", "accuracy-rows"}},
    {"compare --tolerance-pct 5", {"--tolerance-pct", "--measured"}},
    {"compare --measured ''", {"--measured", "''", "expected"}},
    {"compare --measured $D/missing.csv", {"--measured", "/missing.csv", "No such file"}},
    {"compare --measured $D/rows-nan.csv", {"--measured", "/rows-nan.csv:2: latency_us", "'nan'"}},

    // Numbers on the command line.
    {"simulate --tokens 0", {"--tokens", "0", "expected"}},
    {"simulate --tokens -5", {"--tokens", "-5", "expected"}},
    {"simulate --tokens nan", {"--tokens", "nan", "expected"}},
    {"simulate --tokens 99999999999999", {"--tokens", "99999999999999", "expected"}},
    {"simulate --tokens 4k", {"--tokens", "4k", "expected"}},
    {"simulate --tokens ''", {"--tokens", "expected"}},
    {"simulate --tokens 1,2", {"--tokens", "one count"}},
    {"simulate --tokens", {"--tokens"}},
    {"compare --tokens 8..4", {"--tokens", "8..4"}},
    {"compare --tokens 1..", {"--tokens", "expected"}},
    {"compare --tokens 1..4:lin", {"--tokens", "lin", "expected"}},
    {"compare --layer 1,2", {"--layer", "expected one", "--trace"}},
    {"compare --layer 1.5", {"--layer", "'1.5'", "expected"}},
    {"compare --trace traces/minimoe-256e --ep 8 --step 3..1", {"--step", "3..1", "goes down"}},
    {"compare --trace traces/minimoe-256e --ep 8 --step 0..4:log", {"--step", "'log'", "expected"}},
    {"compare --trace traces/minimoe-256e --ep 8 --tokens 32 --layer 5,6",
     {"--layer", "6", "expected 0 to 5"}},
    {"compare --trace traces/minimoe-256e --ep 8 --tokens 32 --step 0..96:96",
     {"--step", "96", "expected 0 to 95"}},
    {"compare --trace traces/minimoe-256e --ep 8 --tsv compare", {"--tsv", "'compare'", "steps"}},
    {"compare --ep 8 --tsv steps", {"--tsv", "'steps'", "compare"}},
    {"compare --trace traces/minimoe-256e --ep 8 --tokens 64 --measured "
     "tests/data/measured-steps.csv",
     {"measured-steps.csv:10: step: 9000", "expected 0 to 47"}},
    {"replay", {"--trace", "folder of recorded routing"}},
    {"replay --trace ''", {"--trace", "expected"}},
    {"replay --trace $D/missing", {"--trace", "/missing", "No such file"}},
    {"replay --trace $D/trace-twice --ep 4", {"/trace-twice/expert_ids.npy", "an expert twice"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 6",
     {"--layer: 6: expected 0 to 5"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer 0..6:3",
     {"--layer: 6: expected 0 to 5"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --layer x",
     {"--layer", "'x'", "expected"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 48",
     {"--step: 48: expected 0 to 47"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 3..1",
     {"--step", "3..1", "goes down"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --engine naive",
     {"--engine: 'naive': expected simulate or estimate"}},
    {"layout compare eplb --trace traces/minimoe-256e --ep 8 --engine naive",
     {"--engine: 'naive': expected simulate or estimate"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --engine simulate,estimate",
     {"--engine", "expected simulate or estimate"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --tsv steps",
     {"--tsv: 'steps': expected replay, replay-layers, replay-ranks or"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --tsv or", {"--tsv: 'or'"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --json --tsv replay",
     {"--tsv and --json"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --routing v3", {"--routing", "replay"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --loads counted",
     {"--loads", "replay"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --timeline -",
     {"--timeline -: expected a file"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 16,64", {"--tokens", "one count"}},
    {"replay --trace traces/minimoe-256e --ep 8 --model mixtral-8x7b", {"--trace", "top-8 of 256"}},
    {"replay --trace $D/trace-steps --ep 4 --tokens 2", {"--tokens", "steps.npy"}},
    {"replay --trace $D/trace-steps --ep 1 --engine estimate", {"source rank 1; expected below 1"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 stray", {"'stray'", "replay"}},
    {"simulate --ep 0", {"--ep", "0", "expected"}},
    {"simulate --ep -8", {"--ep", "'-8'", "expected"}},
    {"simulate --ep 12", {"--ep", "12", "8"}},
    {"simulate --ep 2048", {"--ep", "2048", "1024"}},
    {"simulate --ep 1e30", {"--ep", "'1e30'", "expected"}},
    {"simulate --sms 0", {"--sms", "0", "expected"}},
    {"simulate --sms 1000", {"--sms", "1000", "132"}},
    {"simulate --skew-us -1", {"--skew-us", "-1", "expected"}},
    {"simulate --skew-us nan", {"--skew-us", "'nan'", "expected"}},
    {"simulate --skew-us inf", {"--skew-us", "'inf'", "expected"}},
    {"simulate --skew-us 1e12", {"--skew-us", "1e12", "expected"}},
    {"simulate --skew-us 5us", {"--skew-us", "'5us'", "expected"}},
    {"simulate --slow ''", {"--slow", "''", "expected"}},
    {"simulate --slow gpu=32:nic=0.5", {"--slow: 'gpu=32'", "expected 0 to 31"}},
    {"simulate --ep 16 --slow node=2:nic=0.5", {"--slow: 'node=2'", "expected 0 to 1"}},
    {"simulate --slow gpu=5:nic=2", {"--slow: gpu=5: nic: '2'", "expected 0.001 to 1"}},
    {"estimate --slow gpu=5:nci=0.5", {"--slow: gpu=5: 'nci'", "expected nic, nvlink"}},
    {"estimate --slow gpu=5:late=300", {"--slow: gpu=5: late: '300'", "expected"}},
    {"compare --slow gpu=5:nic=0.5,gpu=5:nic=0.5", {"--slow: gpu=5: nic", "twice"}},
    {"simulate --cluster h100-nvl8 --slow gpu=5:nic=0.5", {"--slow: gpu=5: nic", "no NICs"}},
    {"simulate --cluster 4x8:nvlink=160GB/s,nic=50GB/s,slow=gpu=32:nic=0.5",
     {"--cluster", "slow: 'gpu=32'", "expected 0 to 31"}},
    {"accuracy $D/rows.csv --slow gpu=5:nic=0.5", {"--slow", "accuracy"}},
    {"simulate --seed -1", {"--seed", "'-1'", "expected"}},
    {"simulate --seed 1.5", {"--seed", "'1.5'", "whole number"}},
    {"simulate --layer -1", {"--layer", "'-1'", "expected"}},
    {"simulate --overlap both", {"--overlap", "'both'", "dispatch"}},
    {"simulate --routing fair", {"--routing", "'fair'", "uniform"}},
    {"simulate --tsv everything", {"--tsv", "'everything'", "phases"}},
    {"simulate --tsv ''", {"--tsv", "expected KIND"}},
    {"simulate --json --tsv phases", {"--json", "--tsv"}},
    {"simulate --imbalance --tsv phases", {"--imbalance", "expected --tsv imbalance"}},
    {"estimate --imbalance --show all", {"--imbalance", "--show"}},
    {"compare --imbalance", {"--imbalance", "compare"}},
    {"simulate --ep 8 --ep 8", {"--ep"}},
    {"simulate --show", {"--show"}},
    {"simulate --show layout", {"--show", "'layout'", "dispatcher"}},
    {"simulate --show all --json", {"--json", "--show"}},
    {"simulate --show model --traffic uniform:1MiB", {"--show model"}},
    {"simulate --show all --sms 1000", {"--sms", "1000", "132"}},
    {"compare --show dispatcher --tokens 1,2", {"--tokens", "one count", "--show"}},
    {"simulate stray", {"'stray'", "simulate"}},
    {"compare stray", {"'stray'", "compare"}},
    {"simulate --no-such-flag", {"--no-such-flag"}},
    {"simulate --tolerance-pct 5", {"--tolerance-pct", "simulate"}},
    {"estimate --timeline t.json", {"--timeline", "estimate"}},
    {"frobnicate", {"'frobnicate'", "--help"}},
    {"help frobnicate", {"'frobnicate'", "--help"}},
    {"help trace inf", {"'inf'", "trace"}},
    {"help simulate info", {"'info'", "simulate"}},
};

static void assert_refused(const char *arguments, const char *const wants[WANTS])
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

START_TEST(bad_input)
{
    const struct bad *row = &bad_rows[_i];
    char with_target[512];
    assert_refused(row->arguments, row->wants);
    // help takes no flags, and a flag without its value would take -o for it.
    if (strncmp(row->arguments, "help", 4) && strcmp(row->arguments, "simulate --tokens") &&
        strcmp(row->arguments, "simulate --show")) {
        snprintf(with_target, sizeof with_target, "%s -o $D/" TARGET, row->arguments);
        assert_refused(with_target, row->wants);
    }
}
END_TEST

// Where output cannot go, and what no figure can be made of: the -o of these rows is their own.
static const struct bad bad_targets[] = {
    {"trace make zipf balanced -o $D/x", {"trace make", "one recipe"}},
    {"trace make zipfs -o $D/x", {"'zipfs'", "no such recipe", "'zipf'?"}},
    {"trace make zipf:alpa=2 -o $D/x", {"alpa", "unknown key", "'alpha'?"}},
    {"trace make zipf:alpha=x -o $D/x", {"alpha", "'x'", "number"}},
    {"trace make zipf:alpha -o $D/x", {"'alpha'", "key=value"}},
    {"trace make zipf:alpha=1,alpha=2 -o $D/x", {"alpha", "twice"}},
    {"trace make $D/missing.yaml -o $D/x", {"/missing.yaml", "No such file"}},
    {"trace make zipf --tokens 3x4 -o $D/x", {"--tokens", "'3x4'", "STEPSxRANKSxTOKENS"}},
    {"trace make zipf --tokens 0 -o $D/x", {"--tokens", "'0'", "a count"}},
    {"trace make zipf --tokens 1x2000x4 -o $D/x", {"--tokens", "1024 ranks"}},
    {"trace make zipf --tokens 1e6x1000x1e6 -o $D/x", {"--tokens", "1e12"}},
    {"trace make zipf --layer 57,58 -o $D/x", {"--layer", "58", "0 to 57"}},
    {"trace make zipf --model deepseek-v4 -o $D/x", {"--model", "deepseek-v4"}},
    {"trace make deepseek-v3-mixed --model mixtral-8x7b -o $D/x",
     {"expert_max_mean", "at most 4", "top-2 of 8"}},
    {"trace make hot-expert:hot_share=0.2 -o $D/x", {"hot_share", "0.2", "1/8"}},
    {"trace make balanced:ranks=7 -o $D/x", {"ranks", "7", "256 experts"}},
    {"trace make balanced --ep 8 -o $D/x", {"--ep", "trace make"}},
    {"trace make zipf", {"trace make", "--output FOLDER"}},
    {"trace make balanced --layer 0 --tokens 8 -o $D/trace-good", {"/trace-good", "not empty"}},
    {"trace make balanced --layer 0 --tokens 8 -o $D/nowhere/x", {"/nowhere/x"}},
    {"simulate --tokens 8 --ep 8 -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"simulate --tokens 8 --ep 8 -o $D", {"--output", "directory"}},
    {"simulate --tokens 8 --ep 8 -o $D/x/", {"--output", "directory"}},
    {"simulate --tokens 8 --ep 8 -o ''", {"--output", "''", "expected"}},
    {"simulate --tokens 8 --ep 8 --json -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"simulate --tokens 8 --ep 8 --tsv ranks -o $D/nowhere/x",
     {"--output", "/nowhere/x", "no folder"}},
    {"simulate --ep 8 --show all -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"simulate --tokens 8 --ep 8 --timeline $D/nowhere/x",
     {"--timeline", "/nowhere/x", "no folder"}},
    {"simulate --tokens 8 --ep 8 --timeline ''", {"--timeline", "''", "expected"}},
    {"simulate --tokens 8 --ep 8 --timeline $D", {"--timeline", "directory"}},
    // Traces in and out.
    {"trace import", {"trace import", "expected one file"}},
    {"trace import tests/data/import/vllm-u1.npy", {"trace import", "--output FOLDER"}},
    {"trace import tests/data/import/vllm-u1.npy -o -", {"trace import", "--output FOLDER"}},
    {"trace import tests/data/import/vllm-u1.npy -o $D/" TARGET, {"vllm-u1.npy", "--model"}},
    {"trace import $D/missing --model olmoe -o $D/" TARGET, {"/missing", "No such file"}},
    {"trace import tests/data/import/sglang.b64 -o $D/" TARGET, {"sglang.b64:1", "--shape"}},
    {"trace import tests/data/import/vllm-u1.npy --order sideways -o $D/" TARGET,
     {"--order", "'sideways'", "positions"}},
    {"trace import tests/data/import/vllm-u1.npy --model tests/data/import/model.yaml -o $D/none/x",
     {"/none/x", "No such file"}},
    {"trace import tests/data/import/vllm-u1.npy --model tests/data/import/model.yaml -o $D",
     {"not empty", "expected a new folder"}},
    {"trace import tests/data/import/counts.npy --model tests/data/import/model.yaml -o $D/" TARGET,
     {"counts.npy", "--ep"}},
    {"trace import tests/data/import/vllm-u1.npy --matrix dispatch -o $D/" TARGET,
     {"--matrix", "trace import"}},
    {"trace export", {"trace export", "expected one trace's folder"}},
    {"trace export traces/minimoe-256e", {"trace export", "--output FOLDER"}},
    {"trace export $D/missing -o $D/" TARGET, {"/missing", "No such file"}},
    {"trace export traces/minimoe-256e -o $D", {"not empty"}},
    {"trace export traces/minimoe-256e --layer 6 -o $D/" TARGET, {"--layer", "6", "0 to 5"}},
    {"trace export traces/minimoe-256e --layer x -o $D/" TARGET, {"--layer", "'x'"}},
    {"trace export traces/minimoe-256e --step 1 -o $D/" TARGET, {"--step", "--tokens and --ep"}},
    {"trace export traces/minimoe-256e --rows 7..3 -o $D/" TARGET, {"--rows", "FIRST..LAST"}},
    {"trace export traces/minimoe-256e --rows 5 -o $D/" TARGET, {"--rows", "FIRST..LAST"}},
    {"trace export traces/minimoe-256e --rows 0..24576 -o $D/" TARGET, {"--rows", "24575"}},
    {"trace export traces/minimoe-256e --model olmoe -o $D/" TARGET, {"--model", "--matrix"}},
    {"simulate --tokens 8 --ep 8 --timeline $D/" TARGET " -o $D/nowhere/x",
     {"--output", "/nowhere/x", "no folder"}},
    {"simulate --tokens 8 --ep 8 --timeline $D/" TARGET " -o $D/" TARGET,
     {"--timeline", "/" TARGET, "--output"}},
    {"simulate --tokens 8 --ep 8 --timeline $D/" TARGET " -o $D/./" TARGET,
     {"--timeline", "/" TARGET, "--output"}},
    {"simulate --tokens 8 --ep 8 --timeline $D/linked -o $D/good.tsv", {"--timeline", "--output"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --timeline $D/nowhere/x",
     {"--timeline", "/nowhere/x", "no folder"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --timeline $D/linked -o "
     "$D/good.tsv",
     {"--timeline", "--output"}},
    {"replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 -o $D/nowhere/x",
     {"--output", "/nowhere/x", "no folder"}},
    {"estimate --tokens 8 --ep 8 -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"compare --tokens 8 --ep 8 -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"accuracy $D/rows.csv -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"trace info $D/trace-good --ep 8 -o $D/nowhere/x", {"--output", "/nowhere/x", "no folder"}},
    {"plot $D/good.tsv -o $D/nowhere/x.svg", {"/nowhere/x.svg", "no folder"}},
    {"plot $D/good.tsv -o $D", {"expected"}},
    {"plot $D/good.tsv -o $D/" TARGET, {"/" TARGET, ".svg"}},
    {"plot $D/good.tsv", {"-o"}},
    {"plot -o $D/" TARGET ".svg", {"FILE.tsv"}},
    {"plot $D/missing.tsv -o $D/" TARGET ".svg", {"/missing.tsv", "No such file"}},
    {"plot $D -o $D/" TARGET ".svg", {"directory"}},
    {"plot $D/empty -o $D/" TARGET ".svg", {"/empty", "empty"}},
    {"plot $D/plain.tsv -o $D/" TARGET ".svg", {"/plain.tsv:1", "epsim"}},
    {"plot $D/kind.tsv -o $D/" TARGET ".svg", {"/kind.tsv:1", "ports", "traffic"}},
    {"plot $D/columns.tsv -o $D/" TARGET ".svg", {"/columns.tsv:2", "dst"}},
    {"plot $D/cell.tsv -o $D/" TARGET ".svg", {"/cell.tsv:3", "bytes", "'many'"}},
    {"plot $D/none.tsv -o $D/" TARGET ".svg", {"/none.tsv", "row"}},
};

START_TEST(bad_target)
{
    assert_refused(bad_targets[_i].arguments, bad_targets[_i].wants);
    ck_assert_int_ne(access(scratch_path(TARGET ".svg"), F_OK), 0);
}
END_TEST

// A file that was there before is left as it was when a run fails.
START_TEST(failure_keeps_the_old_file)
{
    scratch_write("kept", "old\n", 4);
    struct outcome outcome = run("simulate --traffic $D/zeros.txt -o $D/kept");
    ck_assert_int_eq(outcome.exit, 2);
    char *kept = read_text("kept");
    ck_assert_str_eq(kept, "old\n");
    free(kept);
    outcome_release(&outcome);
}
END_TEST

// The timeline is whole before a result is shown, and kept when the result cannot be.
START_TEST(timeline_before_result)
{
    struct outcome outcome = run("simulate --tokens 8 --ep 8 --timeline $D/kept -o /dev/full");
    ck_assert_int_eq(outcome.exit, 4);
    ck_assert_int_eq(access(scratch_path("kept"), F_OK), 0);
    outcome_release(&outcome);
    outcome = run("simulate --tokens 8 --ep 8 --timeline /dev/full");
    ck_assert_int_eq(outcome.exit, 4);
    ck_assert_str_eq(outcome.out, "");
    outcome_release(&outcome);
}
END_TEST

// ---- notices -----------------------------------------------------------------------------------

static const struct {
    const char *arguments;
    const char *wants[4]; // in what stands on standard error; none: nothing does
} noticed[] = {
    {"simulate --ep 8 --tokens 8 --check", {"check: conservation and bounds hold"}},
    {"estimate --ep 8 --tokens 8 --check", {"check: conservation and bounds hold"}},
    {"simulate --ep 8 --tokens 8 --check --quiet", {NULL}},
    {"compare --ep 8 --tokens 16 --measured $D/rows.csv",
     {"no row of", "tokens a GPU (16)", "dispatcher (deepep-ll)", "nodes x GPUs (1x8)"}},
    {"compare --ep 8 --tokens 16,512 --measured $D/rows.csv", {"no row of", "by tokens"}},
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

// ---- exit codes --------------------------------------------------------------------------------

static const struct {
    const char *environment, *arguments;
    int exit;
    const char *want; // in the one line on standard error; NULL: nothing there
} exits[] = {
    {"", "simulate --tokens 8 --ep 8", 0, NULL},
    {"", "--help", 0, NULL},
    {"", "--version", 0, NULL},
    {"", "accuracy $D/rows.csv", 0, NULL},
    {"", "accuracy $D/rows.csv --tolerance-pct 1000", 0, NULL},
    {"", "accuracy $D/rows.csv --tolerance-pct 0.01", 1, NULL},
    {"", "accuracy $D/rows.csv --tolerance-pct 0.01 --json", 1, NULL},
    {"", "accuracy $D/rows.csv --engine naive,simulate --tolerance-pct 0", 1, NULL},
    {"", "compare --ep 8 --tokens 32 --routing uniform --measured $D/rows.csv --tolerance-pct 0.01",
     1, NULL},
    {"", "compare --ep 8 --tokens 32 --routing uniform --measured $D/rows.csv --tolerance-pct 500",
     0, NULL},
    {"",
     "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --measured "
     "tests/data/measured-steps.csv --tolerance-pct 3",
     1, NULL},
    {"",
     "compare --ep 8 --tokens 32 --trace traces/minimoe-256e --measured "
     "tests/data/measured-steps.csv --tolerance-pct 6",
     0, NULL},
    {"PATH=/nonexistent", "plot $D/good.tsv -o $D/" TARGET ".svg", 3, "gnuplot"},
    {"", "simulate --tokens 8 --ep 8 -o /dev/full", 4, "/dev/full"},
    {"", "simulate --tokens 8 --ep 8 --json -o /dev/full", 4, "/dev/full"},
    {"", "simulate --tokens 8 --ep 8 --timeline /dev/full", 4, "/dev/full"},
    {"", "simulate --show all -o /dev/full", 4, "/dev/full"},
    {"", "compare --tokens 8 --ep 8 -o /dev/full", 4, "/dev/full"},
    {"", "accuracy $D/rows.csv -o /dev/full", 4, "/dev/full"},
    {"", "accuracy $D/rows.csv --tolerance-pct 0.01 -o /dev/full", 4, "/dev/full"},
    {"", "trace info $D/trace-good --ep 8 -o /dev/full", 4, "/dev/full"},
    {"", "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --engine estimate", 0,
     NULL},
    {"",
     "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --engine estimate -o "
     "/dev/full",
     4, "/dev/full"},
    {"",
     "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --engine estimate --tsv "
     "replay-steps -o /dev/full",
     4, "/dev/full"},
    {"",
     "replay --trace traces/minimoe-256e --ep 8 --tokens 64 --step 0 --engine estimate --timeline "
     "/dev/full",
     4, "/dev/full"},
};

START_TEST(exit_code)
{
    struct outcome outcome = run_with(exits[_i].environment, exits[_i].arguments);
    ck_assert_msg(outcome.exit == exits[_i].exit, "epsim %s: exit %d, not %d; stderr: %.600s",
                  exits[_i].arguments, outcome.exit, exits[_i].exit, outcome.err);
    if (exits[_i].want) {
        assert_one_line(exits[_i].arguments, outcome.err);
        ck_assert_msg(strstr(outcome.err, exits[_i].want) != NULL, "%.600s", outcome.err);
    } else {
        ck_assert_str_eq(outcome.err, "");
        ck_assert_msg(outcome.out[0], "epsim %s: printed nothing", exits[_i].arguments);
    }
    assert_nothing_written(exits[_i].arguments);
    ck_assert_int_ne(access(scratch_path(TARGET ".svg"), F_OK), 0);
    outcome_release(&outcome);
}
END_TEST

// Standard output that takes nothing: a full disk, and none at all.
static const char *const printing[] = {
    "--help",
    "--version",
    "help simulate",
    "simulate --help",
    "simulate --tokens 8 --ep 8",
    "simulate --tokens 8 --ep 8 --json",
    "simulate --tokens 8 --ep 8 --tsv ports",
    "simulate --show all",
    "simulate --tokens 8 --ep 8 -o -",
    "compare --tokens 8 --ep 8",
    "accuracy $D/rows.csv",
    "accuracy $D/rows.csv --tolerance-pct 0.01",
    "trace info $D/trace-good --ep 8",
};

START_TEST(full_standard_output)
{
    static const char *const sinks[] = {">/dev/full", ">&-"};
    for (size_t s = 0; s < COUNT(sinks); s++) {
        char line[512];
        snprintf(line, sizeof line, "\"$EPSIM\" %s 2>$D/stderr %s", printing[_i], sinks[s]);
        const int exit = finish(start(line));
        char *err = read_text("stderr");
        ck_assert_msg(exit == 4, "epsim %s %s: exit %d, not 4; stderr: %.600s", printing[_i],
                      sinks[s], exit, err);
        assert_one_line(printing[_i], err);
        ck_assert_msg(strstr(err, "standard output") != NULL, "%.600s", err);
        free(err);
    }
}
END_TEST

// ---- signals -----------------------------------------------------------------------------------

static bool temporary_exists(void)
{
    bool found = false;
    DIR *folder = opendir(scratch_folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        found = found || strstr(entry->d_name, ".tmp");
    closedir(folder);
    return found;
}

// Waits until the run has begun to write, or has ended; false when it has ended.
static bool wait_for_temporary(pid_t child)
{
    const struct timespec pause = {.tv_nsec = 200000};
    while (!temporary_exists()) {
        siginfo_t info = {0};
        ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        if (info.si_pid)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static const struct {
    const char *arguments;
    int signal;
} interrupted[] = {
    {"simulate --ep 64 --tokens 16384 --dispatcher deepep-normal --timeline $D/" TARGET, SIGTERM},
    {"simulate --ep 64 --tokens 16384 --dispatcher deepep-normal --timeline $D/" TARGET, SIGINT},
    {"simulate --ep 64 --tokens 16384 --dispatcher deepep-normal --timeline $D/" TARGET, SIGHUP},
    {"estimate --ep 256 --tokens 8 --tsv traffic -o $D/" TARGET, SIGTERM},
    {"replay --trace traces/minimoe-256e --tokens 1 --tsv replay-steps -o $D/" TARGET, SIGINT},
    {"replay --trace traces/minimoe-256e --tokens 1 --timeline $D/" TARGET, SIGTERM},
};

START_TEST(signal_leaves_nothing)
{
    char line[512];
    snprintf(line, sizeof line, "exec \"$EPSIM\" %s >$D/stdout 2>$D/stderr",
             interrupted[_i].arguments);
    const pid_t child = start(line);
    if (!wait_for_temporary(child)) { // too quick to be caught: then the file is there, whole
        ck_assert_int_eq(finish(child), 0);
        ck_assert_int_eq(access(scratch_path(TARGET), F_OK), 0);
        return;
    }
    ck_assert_int_eq(kill(child, interrupted[_i].signal), 0);
    const int exit = finish(child);
    if (exit == 0) // it had just been renamed
        return;
    ck_assert_int_eq(exit, 128 + interrupted[_i].signal);
    assert_nothing_written(interrupted[_i].arguments);
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
                 "%s --traffic tests/data/traffic/incast-8.txt --cluster 1x8:nvlink=160GB/s --json",
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
    "simulate --traffic tests/data/traffic/uneven-32.txt --cluster 4x8:nvlink=160GB/s,nic=50GB/s "
    "--json",
    "simulate --traffic uniform:64KiB --ep 16 --dispatcher nccl-alltoall --json",
    "simulate --cluster h800-cx7:nic=100GB/s --ep 16 --tokens 16 --json",
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
    "estimate --cluster '2x4:nvlink=123.456789012345GB/s,nic=46GB/s,name=a b' --tokens 16 --json",
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
    {"cluster", "--cluster h800-cx7:nic=23.123456789012345GB/s --ep 64 --tokens 32", "--tokens 32"},
    {"cluster", "--cluster 2x4:nvlink=123.456789012345GB/s,nic=46GB/s --tokens 32", "--tokens 32"},
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
    static const char *const others[] = {"command", "extrapolates"}; // whose figures a file has
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
    if (!getenv("EPSIM")) {
        puts("cli: skipped: EPSIM does not name the program");
        return 0;
    }
    Suite *suite = suite_create("cli");
    TCase *tests = tcase_create("program");
    tcase_add_checked_fixture(tests, set_up, scratch_clear);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, bad_input, 0, (int)COUNT(bad_rows));
    tcase_add_loop_test(tests, bad_target, 0, (int)COUNT(bad_targets));
    tcase_add_test(tests, failure_keeps_the_old_file);
    tcase_add_loop_test(tests, exit_code, 0, (int)COUNT(exits));
    tcase_add_loop_test(tests, full_standard_output, 0, (int)COUNT(printing));
    tcase_add_loop_test(tests, json_of_a_layer, 0, (int)COUNT(layer_runs));
    tcase_add_test(tests, json_of_a_matrix);
    tcase_add_test(tests, json_of_accuracy);
    tcase_add_test(tests, json_of_compare_and_trace);
    tcase_add_loop_test(tests, command_repeats_the_run, 0, (int)COUNT(repeated));
    tcase_add_loop_test(tests, show_is_read_back, 0, (int)COUNT(shown));
    tcase_add_test(tests, show_all);
    tcase_add_test(tests, timeline_is_json);
    tcase_add_test(tests, timeline_before_result);
    tcase_add_loop_test(tests, notices, 0, (int)COUNT(noticed));
    tcase_add_loop_test(tests, threads_change_nothing, 0, (int)COUNT(steady));
    tcase_add_test(tests, output_file_is_what_is_printed);
    suite_add_tcase(suite, tests);
    tests = tcase_create("signals");
    tcase_add_checked_fixture(tests, set_up, scratch_clear);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, signal_leaves_nothing, 0, (int)COUNT(interrupted));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

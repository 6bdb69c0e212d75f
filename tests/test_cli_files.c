// The command line: what is left in files, or not, by refusals, failures, full disks and signals.
#include "tests/cli.h"

#include <signal.h>
#include <time.h>

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

// A preset that no file can be called by: no folder is left for it.
START_TEST(refused_presets_leave_nothing)
{
    struct outcome outcome =
        run("calibrate tests/data/nccl-tests/alltoall-1x8.txt --fit nccl-rates --cluster "
            "1x8:name=a/b,nvlink_effective=300GB/s,nic_effective=45GB/s --write $D/fitted");
    ck_assert_int_eq(outcome.exit, 2);
    ck_assert_msg(strstr(outcome.err, "--write: 'a/b'"), "%s", outcome.err);
    ck_assert_int_ne(access(scratch_path("fitted"), F_OK), 0);
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

// A file holds what is printed without -o.
static const char *const to_files[] = {
    "simulate --tokens 8 --ep 8",
    "estimate --tokens 8 --ep 8 --json",
    "simulate --ep 8 --show all",
    "compare --tokens 8 --ep 8",
    "replay --trace $D/trace-good --ep 4 --tokens 1",
    "replay --trace $D/trace-good --ep 4 --tokens 1 --tsv replay-steps",
    "accuracy $D/rows.csv",
    "trace info $D/trace-good --ep 4",
    "trace make zipf --show",
    "trace export $D/trace-good --ep 4 --tokens 1 --matrix dispatch",
    "layout make eplb --trace $D/trace-good --ep 4",
    "layout compare --trace $D/trace-good --ep 4 --engine estimate --search-steps 2",
    "layout inspect tests/data/layout/trtllm-ep32.yaml --ep 32",
    "layout export tests/data/layout/trtllm-ep32.yaml --ep 32",
};

START_TEST(file_is_what_is_printed)
{
    char arguments[512];
    snprintf(arguments, sizeof arguments, "%s -o $D/" TARGET, to_files[_i]);
    struct outcome printed = run(to_files[_i]), written = run(arguments);
    ck_assert_msg(printed.exit == 0, "epsim %s: %.600s", to_files[_i], printed.err);
    ck_assert_msg(written.exit == 0, "epsim %s: exit %d: %.600s", arguments, written.exit,
                  written.err);
    ck_assert_str_eq(written.out, "");
    char *text = read_text(TARGET);
    ck_assert_str_eq(text, printed.out);
    free(text);
    outcome_release(&printed);
    outcome_release(&written);
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

int main(void)
{
    TCase *tests = cli_case("cli files");
    if (!tests)
        return 0;
    tcase_add_loop_test(tests, bad_target, 0, (int)COUNT(bad_targets));
    tcase_add_test(tests, failure_keeps_the_old_file);
    tcase_add_loop_test(tests, file_is_what_is_printed, 0, (int)COUNT(to_files));
    tcase_add_loop_test(tests, full_standard_output, 0, (int)COUNT(printing));
    tcase_add_test(tests, refused_presets_leave_nothing);
    tcase_add_test(tests, timeline_before_result);
    tcase_add_loop_test(tests, signal_leaves_nothing, 0, (int)COUNT(interrupted));
    return cli_run("cli files", tests);
}

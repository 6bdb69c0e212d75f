// base/outfile: all or nothing, whatever ends the program.
#include "base/outfile.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

// ---- a folder of the test's own, which is the working directory --------------------------------

static char folder[64];

static void enter(void)
{
    strcpy(folder, "/tmp/epsim-test-outfile-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    umask(022);
}

// Names in the folder, the hidden ones too, in one text.
static const char *listing(void)
{
    static char names[1024];
    struct dirent **entries;
    names[0] = '\0';
    const int count = scandir(".", &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0) {
            strcat(strcat(names, names[0] != '\0' ? " " : ""), entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    return names;
}

static void leave(void)
{
    ck_assert_int_eq(chdir(folder), 0);
    char *names = strdup(listing());
    for (char *name = strtok(names, " "); name != NULL; name = strtok(NULL, " ")) {
        if (remove(name) != 0) {
            ck_abort_msg("%s is still in %s", name, folder);
        }
    }
    free(names);
    rmdir(folder);
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    fputs(text, out);
    fclose(out);
}

static const char *content(const char *path)
{
    static char text[256];
    FILE *in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    fclose(in);
    return text;
}

static void open_good(struct outfile *file, const char *path)
{
    struct error err = {0};
    ck_assert_msg(outfile_open(file, path, &err), "%s", err.text);
}

static void commit_good(struct outfile *file)
{
    struct error err = {0};
    ck_assert_msg(outfile_commit(file, &err), "%s", err.text);
    ck_assert_ptr_null(file->stream);
    outfile_abort(file); // harmless by now
}

// ---- writing -----------------------------------------------------------------------------------

START_TEST(appears_when_complete)
{
    struct outfile file;
    struct stat status;
    open_good(&file, "x.tsv");
    fputs("whole", file.stream);
    fflush(file.stream);
    ck_assert_int_ne(access("x.tsv", F_OK), 0);
    commit_good(&file);
    ck_assert_str_eq(content("x.tsv"), "whole");
    ck_assert_str_eq(listing(), "x.tsv");
    ck_assert_int_eq(stat("x.tsv", &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0644); // as the umask says, not mkstemp's 0600
}
END_TEST

START_TEST(replaces)
{
    struct outfile file;
    struct stat status;
    write_file("x.tsv", "old");
    ck_assert_int_eq(chmod("x.tsv", 0640), 0);
    open_good(&file, "./x.tsv");
    fputs("new", file.stream);
    ck_assert_str_eq(content("x.tsv"), "old");
    commit_good(&file);
    ck_assert_str_eq(content("x.tsv"), "new");
    ck_assert_int_eq(stat("x.tsv", &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0640);
}
END_TEST

START_TEST(abort_leaves_the_old)
{
    struct outfile file;
    write_file("x.tsv", "old");
    open_good(&file, "x.tsv");
    fputs("new", file.stream);
    outfile_abort(&file);
    ck_assert_str_eq(content("x.tsv"), "old");
    ck_assert_str_eq(listing(), "x.tsv");
    outfile_abort(&file);
    outfile_abort(&(struct outfile){0});
}
END_TEST

START_TEST(through_a_link)
{
    struct outfile file;
    write_file("x.tsv", "old");
    ck_assert_int_eq(symlink("x.tsv", "link"), 0);
    open_good(&file, "link");
    fputs("new", file.stream);
    commit_good(&file);
    ck_assert_str_eq(content("x.tsv"), "new");
    struct stat status;
    ck_assert_int_eq(lstat("link", &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
}
END_TEST

// The link stays, and what it names comes into being: a name relative to the link's own folder, or
// another link's.
START_TEST(through_a_dangling_link)
{
    struct outfile file;
    struct stat status;
    ck_assert_int_eq(mkdir("sub", 0755), 0);
    ck_assert_int_eq(symlink("x.tsv", "sub/link"), 0);
    ck_assert_int_eq(symlink("sub/link", "chain"), 0);
    open_good(&file, _i == 0 ? "sub/link" : "chain");
    fputs("new", file.stream);
    commit_good(&file);
    ck_assert_str_eq(content("sub/x.tsv"), "new");
    ck_assert(lstat("sub/link", &status) == 0 && S_ISLNK(status.st_mode));
    ck_assert(lstat("chain", &status) == 0 && S_ISLNK(status.st_mode));
    ck_assert_int_eq(stat("sub/x.tsv", &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0644);
    ck_assert_str_eq(listing(), "chain sub");
    ck_assert(unlink("sub/x.tsv") == 0 && unlink("sub/link") == 0);
}
END_TEST

static const struct {
    const char *target, *message;
} bad_links[] = {
    {"no/such", "no/such: no folder 'no'"},
    {"new/", "link: a link to the folder 'new/', which does not exist"},
    {"link", "link: Too many levels of symbolic links"},
};

START_TEST(refuses_a_link)
{
    struct outfile file;
    struct error err = {0};
    ck_assert_int_eq(symlink(bad_links[_i].target, "link"), 0);
    ck_assert(!outfile_open(&file, "link", &err));
    ck_assert_str_eq(err.text, bad_links[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(listing(), "link");
}
END_TEST

START_TEST(longest_name)
{
    struct outfile file;
    char name[256] = "";
    memset(name, 'n', 255);
    open_good(&file, name);
    commit_good(&file);
    ck_assert_int_eq(access(name, F_OK), 0);
}
END_TEST

// Left over from a run that was killed outright, with this very process id.
START_TEST(past_a_stale_temporary)
{
    struct outfile file;
    char stale[64];
    snprintf(stale, sizeof stale, ".epsim-%ld-0.tmp", (long)getpid());
    write_file(stale, "stale");
    open_good(&file, "x.tsv");
    commit_good(&file);
    ck_assert_str_eq(content(stale), "stale");
}
END_TEST

START_TEST(sixty_four_at_a_time)
{
    struct outfile files[65];
    struct error err = {0};
    for (int i = 0; i < 64; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        open_good(&files[i], name);
    }
    ck_assert(!outfile_open(&files[64], "z", &err));
    ck_assert_str_eq(err.text, "z: more than 64 output files open");
    outfile_abort(&files[3]);
    open_good(&files[64], "z");
    commit_good(&files[64]);
    for (int i = 0; i < 64; i++) {
        outfile_abort(&files[i]);
    }
    ck_assert_str_eq(listing(), "z");
}
END_TEST

// All of a set or none: the first is new only when the last is whole and can have its name.
static void open_set(struct outfile files[3])
{
    static const char *const names[] = {"a", "b", "c"};
    write_file("a", "old a");
    for (int i = 0; i < 3; i++) {
        open_good(&files[i], names[i]);
        fprintf(files[i].stream, "new %s", names[i]);
    }
}

START_TEST(a_set_appears_together)
{
    struct outfile files[3];
    struct error err = {0};
    open_set(files);
    ck_assert_msg(outfiles_commit(files, 3, &err), "%s", err.text);
    ck_assert_str_eq(content("a"), "new a");
    ck_assert_str_eq(content("c"), "new c");
    ck_assert_str_eq(listing(), "a b c");
}
END_TEST

START_TEST(a_set_fails_together)
{
    struct outfile files[3];
    struct error err = {0};
    open_set(files);
    outfile_abort(&files[2]);
    open_good(&files[2], "/dev/full");
    fputs("new c", files[2].stream);
    ck_assert(!outfiles_commit(files, 3, &err));
    ck_assert_int_eq(err.code, EXIT_RUNTIME);
    ck_assert_str_eq(err.text, "/dev/full: No space left on device");
    ck_assert_str_eq(content("a"), "old a");
    ck_assert_str_eq(listing(), "a");
}
END_TEST

START_TEST(standard_output)
{
    struct outfile file;
    write_file("out", "");
    const int saved = dup(STDOUT_FILENO), out = open("out", O_WRONLY);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    for (int i = 0; i < 2; i++) { // and it stays open for the next
        open_good(&file, i == 0 ? NULL : "-");
        ck_assert_ptr_eq(file.stream, stdout);
        fputs("x", file.stream);
        commit_good(&file);
    }
    open_good(&file, "-");
    outfile_abort(&file);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(out);
    ck_assert_str_eq(content("out"), "xx");
}
END_TEST

START_TEST(devices_stay)
{
    struct outfile file;
    struct stat status;
    open_good(&file, "/dev/null");
    fputs("x", file.stream);
    commit_good(&file);
    ck_assert(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
}
END_TEST

// ---- refusals ----------------------------------------------------------------------------------

static const struct {
    const char *path, *message;
} refused[] = {
    {"", "'': expected a file's name"},
    {".", ".: is a directory; expected a file's name"},
    {"/tmp", "/tmp: is a directory; expected a file's name"},
    {"new/", "new/: is a directory; expected a file's name"},
    {"no/such/x.tsv", "no/such/x.tsv: no folder 'no/such'"},
    {"/dev/null/x", "/dev/null/x: cannot write there: Not a directory"},
    {"/proc/x.tsv", "/proc/x.tsv: "}, // where not even root may write
};

START_TEST(refuses)
{
    struct outfile file;
    struct error err = {0};
    ck_assert(!outfile_open(&file, refused[_i].path, &err));
    ck_assert_msg(strncmp(err.text, refused[_i].message, strlen(refused[_i].message)) == 0, "%s",
                  err.text);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_str_eq(listing(), "");
    outfile_abort(&file);
}
END_TEST

// As nobody, since root may write anywhere; in a child, which cannot become root again.
START_TEST(read_only)
{
    write_file("x.tsv", "old");
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert_int_eq(chmod("x.tsv", 0444), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct outfile file;
        struct error err = {0};
        if (geteuid() == 0 && setuid(65534) != 0) {
            _exit(0);
        }
        chmod(folder, 0555); // where the owner is not root
        const bool opened = outfile_open(&file, _i == 0 ? "x.tsv" : "y.tsv", &err);
        const char *denied =
            _i == 0 ? "x.tsv: Permission denied" : "y.tsv: cannot write there: Permission denied";
        _exit(!opened && err.code == EXIT_INPUT && strcmp(err.text, denied) == 0 ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    chmod(folder, 0755);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_str_eq(listing(), "x.tsv");
}
END_TEST

// ---- failures while writing --------------------------------------------------------------------

START_TEST(full_disk)
{
    struct outfile file;
    struct error err = {0};
    open_good(&file, "/dev/full");
    for (int i = 0; i < (_i == 0 ? 1 : 100000); i++) { // within the buffer, and well past it
        fputs("x", file.stream);
    }
    ck_assert(!outfile_commit(&file, &err));
    ck_assert_str_eq(err.text, "/dev/full: No space left on device");
    ck_assert_int_eq(err.code, EXIT_RUNTIME);
    outfile_abort(&file);
}
END_TEST

// A limit on file size stands in for a disk that fills up under a regular file.
START_TEST(no_room)
{
    struct outfile file;
    struct error err = {0};
    const struct rlimit limit = {1000, RLIM_INFINITY};
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN); // EFBIG instead
    write_file("x.tsv", "old");
    open_good(&file, "x.tsv");
    setrlimit(RLIMIT_FSIZE, &limit);
    static const char bytes[100000];
    for (int i = 0; i < 100000 && _i == 0; i++) {
        fputs("x", file.stream);
    }
    fwrite(bytes, 1, _i == 0 ? 0 : sizeof bytes, file.stream); // past the buffer, which stays empty
    const bool committed = outfile_commit(&file, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert(!committed);
    ck_assert_str_eq(err.text + strlen(err.text) - strlen("File too large"), "File too large");
    ck_assert_str_eq(content("x.tsv"), "old");
    ck_assert_str_eq(listing(), "x.tsv");
}
END_TEST

START_TEST(folder_vanishes)
{
    struct outfile file;
    struct error err = {0};
    ck_assert_int_eq(mkdir("sub", 0755), 0);
    open_good(&file, "sub/x.tsv");
    ck_assert_int_eq(unlink(file.temporary), 0);
    ck_assert_int_eq(rmdir("sub"), 0);
    ck_assert(!outfile_commit(&file, &err));
    ck_assert_str_eq(err.text, "sub/x.tsv: No such file or directory");
    ck_assert_int_eq(err.code, EXIT_RUNTIME);
}
END_TEST

// ---- ends of the program -----------------------------------------------------------------------

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

// A child opens two files, writes, says so through the pipe and then does `act`.
static pid_t start_child(void (*act)(void))
{
    int ends[2];
    char byte;
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct outfile a, b;
        struct error err;
        // Check's own handlers would stay, and what nohup ignores.
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            signal(numbers[i], SIG_DFL);
        if (!outfile_open(&a, "a.tsv", &err) || !outfile_open(&b, "b.tsv", &err)) {
            _exit(9);
        }
        fputs("half", a.stream);
        fflush(a.stream);
        (void)!write(ends[1], "x", 1);
        act();
        _exit(8);
    }
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return child;
}

static void sleep_on(void)
{
    for (;;) {
        pause();
    }
}

START_TEST(signal_leaves_nothing)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    write_file("a.tsv", "old");
    const pid_t child = start_child(sleep_on);
    ck_assert_str_ne(listing(), "a.tsv"); // the temporaries are there...
    ck_assert_int_eq(kill(child, numbers[_i]), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == numbers[_i]); // as if never caught
    ck_assert_str_eq(listing(), "a.tsv");                              // ...and gone
    ck_assert_str_eq(content("a.tsv"), "old");
}
END_TEST

static void exit_early(void)
{
    exit(EXIT_RUNTIME);
}

START_TEST(exit_leaves_nothing)
{
    const pid_t child = start_child(exit_early);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RUNTIME);
    ck_assert_str_eq(listing(), "");
}
END_TEST

// nohup's choice is kept.
START_TEST(ignored_signal_stays_ignored)
{
    struct outfile file;
    signal(SIGHUP, SIG_IGN);
    open_good(&file, "x.tsv");
    raise(SIGHUP);
    fputs("whole", file.stream);
    commit_good(&file);
    ck_assert_str_eq(content("x.tsv"), "whole");
}
END_TEST

// A forked child's end takes nothing of its parent's away, even when it wrote a file itself.
START_TEST(child_spares_the_parent)
{
    struct outfile file;
    open_good(&file, "parent.tsv");
    const pid_t child = fork();
    if (child == 0) {
        struct outfile own;
        struct error err;
        exit(_i == 0 || outfile_open(&own, "child.tsv", &err) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    commit_good(&file);
    ck_assert_str_eq(listing(), "parent.tsv");
}
END_TEST

static TCase *fresh_case(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, enter, leave);
    return tests;
}

int main(void)
{
    TCase *writing = fresh_case("writing");
    tcase_add_test(writing, appears_when_complete);
    tcase_add_test(writing, replaces);
    tcase_add_test(writing, abort_leaves_the_old);
    tcase_add_test(writing, through_a_link);
    tcase_add_loop_test(writing, through_a_dangling_link, 0, 2);
    tcase_add_test(writing, longest_name);
    tcase_add_test(writing, past_a_stale_temporary);
    tcase_add_test(writing, sixty_four_at_a_time);
    tcase_add_test(writing, a_set_appears_together);
    tcase_add_test(writing, a_set_fails_together);
    tcase_add_test(writing, standard_output);
    tcase_add_test(writing, devices_stay);
    TCase *refusing = fresh_case("refusing");
    tcase_add_loop_test(refusing, refuses, 0, COUNT(refused));
    tcase_add_loop_test(refusing, read_only, 0, 2);
    tcase_add_loop_test(refusing, refuses_a_link, 0, COUNT(bad_links));
    TCase *failing = fresh_case("failing");
    tcase_add_loop_test(failing, full_disk, 0, 2);
    tcase_add_loop_test(failing, no_room, 0, 2);
    tcase_add_test(failing, folder_vanishes);
    TCase *ending = fresh_case("ending");
    tcase_add_loop_test(ending, signal_leaves_nothing, 0, COUNT(numbers));
    tcase_add_test(ending, exit_leaves_nothing);
    tcase_add_test(ending, ignored_signal_stays_ignored);
    tcase_add_loop_test(ending, child_spares_the_parent, 0, 2);
    Suite *suite = suite_create("outfile");
    suite_add_tcase(suite, writing);
    suite_add_tcase(suite, refusing);
    suite_add_tcase(suite, failing);
    suite_add_tcase(suite, ending);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// base/outfile's folders: all or nothing, whatever ends the program.
#include "base/outfile.h"

#include "tests/scratch.h"
#include "tests/suite.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

// How many names the scratch folder has, hidden ones too.
static int names(void)
{
    int count = -2;
    DIR *folder = opendir(scratch_folder);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void fill(struct outfolder *folder, const char *name)
{
    struct error err = {0};
    struct outfile file;
    ck_assert_msg(outfolder_file(folder, name, &file, &err), "%s", err.text);
    fputs("text", file.stream);
    ck_assert_msg(outfile_commit(&file, &err), "%s", err.text);
}

static void open_good(struct outfolder *folder, const char *path)
{
    struct error err = {0};
    ck_assert_msg(outfolder_open(folder, path, &err), "%s", err.text);
}

static const char *const good_places[] = {"new", "empty", "slash/", "empty/"};

START_TEST(appears_when_complete)
{
    struct outfolder folder;
    struct error err = {0};
    struct stat status;
    char inside[160];
    const char *path = scratch_path(good_places[_i]);
    ck_assert_int_eq(mkdir(scratch_path("empty"), 0755), 0);
    open_good(&folder, path);
    fill(&folder, "a");
    snprintf(inside, sizeof inside, "%s/a", path);
    ck_assert_int_ne(access(inside, F_OK), 0);
    fill(&folder, "b");
    ck_assert_msg(outfolder_commit(&folder, &err), "%s", err.text);
    outfolder_abort(&folder); // harmless by now
    ck_assert_int_eq(access(inside, F_OK), 0);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert(S_ISDIR(status.st_mode));
    ck_assert_int_eq(names(), strncmp(good_places[_i], "empty", 5) ? 2 : 1);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
    struct outfolder folder;
    struct outfile file;
    struct error err = {0};
    open_good(&folder, scratch_path("new"));
    fill(&folder, "a");
    ck_assert(outfolder_file(&folder, "b", &file, &err));
    outfile_abort(&file);
    outfolder_abort(&folder);
    ck_assert_int_eq(names(), 0);
}
END_TEST

static const struct {
    const char *place, *message;
} refused[] = {{"full", "not empty"},
               {"full/file", "exists; expected a new folder"},
               {"link", "exists; expected a new folder"},
               {"none/new", "cannot make it there: No such file"},
               {"full/file/new", "Not a directory"}};

START_TEST(refuses)
{
    struct outfolder folder;
    struct error err = {0};
    ck_assert_int_eq(mkdir(scratch_path("full"), 0755), 0);
    scratch_write("full/file", "x", 1);
    ck_assert_int_eq(symlink("full", scratch_path("link")), 0);
    ck_assert(!outfolder_open(&folder, scratch_path(refused[_i].place), &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, refused[_i].message), "%s", err.text);
    ck_assert_ptr_null(folder.path);
    ck_assert_int_eq(names(), 2);
}
END_TEST

START_TEST(refuses_no_name)
{
    struct outfolder folder;
    struct error err = {0};
    ck_assert(!outfolder_open(&folder, "", &err));
    ck_assert_str_eq(err.text, "'': expected a folder's name");
}
END_TEST

// Another took the place meanwhile: theirs stays, ours goes.
START_TEST(place_taken_meanwhile)
{
    struct outfolder folder;
    struct error err = {0};
    open_good(&folder, scratch_path("new"));
    fill(&folder, "a");
    ck_assert_int_eq(mkdir(scratch_path("new"), 0755), 0);
    scratch_write("new/theirs", "x", 1);
    ck_assert(!outfolder_commit(&folder, &err));
    ck_assert_int_eq(err.code, EXIT_RUNTIME);
    ck_assert_int_eq(names(), 1);
    ck_assert_int_eq(access(scratch_path("new/theirs"), F_OK), 0);
    ck_assert_int_ne(access(scratch_path("new/a"), F_OK), 0);
}
END_TEST

// With one file finished and one half-written.
START_TEST(signal_leaves_nothing)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    int ready[2], status;
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct outfolder folder;
        struct outfile file;
        struct error err = {0};
        signal(numbers[_i], SIG_DFL);
        if (!outfolder_open(&folder, scratch_path("new"), &err))
            _exit(9);
        fill(&folder, "a");
        if (!outfolder_file(&folder, "b", &file, &err) || write(ready[1], "x", 1) != 1)
            _exit(9);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(names(), 1);
    ck_assert_int_eq(kill(child, numbers[_i]), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == numbers[_i]);
    ck_assert_int_eq(names(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outfolder");
    TCase *tests = tcase_create("outfolder");
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_loop_test(tests, appears_when_complete, 0, SUITE_COUNT(good_places));
    tcase_add_test(tests, abort_leaves_nothing);
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(tests, refuses_no_name);
    tcase_add_test(tests, place_taken_meanwhile);
    tcase_add_loop_test(tests, signal_leaves_nothing, 0, 3);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

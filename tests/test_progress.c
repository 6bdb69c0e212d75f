// base/progress: silent anywhere but on a terminal, late, seldom, and gone at the end.
#include "base/progress.h"
#include "tests/suite.h"

#include <fcntl.h>
#include <pty.h>
#include <string.h>
#include <unistd.h>

// Standard error is a terminal's end until it is put back; what was written there is read.
struct terminal {
    int master, before;
};

static void terminal_open(struct terminal *terminal)
{
    int slave;
    terminal->before = dup(STDERR_FILENO);
    ck_assert_int_eq(openpty(&terminal->master, &slave, NULL, NULL, NULL), 0);
    ck_assert_int_ge(dup2(slave, STDERR_FILENO), 0);
    close(slave);
    ck_assert_int_eq(fcntl(terminal->master, F_SETFL, O_NONBLOCK), 0);
}

static void terminal_read(const struct terminal *terminal, char *text, size_t bytes)
{
    const ssize_t length = read(terminal->master, text, bytes - 1);
    text[length > 0 ? length : 0] = '\0';
}

static void terminal_close(struct terminal *terminal)
{
    dup2(terminal->before, STDERR_FILENO);
    close(terminal->before);
    close(terminal->master);
}

// As if it had begun, and last shown something, that long ago.
static void wait_s(struct progress *progress, double seconds)
{
    progress->start_s -= seconds;
    progress->last_s -= seconds;
}

START_TEST(shows_late_and_seldom)
{
    struct terminal terminal;
    struct progress progress;
    char early[256], shown[256], soon[256], ended[256];
    terminal_open(&terminal);
    progress_begin(&progress, "places", false);
    progress_show(&progress, 1, 100);
    terminal_read(&terminal, early, sizeof early);
    wait_s(&progress, 30);
    progress_show(&progress, 25, 100);
    terminal_read(&terminal, shown, sizeof shown);
    progress_show(&progress, 26, 100);
    terminal_read(&terminal, soon, sizeof soon);
    progress_end(&progress);
    terminal_read(&terminal, ended, sizeof ended);
    terminal_close(&terminal);
    ck_assert_str_eq(early, "");
    ck_assert_msg(strstr(shown, "25 of 100 places, 90 s left") != NULL, "%s", shown);
    ck_assert_str_eq(soon, "");
    ck_assert_str_eq(ended, "\r\x1b[K");
}
END_TEST

START_TEST(silent_when_quiet)
{
    struct terminal terminal;
    struct progress progress;
    char text[256];
    terminal_open(&terminal);
    progress_begin(&progress, "places", true);
    wait_s(&progress, 30);
    progress_show(&progress, 25, 100);
    progress_end(&progress);
    terminal_read(&terminal, text, sizeof text);
    terminal_close(&terminal);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(silent_in_a_pipe)
{
    struct progress progress;
    int ends[2];
    char byte;
    const int before = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    progress_begin(&progress, "places", false);
    wait_s(&progress, 30);
    progress_show(&progress, 25, 100);
    progress_end(&progress);
    dup2(before, STDERR_FILENO);
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    close(before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *tests = tcase_create("progress");
    tcase_add_test(tests, shows_late_and_seldom);
    tcase_add_test(tests, silent_when_quiet);
    tcase_add_test(tests, silent_in_a_pipe);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

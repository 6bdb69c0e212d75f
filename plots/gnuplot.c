#include "plots/gnuplot.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/embedded.h"
#include "plots/printable.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIGURE_LIMIT ((size_t)4 << 30) // as gnuplot draws it

// The private folder that gnuplot works in.
enum scratch_file { SCRATCH_SCRIPT, SCRATCH_STYLE, SCRATCH_DATA, SCRATCH_FIGURE, SCRATCH_MESSAGES };
#define SCRATCH_FILES 5

struct scratch {
    char *folder;
    char *path[SCRATCH_FILES];
};

static bool scratch_open(struct scratch *scratch, const char *suffix, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    *scratch = (struct scratch){0};
    char *folder = mem_format("%s/epsim-plot-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) {
        error_set(err, EXIT_RUNTIME, "%s: %s", folder, strerror(errno));
        free(folder);
        return false;
    }
    scratch->folder = folder;
    scratch->path[SCRATCH_SCRIPT] = mem_format("%s/figure.gp", folder);
    scratch->path[SCRATCH_STYLE] = mem_format("%s/style.gp", folder);
    scratch->path[SCRATCH_DATA] = mem_format("%s/data.tsv", folder);
    scratch->path[SCRATCH_FIGURE] = mem_format("%s/figure%s", folder, suffix);
    scratch->path[SCRATCH_MESSAGES] = mem_format("%s/messages", folder);
    return true;
}

static void scratch_close(struct scratch *scratch)
{
    for (size_t i = 0; i < SCRATCH_FILES; i++) {
        if (scratch->path[i])
            unlink(scratch->path[i]);
        free(scratch->path[i]);
    }
    if (scratch->folder)
        rmdir(scratch->folder);
    free(scratch->folder);
}

static bool write_file(const char *path, const void *bytes, size_t length, struct error *err)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        return error_set(err, EXIT_RUNTIME, "%s: %s", path, strerror(errno));
    errno = 0;
    int number = fwrite(bytes, 1, length, out) == length ? 0 : errno;
    if (fclose(out) != 0 && number == 0)
        number = errno;
    if (number)
        return error_set(err, EXIT_RUNTIME, "%s: %s", path, strerror(number));
    return true;
}

static bool write_embedded(const char *path, const char *name, struct error *err)
{
    char *wanted = mem_format("plots/%s.gp", name);
    const struct embedded *file = embedded_find(wanted);
    free(wanted);
    assert(file && "every figure's script is built in");
    return write_file(path, file->bytes, file->length, err);
}

// gnuplot tells what is wrong in the last line that it prints.
static bool gnuplot_failed(const struct scratch *scratch, int status, struct error *err)
{
    if (WIFSIGNALED(status))
        return error_set(err, EXIT_RUNTIME, "gnuplot: killed by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
    char last[512] = "no message", line[512];
    FILE *in = fopen(scratch->path[SCRATCH_MESSAGES], "r");
    while (in && fgets(line, sizeof line, in)) {
        line[make_printable(line, strcspn(line, "\n"))] = '\0';
        if (line[strspn(line, " ^")] != '\0')
            memcpy(last, line, sizeof last);
    }
    if (in)
        fclose(in);
    return error_set(err, EXIT_RUNTIME, "gnuplot: %s", last);
}

static int spawn_gnuplot(const struct scratch *scratch, const char *title, const sigset_t *mask,
                         pid_t *child)
{
    char *const *path = scratch->path;
    char *copy = mem_copy_text(title);
    // -d: nobody's ~/.gnuplot changes the figure.
    char name[] = "gnuplot", defaults[] = "-d", script[] = "-c";
    char *arguments[] = {name,
                         defaults,
                         script,
                         path[SCRATCH_SCRIPT],
                         path[SCRATCH_DATA],
                         path[SCRATCH_FIGURE],
                         path[SCRATCH_STYLE],
                         copy,
                         NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path[SCRATCH_MESSAGES],
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int problem = posix_spawnp(child, name, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(copy);
    return problem;
}

static bool run_gnuplot(const struct scratch *scratch, const char *title, const sigset_t *mask,
                        struct error *err)
{
    pid_t child;
    const int problem = spawn_gnuplot(scratch, title, mask, &child);
    if (problem == ENOENT || problem == EACCES)
        return error_set(err, EXIT_ABSENT,
                         "gnuplot: not found; figures need it (Debian, Ubuntu: gnuplot-nox)");
    if (problem)
        return error_set(err, EXIT_RUNTIME, "gnuplot: %s", strerror(problem));
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, EXIT_RUNTIME, "gnuplot: %s", strerror(errno));
    return status == 0 || gnuplot_failed(scratch, status, err);
}

// gnuplot exits well from a full disk, with a part of the figure.
static bool is_whole(const char *figure, size_t length)
{
    static const char *const ends[] = {"</svg>", "IEND", "%%EOF"};
    const size_t tail = length < 16 ? length : 16;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (memmem(figure + length - tail, tail, ends[i], strlen(ends[i])))
            return true;
    return false;
}

static bool draw_figure(const struct drawing *drawing, const struct scratch *scratch,
                        const sigset_t *mask, FILE *out, struct error *err)
{
    if (!write_embedded(scratch->path[SCRATCH_SCRIPT], drawing->script, err) ||
        !write_embedded(scratch->path[SCRATCH_STYLE], "style", err) ||
        !write_file(scratch->path[SCRATCH_DATA], drawing->data, drawing->length, err) ||
        !run_gnuplot(scratch, drawing->title, mask, err))
        return false;
    size_t length = 0;
    char *figure = infile_read(scratch->path[SCRATCH_FIGURE], FIGURE_LIMIT, &length, err);
    if (!figure || length == 0) {
        free(figure);
        return error_set(err, EXIT_RUNTIME, "gnuplot: drew nothing");
    }
    const bool whole = is_whole(figure, length);
    if (whole)
        fwrite(figure, 1, length, out); // whoever closes it tells when it fell short
    free(figure);
    return whole ||
           error_set(err, EXIT_RUNTIME, "gnuplot: drew a part only; is %s full?", scratch->folder);
}

// Signals wait while the folder exists, so that it is always removed; gnuplot itself gets them.
bool gnuplot_draw(const struct drawing *drawing, FILE *out, struct error *err)
{
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, &before);
    struct scratch scratch;
    const bool drawn = scratch_open(&scratch, drawing->suffix, err) &&
                       draw_figure(drawing, &scratch, &before, out, err);
    scratch_close(&scratch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return drawn;
}

#include "base/outfile.h"

#include "base/mem.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_LIMIT 64
#define LINKS 40       // followed one after another, as the kernel does
#define NAME_TRIES 100 // temporary names, should some be left over from a killed run

// What the signal handler must remove: nothing but these and the process they belong to, since a
// forked child that exits must not take its parent's files away.
static _Atomic(char *) temporaries[OPEN_LIMIT];
static volatile sig_atomic_t owner;
// Files between creation and watch_signals(): a handler on another thread waits for them.
static atomic_int creating;

// ---- cleaning up behind a signal ---------------------------------------------------------------

static void remove_temporaries(void)
{
    if (owner != getpid())
        return;
    for (size_t i = 0; i < OPEN_LIMIT; i++) {
        const char *path = atomic_load(&temporaries[i]);
        if (path != NULL)
            unlink(path);
    }
    // Folders, now that their files are gone; what is none refuses.
    for (size_t i = 0; i < OPEN_LIMIT; i++) {
        const char *path = atomic_load(&temporaries[i]);
        if (path != NULL)
            rmdir(path);
    }
}

// SA_RESETHAND has put the default back, so the raised signal ends the process as it would have.
static void on_signal(int number)
{
    const int saved = errno;
    while (atomic_load(&creating) > 0) {
        // A thread in here has its signals blocked, so it is never this one, and soon done.
    }
    remove_temporaries();
    raise(number);
    errno = saved;
}

void outfile_watch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU, SIGXFSZ};
    if (owner == 0)
        atexit(remove_temporaries);
    for (size_t i = 0; owner != getpid() && i < OPEN_LIMIT; i++) {
        atomic_store(&temporaries[i], NULL); // a forked child's: they are its parent's to remove
    }
    owner = getpid();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action;
        // An ignored signal (nohup) stays ignored, and a handler of somebody else's stays.
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
            memset(&action, 0, sizeof action);
            action.sa_handler = on_signal;
            action.sa_flags = (int)SA_RESETHAND;
            sigaction(numbers[i], &action, NULL);
        }
    }
}

static bool watch_signals(char *temporary)
{
    for (size_t i = 0; i < OPEN_LIMIT; i++) {
        char *empty = NULL;
        if (atomic_compare_exchange_strong(&temporaries[i], &empty, temporary))
            return true;
    }
    return false;
}

static void unwatch(char *temporary)
{
    for (size_t i = 0; i < OPEN_LIMIT; i++) {
        char *expected = temporary;
        atomic_compare_exchange_strong(&temporaries[i], &expected, NULL);
    }
}

// ---- opening -----------------------------------------------------------------------------------

static bool outfile_fail(const char *path, int number, struct error *err)
{
    return error_set(err, EXIT_INPUT, "%s: %s", path, strerror(number));
}

// A device or a pipe cannot be replaced by a rename: written where it is.
static bool open_in_place(struct outfile *file, const char *path, struct error *err)
{
    file->stream = fopen(path, "we");
    if (file->stream == NULL)
        return outfile_fail(path, errno, err);
    file->path = mem_copy_text(path);
    return true;
}

// A name in the folder of `path`, short whatever the length of path's own name.
static char *temporary_name(const char *path, unsigned try)
{
    const char *slash = strrchr(path, '/');
    const int folder = slash != NULL ? (int)(slash - path) + 1 : 0;
    return mem_format("%.*s.epsim-%ld-%u.tmp", folder, path, (long)getpid(), try);
}

// Makes a file, or a folder where `mode` says S_IFDIR, as a plain open would, so that the umask
// counts; on failure below 0 and errno.
static int create_temporary(char **temporary, const char *path, mode_t mode)
{
    int made = -1;
    for (unsigned try = 0; made < 0 && try < NAME_TRIES; try++) {
        free(*temporary);
        *temporary = temporary_name(path, try);
        made = S_ISDIR(mode) ? mkdir(*temporary, mode & 0777)
                             : open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (made < 0 && errno != EEXIST)
            break;
    }
    return made;
}

// The same, watched. A signal between the two would leave it behind, so none comes through here,
// and a handler on another thread waits.
static int create_watched(char **temporary, const char *path, mode_t mode, bool *watched)
{
    sigset_t all, before;
    outfile_watch_signals();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&creating, 1);
    const int made = create_temporary(temporary, path, mode), number = errno;
    *watched = made >= 0 && watch_signals(*temporary);
    atomic_fetch_sub(&creating, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    return made;
}

static void forget(struct outfile *file)
{
    free(file->path);
    free(file->temporary);
    *file = (struct outfile){0};
}

static bool refuse_folder(struct outfile *file, int number, struct error *err)
{
    const char *slash = strrchr(file->path, '/');
    const int folder = slash != NULL ? (int)(slash - file->path) : 0;
    if (number == ENOENT && folder > 0) {
        error_set(err, EXIT_INPUT, "%s: no folder '%.*s'", file->path, folder, file->path);
    } else {
        error_set(err, EXIT_INPUT, "%s: cannot write there: %s", file->path, strerror(number));
    }
    forget(file);
    return false;
}

static bool open_scratch(struct outfile *file, mode_t mode, struct error *err)
{
    bool watched;
    const int descriptor = create_watched(&file->temporary, file->path, mode, &watched);
    if (descriptor < 0)
        return refuse_folder(file, errno, err);
    file->stream = watched ? fdopen(descriptor, "w") : NULL;
    if (file->stream == NULL) {
        error_set(err, EXIT_RUNTIME, "%s: more than %d output files open", file->path, OPEN_LIMIT);
        unlink(file->temporary);
        unwatch(file->temporary);
        close(descriptor);
        forget(file);
        return false;
    }
    return true;
}

// The name that a link at `path`, relative to its own folder, stands for; NULL when it is no link.
static char *follow(const char *path)
{
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0)
        return NULL;
    target[length] = '\0';
    const char *slash = target[0] != '/' ? strrchr(path, '/') : NULL;
    return mem_format("%.*s%s", slash != NULL ? (int)(slash - path) + 1 : 0, path, target);
}

// A file that is not there yet; where a link stands for it, at the place that the link names.
static bool open_new(struct outfile *file, const char *path, struct error *err)
{
    file->path = mem_copy_text(path);
    char *target = follow(path);
    for (unsigned links = 0; target != NULL; links++) {
        free(file->path);
        file->path = target;
        target = links < LINKS ? follow(target) : NULL;
    }
    const size_t length = strlen(file->path);
    if (file->path[length - 1] == '/') {
        error_set(err, EXIT_INPUT, "%s: a link to the folder '%s', which does not exist", path,
                  file->path);
        forget(file);
        return false;
    }
    return open_scratch(file, 0666, err);
}

bool outfile_open(struct outfile *file, const char *path, struct error *err)
{
    *file = (struct outfile){0};
    if (path == NULL || strcmp(path, "-") == 0) {
        file->stream = stdout;
        return true;
    }
    struct stat status;
    const bool exists = stat(path, &status) == 0;
    const int number = exists ? 0 : errno;
    const size_t length = strlen(path);
    if ((exists && S_ISDIR(status.st_mode)) || (length > 0 && path[length - 1] == '/'))
        return error_set(err, EXIT_INPUT, "%s: is a directory; expected a file's name", path);
    if (length == 0)
        return error_set(err, EXIT_INPUT, "'': expected a file's name");
    if (!exists)
        return number == ELOOP ? outfile_fail(path, number, err) : open_new(file, path, err);
    if (access(path, W_OK) != 0)
        return outfile_fail(path, errno, err);
    // Through a symbolic link, the file it points to is the one to replace.
    char *real = S_ISREG(status.st_mode) ? realpath(path, NULL) : NULL;
    if (real == NULL)
        return open_in_place(file, path, err);
    file->path = real;
    return open_scratch(file, status.st_mode & 0777, err);
}

// ---- closing -----------------------------------------------------------------------------------

// Why an earlier write failed: its errno is long gone, but a full disk refuses more writing, which
// does no harm to a file that is to be removed.
static int failed_before(const struct outfile *file)
{
    static const char zeros[65536];
    const int descriptor = fileno(file->stream);
    for (int i = 0; file->temporary != NULL && i < 16; i++) {
        if (write(descriptor, zeros, sizeof zeros) < 0)
            return errno;
    }
    return EIO;
}

// Flushes, and closes unless standard output; errno of the first failure, or 0.
static int outfile_finish(struct outfile *file)
{
    errno = 0;
    int number = fflush(file->stream) != 0 ? errno : 0;
    if (number == 0 && ferror(file->stream))
        number = failed_before(file);
    if (file->path != NULL && fclose(file->stream) != 0 && number == 0)
        number = errno;
    file->stream = NULL;
    return number;
}

// Whole, and closed, but not yet called by its name.
static bool complete(struct outfile *file, struct error *err)
{
    assert(file->stream != NULL);
    const int number = outfile_finish(file);
    return number == 0 ||
           error_set(err, EXIT_RUNTIME, "%s: %s",
                     file->path != NULL ? file->path : "standard output", strerror(number));
}

static bool take_name(struct outfile *file, struct error *err)
{
    if (file->temporary == NULL)
        return true;
    if (rename(file->temporary, file->path) != 0)
        return error_set(err, EXIT_RUNTIME, "%s: %s", file->path, strerror(errno));
    unwatch(file->temporary);
    free(file->temporary);
    file->temporary = NULL;
    return true;
}

bool outfile_commit(struct outfile *file, struct error *err)
{
    return outfiles_commit(file, 1, err);
}

// A signal between two names would leave some files new and others old: none comes through.
static bool take_names(struct outfile *files, size_t count, struct error *err)
{
    sigset_t all, before;
    bool ok = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; ok && i < count; i++)
        ok = take_name(&files[i], err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

bool outfiles_commit(struct outfile *files, size_t count, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = complete(&files[i], err);
    ok = ok && take_names(files, count, err);
    for (size_t i = 0; i < count; i++)
        outfile_abort(&files[i]); // of those that have their name, nothing but the memory
    return ok;
}

void outfile_abort(struct outfile *file)
{
    if (file->stream != NULL && file->path != NULL)
        fclose(file->stream);
    if (file->temporary != NULL) {
        unlink(file->temporary);
        unwatch(file->temporary);
    }
    forget(file);
}

// ---- folders -----------------------------------------------------------------------------------

// Only what a rename may take the place of: nothing, or an empty folder.
static bool check_target(const char *path, struct error *err)
{
    struct stat status;
    if (*path == '\0')
        return error_set(err, EXIT_INPUT, "'': expected a folder's name");
    if (lstat(path, &status) != 0)
        return errno == ENOENT || outfile_fail(path, errno, err);
    if (!S_ISDIR(status.st_mode))
        return error_set(err, EXIT_INPUT, "%s: exists; expected a new folder's name", path);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return outfile_fail(path, errno, err);
    size_t entries = 0;
    while (readdir(folder) != NULL)
        entries++;
    closedir(folder);
    return entries <= 2 ||
           error_set(err, EXIT_INPUT, "%s: exists and is not empty; expected a new folder", path);
}

static char *without_slashes(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return mem_format("%.*s", (int)length, path);
}

bool outfolder_open(struct outfolder *folder, const char *path, struct error *err)
{
    *folder = (struct outfolder){.path = without_slashes(path)};
    if (!check_target(folder->path, err)) {
        outfolder_abort(folder);
        return false;
    }
    const int result =
        create_watched(&folder->temporary, folder->path, S_IFDIR | 0777, &folder->made);
    const int number = errno;
    if (folder->made)
        return true;
    if (result == 0)
        rmdir(folder->temporary);
    error_set(err, EXIT_INPUT, "%s: cannot make it there: %s", folder->path,
              result == 0 ? "too many output files open" : strerror(number));
    outfolder_abort(folder);
    return false;
}

// The finished file is watched too, until the folder has its name.
bool outfolder_file(struct outfolder *folder, const char *name, struct outfile *file,
                    struct error *err)
{
    assert(folder->made && folder->count < OUTFOLDER_FILES);
    char *path = mem_format("%s/%s", folder->temporary, name);
    if (!watch_signals(path)) {
        free(path);
        return error_set(err, EXIT_RUNTIME, "%s/%s: more than %d output files open", folder->path,
                         name, OPEN_LIMIT);
    }
    folder->files[folder->count++] = path;
    return outfile_open(file, path, err);
}

static void forget_folder(struct outfolder *folder)
{
    for (size_t i = 0; i < folder->count; i++) {
        unwatch(folder->files[i]);
        free(folder->files[i]);
    }
    if (folder->made)
        unwatch(folder->temporary);
    free(folder->temporary);
    free(folder->path);
    *folder = (struct outfolder){0};
}

bool outfolder_commit(struct outfolder *folder, struct error *err)
{
    assert(folder->made);
    if (rename(folder->temporary, folder->path) != 0) {
        error_set(err, EXIT_RUNTIME, "%s: %s", folder->path, strerror(errno));
        outfolder_abort(folder);
        return false;
    }
    forget_folder(folder);
    return true;
}

void outfolder_abort(struct outfolder *folder)
{
    for (size_t i = 0; i < folder->count; i++)
        unlink(folder->files[i]);
    if (folder->made)
        rmdir(folder->temporary);
    forget_folder(folder);
}

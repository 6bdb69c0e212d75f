#include "base/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool map(struct mapped *mapped, int descriptor, const char *path, struct error *err)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set(err, EXIT_INPUT, "%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return error_set(err, EXIT_INPUT, "%s: a directory; expected a file", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, EXIT_INPUT, "%s: not a regular file", path);
    if (status.st_size == 0)
        return error_set(err, EXIT_INPUT, "%s: an empty file", path);
    const size_t length = (size_t)status.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
        return error_set(err, EXIT_RUNTIME, "%s: mmap: %s", path, strerror(errno));
    *mapped = (struct mapped){bytes, length};
    return true;
}

bool mapped_open(struct mapped *mapped, const char *path, struct error *err)
{
    *mapped = (struct mapped){0};
    // Non-blocking, so that a pipe given by mistake is refused instead of waited for.
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return error_set(err, EXIT_INPUT, "%s: %s", path, strerror(errno));
    const bool ok = map(mapped, descriptor, path, err);
    close(descriptor);
    return ok;
}

void mapped_release(struct mapped *mapped)
{
    if (mapped->bytes)
        munmap((void *)(uintptr_t)mapped->bytes, mapped->length);
    *mapped = (struct mapped){0};
}

void mapped_forget(const struct mapped *mapped, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t first = from / page * page, last = to / page * page;
    // Advice: where it is not taken, nothing but memory is lost.
    if (last > first)
        madvise((void *)(uintptr_t)(mapped->bytes + first), last - first, MADV_DONTNEED);
}

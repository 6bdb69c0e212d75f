#include "base/infile.h"

#include "base/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_BYTES 65536

FILE *infile_open(const char *path, struct error *err)
{
    if (*path == '\0') {
        error_set(err, EXIT_INPUT, "'': expected a file's name");
        return NULL;
    }
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        error_set(err, EXIT_INPUT, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct stat status;
    if (fstat(fileno(stream), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(stream);
        error_set(err, EXIT_INPUT, "%s: is a directory; expected a file", path);
        return NULL;
    }
    return stream;
}

// What is read so far, and what may come.
struct input {
    const char *path;
    FILE *stream;
    char *bytes;
    size_t used, room, limit;
};

static bool too_large(const struct input *input, struct error *err)
{
    return error_set(err, EXIT_INPUT, "%s: larger than %zu MiB: expected a smaller file",
                     input->path, input->limit >> 20);
}

// A regular file tells its size at once; a device and a pipe do not.
static bool check_file_size(const struct input *input, struct error *err)
{
    struct stat status;
    if (fstat(fileno(input->stream), &status) == 0 && S_ISREG(status.st_mode) &&
        (uintmax_t)status.st_size > input->limit) {
        return too_large(input, err);
    }
    return true;
}

static bool check_text(const struct input *input, size_t from, struct error *err)
{
    const char *nul = memchr(input->bytes + from, '\0', input->used - from);
    if (nul != NULL) {
        return error_set(err, EXIT_INPUT, "%s: byte %zu is NUL; expected a text file", input->path,
                         (size_t)(nul - input->bytes));
    }
    return true;
}

// The next bytes, as many as there is room for; *more is false at the end.
static bool read_some(struct input *input, bool text, bool *more, struct error *err)
{
    if (input->room - input->used <= BLOCK_BYTES) {
        input->room = 2 * input->room + 2 * BLOCK_BYTES;
        input->bytes = mem_grow(input->bytes, input->room, 1);
    }
    const size_t from = input->used;
    input->used += fread(input->bytes + from, 1, input->room - from - 1, input->stream);
    *more = input->used > from;
    if (ferror(input->stream))
        return error_set(err, EXIT_RUNTIME, "%s: %s", input->path, strerror(errno));
    if (text && !check_text(input, from, err))
        return false;
    return input->used <= input->limit || too_large(input, err);
}

static char *read_stream(const char *path, size_t limit, bool text, size_t *length,
                         struct error *err)
{
    struct input input = {.path = path, .stream = infile_open(path, err), .limit = limit};
    if (input.stream == NULL)
        return NULL;
    bool good = check_file_size(&input, err), more = true;
    while (good && more)
        good = read_some(&input, text, &more, err);
    fclose(input.stream);
    if (!good) {
        free(input.bytes);
        return NULL;
    }
    input.bytes[input.used] = '\0';
    *length = input.used;
    return input.bytes;
}

char *infile_read(const char *path, size_t limit, size_t *length, struct error *err)
{
    return read_stream(path, limit, false, length, err);
}

char *infile_read_text(const char *path, size_t limit, size_t *length, struct error *err)
{
    return read_stream(path, limit, true, length, err);
}

#include "base/infile.h"

#include "base/mem.h"

#include <errno.h>
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

char *infile_read(const char *path, size_t *length, struct error *err)
{
    FILE *stream = infile_open(path, err);
    if (stream == NULL) {
        return NULL;
    }
    char *text = NULL;
    size_t used = 0, room = 0, got;
    do {
        if (room - used <= BLOCK_BYTES) {
            room = 2 * room + 2 * BLOCK_BYTES;
            text = mem_grow(text, room, 1);
        }
        got = fread(text + used, 1, room - used - 1, stream);
        used += got;
    } while (got > 0);
    text[used] = '\0';
    *length = used;
    if (ferror(stream)) {
        error_set(err, EXIT_RUNTIME, "%s: %s", path, strerror(errno));
        free(text);
        text = NULL;
    }
    fclose(stream);
    return text;
}

#include "base/infile.h"

#include "base/mem.h"

#include <errno.h>
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

// bytes[0] is the text's byte `past`.
static bool check_text(const char *path, const char *bytes, size_t count, size_t past,
                       struct error *err)
{
    const char *nul = memchr(bytes, '\0', count);
    if (nul != NULL) {
        return error_set(err, EXIT_INPUT, "%s: byte %zu is NUL; expected a text file", path,
                         past + (size_t)(nul - bytes));
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
    if (text && !check_text(input->path, input->bytes + from, input->used - from, from, err))
        return false;
    return input->used <= input->limit || too_large(input, err);
}

// All that comes, after what was read already.
static char *read_to_end(struct input *input, bool text, size_t *length, struct error *err)
{
    bool good = check_file_size(input, err), more = true;
    while (good && more)
        good = read_some(input, text, &more, err);
    if (!good) {
        free(input->bytes);
        return NULL;
    }
    input->bytes[input->used] = '\0';
    *length = input->used;
    return input->bytes;
}

static char *read_file(const char *path, size_t limit, bool text, size_t *length, struct error *err)
{
    struct input input = {.path = path, .stream = infile_open(path, err), .limit = limit};
    if (input.stream == NULL)
        return NULL;
    char *bytes = read_to_end(&input, text, length, err);
    fclose(input.stream);
    return bytes;
}

char *infile_read(const char *path, size_t limit, size_t *length, struct error *err)
{
    return read_file(path, limit, false, length, err);
}

char *infile_read_text(const char *path, size_t limit, size_t *length, struct error *err)
{
    return read_file(path, limit, true, length, err);
}

// ---- texts of any length ------------------------------------------------------------------------

#define TEXT_ROOM INFILE_LINE_LIMIT

// Moves what is left to the front, and reads as much as there is room for.
static bool fill_text(struct infile_text *text, struct error *err)
{
    memmove(text->bytes, text->bytes + text->begin, text->used - text->begin);
    text->past += text->begin;
    text->used -= text->begin;
    text->begin = 0;
    const size_t from = text->used;
    text->used += fread(text->bytes + from, 1, TEXT_ROOM - from, text->stream);
    text->bytes[text->used] = '\0';
    text->ended = text->used < TEXT_ROOM;
    if (ferror(text->stream))
        return error_set(err, EXIT_RUNTIME, "%s: %s", text->path, strerror(errno));
    return check_text(text->path, text->bytes + from, text->used - from, text->past + from, err);
}

bool infile_text_open(struct infile_text *text, const char *path, struct error *err)
{
    *text = (struct infile_text){.path = path, .stream = infile_open(path, err)};
    if (text->stream == NULL)
        return false;
    text->bytes = mem_alloc(TEXT_ROOM + 1, 1);
    if (fill_text(text, err))
        return true;
    infile_text_close(text);
    return false;
}

void infile_text_close(struct infile_text *text)
{
    if (text->stream != NULL)
        fclose(text->stream);
    free(text->bytes);
    *text = (struct infile_text){0};
}

const char *infile_text_head(const struct infile_text *text)
{
    return text->bytes;
}

char *infile_text_whole(struct infile_text *text, size_t limit, size_t *length, struct error *err)
{
    struct input input = {.path = text->path,
                          .stream = text->stream,
                          .bytes = text->bytes,
                          .used = text->used,
                          .room = TEXT_ROOM + 1,
                          .limit = limit};
    text->bytes = NULL;
    return read_to_end(&input, true, length, err);
}

// The end of the line that begins at `begin`, or NULL where it has not come.
static char *find_line_end(const struct infile_text *text)
{
    char *begin = text->bytes + text->begin;
    const size_t left = text->used - text->begin;
    char *newline = memchr(begin, '\n', left);
    char *carriage = memchr(begin, '\r', newline ? (size_t)(newline - begin) : left);
    if (carriage && carriage + 1 == text->bytes + text->used && !text->ended)
        return NULL; // whether "\n" follows is not known
    return carriage ? carriage : newline;
}

// Cuts the line at `end` and steps past it.
static char *take_line(struct infile_text *text, char *end)
{
    char *line = text->bytes + text->begin;
    const bool lone = *end == '\r' && end[1] != '\n';
    text->line += !text->in_line;
    text->in_line = lone;
    text->begin = (size_t)(end - text->bytes) + (*end == '\r' && !lone ? 2 : *end != '\0');
    *end = '\0';
    return line;
}

// Of a line that was cut the rest is no line.
static bool skip_rest(struct infile_text *text, struct error *err)
{
    text->cut = false;
    while (text->used > 0) {
        char *newline = memchr(text->bytes + text->begin, '\n', text->used - text->begin);
        text->begin = newline ? (size_t)(newline - text->bytes) + 1 : text->used;
        if (newline)
            return true;
        if (!fill_text(text, err))
            return false;
    }
    return true;
}

// No end in a full buffer.
static char *cut_line(struct infile_text *text)
{
    text->line += !text->in_line;
    text->in_line = false;
    text->cut = true;
    text->cut_lines++;
    text->begin = text->used;
    return text->bytes;
}

bool infile_text_line(struct infile_text *text, char **line, struct error *err)
{
    *line = NULL;
    if (text->cut && !skip_rest(text, err))
        return false;
    char *end = find_line_end(text);
    if (!end && !text->ended) {
        if (!fill_text(text, err))
            return false;
        end = find_line_end(text);
    }
    if (!end && text->used == text->begin)
        return true;
    if (!end && !text->ended)
        *line = cut_line(text);
    else
        *line = take_line(text, end ? end : text->bytes + text->used);
    return true;
}

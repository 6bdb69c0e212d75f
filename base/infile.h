// Input files: opening with one line that says what is wrong.
#ifndef BASE_INFILE_H
#define BASE_INFILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

// NULL, with "path: why" and EXIT_INPUT, for an empty name, a missing or unreadable file, and a
// directory. A pipe is as good as a file, so that <(command) and /dev/stdin can be read; a named
// pipe that nobody writes to is waited for, as every reader of one does.
FILE *infile_open(const char *path, struct error *err);

// Enough for what people write by hand, and little enough to hold: documents, measurements,
// matrices.
#define INFILE_LIMIT ((size_t)64 << 20)

// The whole file in fresh memory, to be freed by the caller, and a '\0' after it, not counted in
// *length. NULL as above, on a read error, and for more than `limit` bytes (a multiple of 1 MiB),
// of which no more than that is read.
char *infile_read(const char *path, size_t limit, size_t *length, struct error *err);

// The same for a text: NULL for a NUL byte too, as soon as one is met.
char *infile_read_text(const char *path, size_t limit, size_t *length, struct error *err);

// ---- texts of any length ------------------------------------------------------------------------

// A text that is read once, in constant memory: looked at first, then taken whole or line by line.
struct infile_text {
    const char *path;
    FILE *stream;
    char *bytes;              // those read and not yet taken, from `begin` to `used`
    size_t begin, used, past; // past: bytes before bytes[0]
    size_t line;              // in hand, from 1
    size_t cut_lines;         // longer than INFILE_LINE_LIMIT, which were cut there
    bool ended, in_line, cut;
};

#define INFILE_LINE_LIMIT ((size_t)128 << 10)

// Opens it and reads its head. False as infile_read_text. Closed by infile_text_close.
bool infile_text_open(struct infile_text *text, const char *path, struct error *err);
void infile_text_close(struct infile_text *text);

// What it begins with: INFILE_LINE_LIMIT bytes at least, or all of it, and a '\0' after them.
// Before any line is taken.
const char *infile_text_head(const struct infile_text *text);

// The whole of it, as infile_read_text; before any line is taken.
char *infile_text_whole(struct infile_text *text, size_t limit, size_t *length, struct error *err);

// The next line without its end, the caller's to cut, valid until the next call; NULL at the end.
// Lines end in "\n", "\r\n" or a lone "\r", as of a progress bar, which begins no line that counts.
// False as infile_read_text.
bool infile_text_line(struct infile_text *text, char **line, struct error *err);

#endif

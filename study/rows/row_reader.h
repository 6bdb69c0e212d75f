// A reader of measured rows: one format of text, told by its content, and the table of them.
#ifndef STUDY_ROWS_ROW_READER_H
#define STUDY_ROWS_ROW_READER_H

#include "study/rows/measured.h"

struct row_text {
    const char *path; // for messages
    char *text;       // whole, and a reader's to cut
    size_t length;
};

struct row_reader {
    const char *name; // as messages say what is expected: "what nccl-tests print"
    // Whether the text is of this format, by what stands in it.
    bool (*recognise)(const char *text);
    // Adds the text's rows (measured_add). Trouble is "path:line: what is wrong, what was
    // expected".
    bool (*read)(struct measured *measured, const struct row_text *text, struct error *err);
};

// The first that recognises the text; the CSV's where none does.
const struct row_reader *row_reader_find(const char *text);

// The names of all of them: "A, B, or C".
#define ROW_READER_NAMES_BYTES 256
char *row_reader_names(char buffer[ROW_READER_NAMES_BYTES]);

extern const struct row_reader row_reader_csv, row_reader_nccl_tests, row_reader_probe;

#endif

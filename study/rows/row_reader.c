#include "study/rows/row_reader.h"

#include <stdio.h>

// The CSV, which any text may be, is asked last.
static const struct row_reader *const row_readers[] = {&row_reader_nccl_tests, &row_reader_probe,
                                                       &row_reader_csv};
#define ROW_READERS (sizeof row_readers / sizeof row_readers[0])

const struct row_reader *row_reader_find(const char *text)
{
    size_t r = 0;
    while (!row_readers[r]->recognise(text))
        r++;
    return row_readers[r];
}

// The CSV first, as what is most likely meant.
char *row_reader_names(char buffer[ROW_READER_NAMES_BYTES])
{
    size_t length = 0;
    for (size_t i = 0; i < ROW_READERS; i++) {
        const char *name = row_readers[(i + ROW_READERS - 1) % ROW_READERS]->name;
        const char *before = i == 0 ? "" : i + 1 < ROW_READERS ? ", " : ", or ";
        length += (size_t)snprintf(buffer + length, ROW_READER_NAMES_BYTES - length, "%s%s", before,
                                   name);
    }
    return buffer;
}

// JSON records of an input, one after another: its lines (JSON Lines), the items of its list, or
// its one object. Private to traces/.
#ifndef TRACES_RECORDS_H
#define TRACES_RECORDS_H

#include "traces/importer.h"

struct records {
    const struct input *input;
    json_t *record; // in hand; NULL before the first and after the last
    char *name;     // of the record in hand, for messages: "a.jsonl:3", "a.json: [2]"
    const char *at; // of JSON Lines: what follows
    uint64_t line;  // and its line
    size_t item;    // of a list
};

// Whether the text is JSON Lines: a whole document on its first line, and more below.
bool records_are_lines(const char *text, size_t length);

void records_begin(struct records *records, const struct input *input);

// Takes the next record; none is left where records->record is NULL. A last line that was cut off
// is left out with a notice. False: a line is no JSON ("file:line: ...").
bool records_next(struct records *records, struct error *err);
void records_end(struct records *records);

#endif

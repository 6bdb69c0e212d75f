// JSON Lines of documents that have an importer each: one answer, load or request a line.
#include "traces/records.h"

static struct input input_of(const struct records *records)
{
    return (struct input){
        .def = records->input->def, .path = records->name, .json = records->record};
}

static bool recognise_lines(const struct input *input)
{
    struct records records;
    struct error none;
    if (!input->lines)
        return false;
    records_begin(&records, input);
    bool known = records_next(&records, &none) && records.record;
    if (known) {
        const struct input first = input_of(&records);
        known = import_document_format(&first) != NULL;
    }
    records_end(&records);
    return known;
}

static bool read_line(struct import *import, const struct records *records, struct error *err)
{
    const struct input line = input_of(records);
    const struct importer *importer = import_document_format(&line);
    return importer ? importer->read(import, &line, err)
                    : error_set(err, EXIT_INPUT, "%s: no routing in it, as in the first line",
                                records->name);
}

static bool read_lines(struct import *import, const struct input *input, struct error *err)
{
    struct records records;
    bool ok;
    records_begin(&records, input);
    while ((ok = records_next(&records, err)) && records.record)
        if (!(ok = read_line(import, &records, err)))
            break;
    records_end(&records);
    return ok;
}

const struct importer importer_lines = {"JSON Lines", recognise_lines, read_lines};

// What suites of the importer share: the fixtures of tests/data/import, and one import.
#ifndef TESTS_IMPORT_INPUTS_H
#define TESTS_IMPORT_INPUTS_H

#include "tests/scratch.h"
#include "traces/import.h"
#include "traces/trace.h"

#include <check.h>
#include <dirent.h>
#include <string.h>

#define DATA "tests/data/import/"
#define MODEL DATA "model.yaml"
#define EXPERTS 8
#define TOPK 2
#define DENSE 1
#define LAYERS 5

// make.py's choice().
static inline uint16_t choice(uint64_t token, uint32_t layer, uint32_t k)
{
    return (uint16_t)((token + 2 * layer + 3 * k) % EXPERTS);
}

static inline struct import_def def_of(const char *const *inputs, size_t count)
{
    return (struct import_def){.inputs = inputs,
                               .input_count = count,
                               .folder = scratch_path("out"),
                               .model = MODEL,
                               .shape = "",
                               .source = "",
                               .licence = "",
                               .seed = 1};
}

static inline void import_good(const struct import_def *def, struct import_report *report,
                               struct trace *trace)
{
    struct error err = {0};
    ck_assert_msg(trace_import(def, report, &err), "%s", err.text);
    ck_assert_msg(trace_open(trace, def->folder, &err), "%s", err.text);
}

// Names in the scratch folder, hidden ones too: nothing half-written may be among them.
static inline size_t names(void)
{
    size_t count = 0;
    DIR *folder = opendir(scratch_folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return count;
}

#endif

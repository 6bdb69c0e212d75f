// Versions of libraries that dispatchers are of: "nccl-2.23". A preset NAME of such a library says
// which version its constants are of (key `version`), and NAME@LIBRARY-VERSION what that version
// and those up to the next have otherwise.
#ifndef MODEL_VERSION_H
#define MODEL_VERSION_H

#include "base/error.h"
#include "base/field.h"

#include <stdbool.h>

#define VERSION_PARTS 3

struct version {
    char library[FIELD_TEXT_BYTES];
    unsigned of[VERSION_PARTS]; // 2.23 is 2, 23, 0
};

// Reads "nccl-2.23" or "nccl-2.29.7"; false: it is none, or a number is above 9999.
bool version_parse(const char *text, struct version *version);

// The release that a version is of, by two numbers: "nccl-2.29" of "nccl-2.29.7". False: it is
// none. release has FIELD_TEXT_BYTES.
bool version_release(const char *text, char *release);

// Splits what a dispatcher is called, "nccl-alltoall@nccl-2.23": puts "nccl-alltoall" into `name`
// (FIELD_TEXT_BYTES) and returns the version's word within `what`; NULL: there is none, or it is a
// file's path.
const char *version_split(const char *what, char *name);

// The variant of preset `name` for the version that was asked: the last one that is not after it,
// or where it is before all of them the first, said in a notice. "": the preset's own, `newest`,
// serves, with a notice where it is later than that (2.29.7 is not later than 2.29). Refuses what
// is no version, and another library's. variant has FIELD_TEXT_BYTES.
bool version_variant(const char *name, const char *newest, const char *asked, char *variant,
                     struct error *err);

// What dispatcher_load takes for a preset and what is said of where a figure comes from: with
// variants by version, "NAME@LIBRARY-VERSION" where the source names one ("NCCL 2.27.3; ...",
// ".../nccl/2.23/..."), else NAME. word has FIELD_TEXT_BYTES.
void version_word(const char *name, const char *source, char *word);

#endif

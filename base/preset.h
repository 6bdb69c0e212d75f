// Presets: named YAML files compiled into the binary (ROOM/presets/KIND/NAME.yaml).
#ifndef BASE_PRESET_H
#define BASE_PRESET_H

#include "base/doc.h"
#include "base/error.h"

#include <stddef.h>

// kind is a folder of presets, in the plural: "clusters". Loads a preset by its exact name, or a
// file by its path. A word that is neither is taken for a path when it has '/' in it or ends in
// .yaml, .yml or .json, else for a preset's name ("glm-4.5" has a dot): the nearest and all known
// are then named.
struct doc *preset_load(const char *kind, const char *what, struct error *err);

// What the preset `what` says otherwise for one variant of its surroundings: NAME@VARIANT, of the
// folder of one's own (preset_folder) or else built in, whichever of the two NAME is from. NULL,
// with err untouched, when there is none. Variants are presets of no name of their own: preset_all
// does not list them.
struct doc *preset_load_variant(const char *kind, const char *what, const char *variant,
                                struct error *err);

// What stands behind the '@' of all variants of the preset `what`, in byte order, each once. Freed
// by the caller, one by one.
char **preset_variants(const char *kind, const char *what, size_t *count);

// The same file's text in fresh memory, '\0' after it: to be copied with changes.
char *preset_text(const char *kind, const char *what, struct error *err);

// Whether there is a preset of that name, built in or of one's own, or a file of that path.
bool preset_known(const char *kind, const char *what);

// From here on folder/KIND/NAME.yaml, where it exists, stands for the preset of that name, in the
// whole process (--presets); names that are only there are presets too. "" or NULL: none. Copied.
// To be called before any thread loads a preset. Refuses what is no folder.
bool preset_folder(const char *folder, struct error *err);

// The names in the folder of one's own (the first `own`), then those that are only built in, each
// in byte order. Freed by the caller, one by one.
char **preset_all(const char *kind, size_t *own, size_t *count);

// What a document is called when it does not say: its file's name without folder and extension.
// title has FIELD_TEXT_BYTES bytes.
void preset_title(const struct doc *doc, char *title);

// Sets err's message, without its place, and returns the key at fault: how a check tells a reader
// of files which line to blame.
const char *preset_fault(struct error *err, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Prefixes err with the place of a top-level key, "file:line: key" (line of the whole when the key
// is not there). Returns false.
bool preset_blame(const struct doc *doc, const char *key, struct error *err);

#endif

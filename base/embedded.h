// What travels inside the binary: its version, and files of the tree (presets, figure scripts).
// The table of files is written by base/embed.sh at build time.
#ifndef BASE_EMBEDDED_H
#define BASE_EMBEDDED_H

#include <stddef.h>

struct embedded {
    const char *path; // in the tree, e.g. "model/presets/clusters/h800-cx7.yaml"
    const unsigned char *bytes;
    size_t length; // a zero byte follows, not counted
};

extern const struct embedded embedded_files[];
extern const size_t embedded_count;

// The file whose path ends in `end`, or NULL.
const struct embedded *embedded_find(const char *end);

// What every output carries; set by the Makefile from git, or "unknown".
const char *version(void);

#endif

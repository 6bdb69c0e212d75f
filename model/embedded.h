// Files of the tree that travel inside the binary: presets and figure scripts.
// The table is written by model/embed.sh at build time.
#ifndef MODEL_EMBEDDED_H
#define MODEL_EMBEDDED_H

#include <stddef.h>

struct embedded {
    const char *path; // in the tree, e.g. "model/presets/clusters/h800-cx7.yaml"
    const unsigned char *bytes;
    size_t length; // a zero byte follows, not counted
};

extern const struct embedded embedded_files[];
extern const size_t embedded_count;

#endif

// What fuzz targets share: a folder in memory for readers that open paths. A target returns
// normally for every input, good or bad, and libFuzzer and the sanitizers watch.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/error.h"

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char fuzz_root[64];

static inline int fuzz_unlink(const char *path, const struct stat *info, int type,
                              struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static inline void fuzz_remove(const char *path)
{
    nftw(path, fuzz_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void fuzz_leave(void)
{
    fuzz_remove(fuzz_root);
}

// The path of a name in the folder, which is made with the first; in static storage, good for the
// next three calls.
static inline const char *fuzz_path(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    if (!fuzz_root[0]) {
        snprintf(fuzz_root, sizeof fuzz_root, "%s/epsim-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(fuzz_root))
            abort();
        atexit(fuzz_leave);
        notice_quiet(true);
    }
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_root, name);
    return path;
}

static inline void fuzz_write(const char *name, const void *data, size_t size)
{
    FILE *out = fopen(fuzz_path(name), "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out) != 0)
        abort();
}

#endif

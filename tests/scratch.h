// A private folder for a suite's fixtures.
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_folder[32];

static inline int scratch_remove(const char *path, const struct stat *info, int type,
                                 struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

// Checked fixtures, before and after each test.
static inline void scratch_make(void)
{
    snprintf(scratch_folder, sizeof scratch_folder, "/tmp/epsim-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch_folder));
}

static inline void scratch_clear(void)
{
    nftw(scratch_folder, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
}

// The path of a name in the folder; in static storage, good for the next three calls.
static inline const char *scratch_path(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

static inline void scratch_write(const char *name, const void *bytes, size_t length)
{
    FILE *out = fopen(scratch_path(name), "wb");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(bytes, 1, length, out), length);
    ck_assert_int_eq(fclose(out), 0);
}

#endif

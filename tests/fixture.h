// What several suites share: files that last as long as one test, and messages without their path.
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include "base/error.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char path[64];
};

// Writes text to a fresh file whose name ends in `suffix` (".yaml").
static inline struct fixture fixture_make(const char *text, const char *suffix)
{
    struct fixture fixture;
    snprintf(fixture.path, sizeof fixture.path, "/tmp/epsim-XXXXXX%s", suffix);
    const int descriptor = mkstemps(fixture.path, (int)strlen(suffix));
    ck_assert_int_ge(descriptor, 0);
    const size_t length = strlen(text);
    ck_assert_int_eq(write(descriptor, text, length), (ssize_t)length);
    close(descriptor);
    return fixture;
}

static inline void fixture_remove(const struct fixture *fixture)
{
    unlink(fixture->path);
}

// The message after the file's path: ":3: nic: ...".
static inline const char *fixture_message(const struct fixture *fixture, const struct error *err)
{
    const size_t length = strlen(fixture->path);
    ck_assert_msg(strncmp(err->text, fixture->path, length) == 0, "no path first: %s", err->text);
    return err->text + length;
}

#endif

#include "base/embedded.h"

#include <string.h>

#ifndef EPSIM_VERSION
#define EPSIM_VERSION "unknown"
#endif

const char *version(void)
{
    return EPSIM_VERSION;
}

const struct embedded *embedded_find(const char *end)
{
    const size_t length = strlen(end);
    for (const struct embedded *file = embedded_files; file < embedded_files + embedded_count;
         file++)
        if (strlen(file->path) >= length &&
            strcmp(file->path + strlen(file->path) - length, end) == 0)
            return file;
    return NULL;
}

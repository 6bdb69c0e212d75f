#include "study/rows/lines.h"

#include <string.h>

char *lines_next(struct lines *lines)
{
    char *line = lines->rest;
    if (!line)
        return NULL;
    lines->rest = strchr(line, '\n');
    if (lines->rest)
        *lines->rest++ = '\0';
    lines->number++;
    return line;
}

#include "study/names.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void names_add(struct names *names, const char *name)
{
    names->of = mem_grow(names->of, names->count + 1, sizeof *names->of);
    names->of[names->count++] = mem_copy_text(name);
}

void names_add_once(struct names *names, const char *name)
{
    if (!names_have(names, name))
        names_add(names, name);
}

bool names_have(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (!strcmp(names->of[i], name))
            return true;
    return false;
}

char *names_join(const struct names *names, const char *between)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    for (size_t i = 0; i < names->count; i++)
        fprintf(out, "%s%s", i ? between : "", names->of[i]);
    fclose(out);
    return text;
}

void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->of[i]);
    free(names->of);
    *names = (struct names){0};
}

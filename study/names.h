// Lists of names: of presets, clusters, files, or reasons.
#ifndef STUDY_NAMES_H
#define STUDY_NAMES_H

#include <stdbool.h>
#include <stddef.h>

// All zero: none.
struct names {
    char **of; // [count]
    size_t count;
};

void names_add(struct names *names, const char *name); // a copy of it
void names_add_once(struct names *names, const char *name);
bool names_have(const struct names *names, const char *name);

// "a, b" with ", " between them; "" for none. Freed by the caller.
char *names_join(const struct names *names, const char *between);

void names_release(struct names *names);

#endif

#include "cli/skipped.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void skipped_add(struct skipped *skipped, const char *id, const char *why)
{
    size_t r = 0;
    while (r < skipped->count && strcmp(skipped->reasons[r].why, why) != 0)
        r++;
    if (r == skipped->count) {
        skipped->reasons = mem_room(skipped->reasons, r, sizeof *skipped->reasons);
        skipped->reasons[skipped->count++] = (struct skipped_reason){.why = why, .first = id};
    }
    skipped->reasons[r].rows++;
}

void skipped_tell(struct skipped *skipped, struct table *table)
{
    for (size_t r = 0; r < skipped->count; r++) {
        const struct skipped_reason *reason = &skipped->reasons[r];
        if (reason->rows > 1)
            table_comment(table, "skipped: %zu rows, the first %s: %s", reason->rows, reason->first,
                          reason->why);
        else
            table_comment(table, "skipped: %s: %s", reason->first, reason->why);
    }
    free(skipped->reasons);
    *skipped = (struct skipped){0};
}

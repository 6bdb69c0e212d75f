#include "cli/skipped.h"

#include <string.h>

// Rows from `first` on that have its reason; none where an earlier row had it.
static size_t same_reason(const struct skipped_row *rows, size_t count, size_t first)
{
    size_t same = 0;
    for (size_t r = 0; r < first; r++)
        if (!strcmp(rows[r].why, rows[first].why))
            return 0;
    for (size_t r = first; r < count; r++)
        same += !strcmp(rows[r].why, rows[first].why);
    return same;
}

void skipped_comment(struct table *table, const struct skipped_row *rows, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        const size_t same = same_reason(rows, count, r);
        if (same > 1)
            table_comment(table, "skipped: %zu rows, the first %s: %s", same, rows[r].id,
                          rows[r].why);
        else if (same)
            table_comment(table, "skipped: %s: %s", rows[r].id, rows[r].why);
    }
}

#include "study/ep/whose.h"

#include "model/dispatcher.h"

#include <stdio.h>
#include <string.h>

// Rows of a log name no cluster; those of a CSV say whose they are.
static bool is_open(const struct measured_row *row, bool by_choice)
{
    return !row->cluster[0] && !strcmp(row->dispatcher, by_choice ? "deepep-ll" : "deepep-normal");
}

bool ep_rows_are_of(struct measured *measured, const char *dispatcher, const char *cluster,
                    struct error *err)
{
    struct cluster machine;
    struct dispatcher asked;
    size_t count = 0;
    if (!cluster[0])
        return error_set(err, EXIT_INPUT, "--dispatcher: needs --cluster");
    if (!cluster_load(cluster, &machine, NULL, err))
        return error_prefix(err, "--cluster");
    if (!dispatcher_load(dispatcher, &machine, &asked, NULL, err))
        return error_prefix(err, "--dispatcher");
    for (size_t r = 0; r < measured->count; r++) {
        struct measured_row *row = &measured->rows[r];
        if (!is_open(row, asked.dedupe == DEDUPE_EXPERT))
            continue;
        char mode[FIELD_TEXT_BYTES]; // " hook"
        snprintf(mode, sizeof mode, "%s", row->family + strlen(row->dispatcher));
        snprintf(row->family, sizeof row->family, "%.200s%.40s", dispatcher, mode);
        snprintf(row->dispatcher, sizeof row->dispatcher, "%s", dispatcher);
        count++;
    }
    return count || error_set(err, EXIT_INPUT,
                              "--dispatcher: no row of a log of DeepEP's tests is of such kernels");
}

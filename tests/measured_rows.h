// What suites of measured rows share: the columns of a file, and a file that must be read.
#ifndef TESTS_MEASURED_ROWS_H
#define TESTS_MEASURED_ROWS_H

#include "study/rows/measured.h"

#include <check.h>

#define COLUMNS                                                                                    \
    "id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,tokens_per_gpu,"    \
    "hidden,dtype,phase,sms,latency_us,derived,source"
#define HEADER COLUMNS "\n"

static inline void load_rows(struct measured *measured, const char *path)
{
    struct error err = {0};
    ck_assert_msg(measured_load(measured, path, &err), "%s", err.text);
}

#endif

// What suites of benchmark logs share: a text, and the rows that should come of it.
#ifndef TESTS_EP_ROWS_H
#define TESTS_EP_ROWS_H

#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

#define EP_ROWS 8

struct ep_row {
    const char *dispatcher;
    enum phase phase;
    enum dtype dtype;
    uint32_t nodes, gpus, sms, tokens;
    double us, tolerance; // of the time, relative
    const char *stat;     // NULL: mean
};

struct ep_text {
    const char *text, *cluster; // NULL: none is named
    struct ep_row rows[EP_ROWS];
};

static inline bool ep_load(struct measured *measured, const char *text, const char *cluster,
                           struct error *err)
{
    const struct fixture file = fixture_make(text, ".log");
    char *const paths[] = {(char *)file.path};
    *err = (struct error){0};
    const bool ok = measured_load_files(measured, paths, 1, cluster, err);
    fixture_remove(&file);
    return ok;
}

static inline void ep_expect_row(const struct measured_row *got, const struct ep_row *want)
{
    const double tolerance = want->tolerance > 0 ? want->tolerance : 1e-6;
    ck_assert_str_eq(got->dispatcher, want->dispatcher);
    ck_assert_msg(got->phase == want->phase && got->dtype == want->dtype, "%s: phase %s, dtype %s",
                  got->id, phase_names[got->phase], dtype_names[got->dtype]);
    ck_assert_msg(got->nodes == want->nodes && got->gpus_per_node == want->gpus,
                  "%s: %u nodes of %u", got->id, got->nodes, got->gpus_per_node);
    ck_assert_msg(got->sms == want->sms, "%s: %u SMs", got->id, got->sms);
    ck_assert_msg(got->tokens_per_gpu == want->tokens, "%s: %u tokens", got->id,
                  got->tokens_per_gpu);
    ck_assert_msg(fabs(got->latency_us / want->us - 1) <= tolerance, "%s: %g us", got->id,
                  got->latency_us);
    ck_assert_str_eq(got->stat, want->stat ? want->stat : "mean");
}

static inline void ep_expect(const struct ep_text *text)
{
    struct measured measured;
    struct error err;
    size_t count = 0;
    ck_assert_msg(ep_load(&measured, text->text, text->cluster, &err), "%s: %s", text->text,
                  err.text);
    while (count < EP_ROWS && text->rows[count].dispatcher)
        count++;
    ck_assert_msg(measured.count == count, "%s: %zu rows", text->text, measured.count);
    for (size_t r = 0; r < count; r++)
        ep_expect_row(&measured.rows[r], &text->rows[r]);
    measured_release(&measured);
}

static inline void ep_expect_refused(const char *text, const char *cluster, const char *says)
{
    struct measured measured;
    struct error err;
    ck_assert_msg(!ep_load(&measured, text, cluster, &err), "%s: read", text);
    ck_assert_msg(strstr(err.text, says), "%s: %s", text, err.text);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}

#endif

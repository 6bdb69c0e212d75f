// Equality but for rounding, for suites of floating-point work.
#ifndef TESTS_NEAR_H
#define TESTS_NEAR_H

#include <check.h>
#include <math.h>

static inline void expect_near(double got, double expected, double tolerance)
{
    ck_assert_msg(fabs(got - expected) <= tolerance * (1 + fabs(expected)),
                  "got %.9g, expected %.9g", got, expected);
}

#endif

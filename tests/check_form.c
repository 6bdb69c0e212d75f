// The closed form against the simulator and against what each rank waits for, on random questions
// of all kinds: shared NICs, slow and late ranks, one token, no barrier, oversubscribed spines.
// usage: check_form [QUESTIONS]; exit 1 when anything does not hold, or when more than one mean in a
// hundred is outside 0.97 to 1.15 of the closed form's.
#include "base/mem.h"
#include "tests/form_judge.h"

#include <stdlib.h>

#define QUESTIONS 10000

static bool print_outside(const struct question *question, const struct form_verdict *verdict)
{
    bool holds = verdict->broken[0] == '\0';
    if (!holds)
        printf("broken: %s: %s\n", verdict->broken, question_text(question));
    for (int span = 0; span < FORM_SPANS; span++)
        if (!form_is_near(verdict, span))
            printf("%s %.3f: %.1f us simulated, %.1f us in closed form: %s%s%s%s: %s\n",
                   form_span_names[span], verdict->simulated_us[span] / verdict->estimated_us[span],
                   verdict->simulated_us[span], verdict->estimated_us[span],
                   question->shared ? "shared NICs, " : "", question->spine ? "spine, " : "",
                   question->def.slow[0] ? "slow or late, " : "", question->def.dispatcher,
                   question_text(question));
    return holds;
}

int main(int argc, char **argv)
{
    const uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : QUESTIONS;
    struct form_verdict *verdicts = mem_alloc(count, sizeof *verdicts);
    uint32_t asked = 0, all = 0, outside[FORM_SPANS] = {0};
    bool ok = true;
#pragma omp parallel for schedule(dynamic, 8) default(none) shared(verdicts, count)
    for (uint32_t i = 0; i < count; i++) {
        const struct question question = question_random(1, i);
        verdicts[i] = form_judge(&question);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct question question = question_random(1, i);
        if (!verdicts[i].asked)
            continue;
        asked++;
        ok = print_outside(&question, &verdicts[i]) && ok;
        for (int span = 0; span < FORM_SPANS; span++)
            outside[span] += !form_is_near(&verdicts[i], span);
    }
    for (int span = 0; span < FORM_SPANS; span++) {
        printf("%s: %u of %u means outside %g to %g: %.2f%%\n", form_span_names[span],
               outside[span], asked, FORM_LEAST, FORM_MOST, 100.0 * outside[span] / asked);
        all += outside[span];
    }
    ok = ok && asked > 0 && all * 100 <= FORM_SPANS * asked;
    free(verdicts);
    return ok ? 0 : 1;
}

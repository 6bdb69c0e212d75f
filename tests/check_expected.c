// The closed form on expected loads against its mean over seeds on counted ones: every dispatcher
// on 4 to 64 GPUs with 8 to 4,096 tokens each, and random questions of all kinds.
// usage: check_expected [QUESTIONS]; exit 1 where a mean of the first is off by more than
// EXPECTED_WITHIN, or more than one in a hundred of the second.
#include "tests/expected_judge.h"

#define QUESTIONS 1000

struct tally {
    uint32_t asked, outside;
    double worst;
};

static void print_outside(const struct expected_verdict *verdict, const char *what,
                          struct tally *tally)
{
    for (int span = 0; verdict->asked && span < EXPECTED_SPANS; span++) {
        const double off = verdict->expected.us[span] / verdict->counted.us[span] - 1;
        tally->asked++;
        tally->worst = fabs(off) > fabs(tally->worst) ? off : tally->worst;
        if (expected_is_near(verdict, span))
            continue;
        tally->outside++;
        printf("%s %+.1f%% (standard error %.1f%%): %.1f us expected, mean of seeds %.1f: %s\n",
               expected_span_names[span], 100 * off,
               100 * verdict->error.us[span] / verdict->counted.us[span],
               verdict->expected.us[span], verdict->counted.us[span], what);
    }
}

static struct expected_cell cell_at(uint32_t index)
{
    static const uint32_t shapes[][2] = {{1, 4}, {1, 8}, {2, 8}, {4, 8}, {8, 8}};
    static const uint32_t tokens[] = {8, 32, 128, 512, 4096};
    return (struct expected_cell){.cluster = "h800-cx7",
                                  .rule = index & 1 ? ROUTING_V3 : ROUTING_UNIFORM,
                                  .scattered = index >> 1 & 1,
                                  .aligned = index >> 2 & 1,
                                  .nodes = shapes[index / 8 % 5][0],
                                  .gpus_per_node = shapes[index / 8 % 5][1],
                                  .tokens = tokens[index / 40]};
}
#define CELLS (8 * 5 * 5)

static struct tally check_cells(void)
{
    struct tally tally = {0};
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(tally, question_dispatchers, routing_rule_names)
    for (uint32_t i = 0; i < CELLS; i++) {
        const struct expected_cell cell = cell_at(i);
        struct expected_verdict verdicts[EXPECTED_DISPATCHERS];
        expected_judge_cell(&cell, expected_seeds(&cell), verdicts);
#pragma omp critical
        for (size_t d = 0; d < EXPECTED_DISPATCHERS; d++) {
            char what[160];
            snprintf(what, sizeof what, "%s %ux%u, %u tokens, %s%s%s", question_dispatchers[d],
                     cell.nodes, cell.gpus_per_node, cell.tokens, routing_rule_names[cell.rule],
                     cell.scattered ? ", scattered" : "", cell.aligned ? ", aligned" : "");
            print_outside(&verdicts[d], what, &tally);
        }
    }
    return tally;
}

static struct expected_verdict judge_question(const struct question *question)
{
    struct expected_verdict verdict = {0};
    struct scenario scenario;
    struct error err;
    if (question->def.routing == ROUTING_BALANCED || question->hot > 0 ||
        question->def.tokens < EXPECTED_MIN_TOKENS || !question_open(question, &scenario, &err))
        return verdict;
    const bool open = scenario_prepare(&scenario, &engine_estimate, &err);
    if (open)
        expected_judge_all(&scenario, &open, 1, EXPECTED_SEEDS, &verdict);
    scenario_release(&scenario);
    return verdict;
}

static struct tally check_questions(uint32_t count)
{
    struct expected_verdict *verdicts = mem_alloc(count, sizeof *verdicts);
    struct tally tally = {0};
#pragma omp parallel for schedule(dynamic, 4) default(none) shared(verdicts, count)
    for (uint32_t i = 0; i < count; i++) {
        const struct question question = question_random(2, i);
        verdicts[i] = judge_question(&question);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct question question = question_random(2, i);
        print_outside(&verdicts[i], question_text(&question), &tally);
    }
    free(verdicts);
    return tally;
}

static void print_tally(const char *what, const struct tally *tally)
{
    printf("%s: %u of %u means from expected loads off by more than %g%%; worst %+.1f%%\n", what,
           tally->outside, tally->asked, 100 * EXPECTED_WITHIN, 100 * tally->worst);
}

int main(int argc, char **argv)
{
    const uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : QUESTIONS;
    const struct tally cells = check_cells();
    print_tally("every dispatcher", &cells);
    fflush(stdout);
    const struct tally questions = check_questions(count);
    print_tally("random questions", &questions);
    const bool ok = cells.asked > 0 && cells.outside == 0 && questions.asked > 0 &&
                    questions.outside * 100 <= questions.asked;
    return ok ? 0 : 1;
}

// study/fit and study/calibrate: known constants are found again, and what the data cannot say is
// said so.
#include "base/mem.h"
#include "base/object.h"
#include "base/preset.h"
#include "study/accuracy.h"
#include "study/calibrate.h"
#include "study/part.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <math.h>

// ---- the solver ---------------------------------------------------------------------------------

// y = a + b x over x = 1 .. 20, multiplicative noise that alternates; c has no part in it.
#define LINE_ROWS 20
struct line {
    double a, b, noise;
    bool outlier;
};

static void line_errors(void *context, const double *values, size_t moved, double *out)
{
    const struct line *line = context;
    for (size_t r = 0; moved != 2 && r < LINE_ROWS; r++) {
        const double x = (double)(r + 1);
        double measured = (line->a + line->b * x) * (1 + (r % 2 ? line->noise : -line->noise));
        if (line->outlier && r == 7)
            measured *= 3;
        out[r] = log((values[0] + values[1] * x) / measured);
    }
}

static struct fit solve_line_held(struct line *line, const double *centre, const double *width)
{
    static const double start[] = {100, 0.01, 1};
    struct fit_parameter parameters[3];
    for (size_t p = 0; p < 3; p++)
        parameters[p] = (struct fit_parameter){.start = start[p],
                                               .min = 1e-3,
                                               .max = 1e3,
                                               .centre = centre ? centre[p] : 0,
                                               .width = width ? width[p] : 0};
    const struct fit_problem problem = {.parameters = parameters,
                                        .count = 3,
                                        .rows = LINE_ROWS,
                                        .errors = line_errors,
                                        .context = line};
    struct fit fit;
    fit_solve(&fit, &problem);
    return fit;
}

static struct fit solve_line(struct line *line)
{
    return solve_line_held(line, NULL, NULL);
}

START_TEST(exact_data)
{
    struct line line = {.a = 2.385, .b = 0.7193};
    struct fit fit = solve_line(&line);
    ck_assert(fit.converged);
    ck_assert_double_eq_tol(fit.values[0], 2.385, 1e-3);
    ck_assert_double_eq_tol(fit.values[1], 0.7193, 1e-4);
    ck_assert_int_eq(fit.verdicts[0], FIT_FOUND);
    ck_assert_int_eq(fit.verdicts[2], FIT_UNUSED);
    ck_assert(isinf(fit.standard_error[2]));
    ck_assert_double_lt(fit.scatter, 1e-4);
    fit_release(&fit);
}
END_TEST

// One row thrice as large moves the others' answer by little.
START_TEST(outlier_pulls_little)
{
    struct line line = {.a = 2.385, .b = 0.7193, .noise = 0.01, .outlier = true};
    struct fit fit = solve_line(&line);
    ck_assert_double_eq_tol(fit.values[0] / 2.385, 1, 0.04);
    ck_assert_double_eq_tol(fit.values[1] / 0.7193, 1, 0.02);
    fit_release(&fit);
}
END_TEST

// The standard error is the spread that noise gives: twice the noise, twice the error.
START_TEST(standard_error_scales)
{
    struct line little = {.a = 2.385, .b = 0.7193, .noise = 0.004};
    struct line more = {.a = 2.385, .b = 0.7193, .noise = 0.008};
    struct fit a = solve_line(&little), b = solve_line(&more);
    ck_assert_double_gt(a.standard_error[1], 0);
    ck_assert_double_eq_tol(b.standard_error[1] / a.standard_error[1], 2, 0.1);
    ck_assert_double_eq_tol(a.scatter, 0.004 * sqrt(20 / 17.0), 0.0005);
    fit_release(&a);
    fit_release(&b);
}
END_TEST

// What no row tells stays at its centre and is as unsure as was held; what rows tell well hardly
// moves; verdicts and standard errors are the rows' own.
START_TEST(prior_holds_what_rows_do_not_tell)
{
    static const double centre[] = {3, 0.9, 7}, width[] = {0.5, 0.5, 0.5};
    struct line line = {.a = 2.385, .b = 0.7193, .noise = 0.01};
    struct fit free = solve_line(&line), held = solve_line_held(&line, centre, width);
    ck_assert_double_eq_tol(held.values[2], 7, 1e-3);
    ck_assert_double_eq_tol(held.values[0] / free.values[0], 1, 1e-3);
    ck_assert_double_eq_tol(held.values[1] / free.values[1], 1, 1e-3);
    ck_assert_int_eq(held.verdicts[2], FIT_UNUSED);
    ck_assert(isinf(held.standard_error[2]));
    ck_assert_double_eq_tol(held.standard_error[0] / free.standard_error[0], 1, 0.01);
    ck_assert_double_eq_tol(sqrt(held.covariance[8]), 0.5, 1e-6);
    ck_assert_double_eq_tol(sqrt(held.covariance[0]) / held.standard_error[0], 1, 0.01);
    fit_release(&free);
    fit_release(&held);
}
END_TEST

// A narrow prior pulls as a normal one does: by the share of its own precision.
START_TEST(prior_pulls_by_its_precision)
{
    struct line line = {.a = 2.385, .b = 0.7193, .noise = 0.02};
    struct fit free = solve_line(&line);
    const double off = 0.01, narrow = free.standard_error[0];
    const double centre[] = {free.values[0] * exp(off), 1, 1}, width[] = {narrow, 0, 0};
    struct fit held = solve_line_held(&line, centre, width);
    ck_assert_double_eq_tol(log(held.values[0] / free.values[0]) / off, 0.5, 0.1);
    fit_release(&free);
    fit_release(&held);
}
END_TEST

START_TEST(leverage_counts_parameters)
{
    struct line line = {.a = 2.385, .b = 0.7193, .noise = 0.01};
    struct fit fit = solve_line(&line);
    double sum = 0;
    for (size_t r = 0; r < LINE_ROWS; r++)
        sum += fit.leverage[r];
    ck_assert_double_eq_tol(sum, 2, 0.01); // a and b; c takes up nothing
    fit_release(&fit);
}
END_TEST

// ---- on rows ------------------------------------------------------------------------------------

// Rows whose times are what the closed form says of the presets with keys changed.
static void write_rows(FILE *out)
{
    static const uint32_t tokens[] = {1, 64, 512, 4096, 8192};
    static const struct {
        const char *dispatcher, *phase, *dtype;
        uint32_t nodes;
    } kinds[] = {{"deepep-normal", "dispatch", "fp8", 1}, {"deepep-normal", "combine", "bf16", 1},
                 {"deepep-normal", "dispatch", "fp8", 4}, {"deepep-normal", "combine", "bf16", 4},
                 {"deepep-ll", "dispatch", "fp8", 2},     {"deepep-ll", "combine", "bf16", 2}};
    fputs(HEADER, out);
    for (size_t k = 0; k < SUITE_COUNT(kinds); k++)
        for (size_t t = 0; t < SUITE_COUNT(tokens); t++)
            fprintf(out, "r%zu-%zu,f,h800-cx7,%s,%u,8,256,8,,%u,7168,%s,%s,,1,0,made\n", k, t,
                    kinds[k].dispatcher, kinds[k].nodes, tokens[t], kinds[k].dtype, kinds[k].phase);
}

static struct fixture rows_fixture(const char *cluster)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    write_rows(out);
    fclose(out);
    struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct error err = {0};
    const struct row_overrides overrides = {.cluster = cluster, .seed = 1};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    free(text);
    out = open_memstream(&text, &length);
    fputs(HEADER, out);
    for (size_t r = 0; r < measured.count; r++) {
        struct measured_row *row = &measured.rows[r];
        struct scenario scenario;
        ck_assert(row_open(&scenario, row, &engine_estimate, &overrides, &err));
        fprintf(out, "%s,f,h800-cx7,%s,%u,8,256,8,,%u,7168,%s,%s,,%.9g,0,made\n", row->id,
                row->dispatcher, row->nodes, row->tokens_per_gpu, dtype_names[row->dtype],
                phase_names[row->phase], row_predict(&scenario, row, &engine_estimate).us);
        scenario_release(&scenario);
    }
    fclose(out);
    fixture_remove(&file);
    measured_release(&measured);
    file = fixture_make(text, ".csv");
    free(text);
    return file;
}

static const char two_rates[] = "parameters:\n"
                                "  - {key: nic, clusters: [h800-cx7]}\n"
                                "  - {key: nvlink, clusters: [h800-cx7], start: 60GB/s}\n"
                                "  - {key: nic_latency, clusters: [h800-cx7]}\n";

static void run(struct calibration *calibration, struct measured *measured, const char *fit,
                const char *rows)
{
    const struct row_overrides overrides = {.seed = 1};
    struct error err = {0};
    ck_assert_msg(calibration_load(calibration, fit, &(struct calibrate_target){NULL, ""}, &err),
                  "%s", err.text);
    ck_assert_msg(measured_load(measured, rows, &err), "%s", err.text);
    ck_assert_msg(calibration_run(calibration, measured, &overrides, false, &err), "%s", err.text);
}

START_TEST(finds_constants_again)
{
    struct fixture rows = rows_fixture("h800-cx7:nic_effective=31GB/s,nvlink_effective=101GB/s,nic_latency=6us");
    struct fixture fit = fixture_make(two_rates, ".yaml");
    struct calibration calibration;
    struct measured measured;
    run(&calibration, &measured, fit.path, rows.path);
    ck_assert_double_eq_tol(calibration.fit.values[0] / 31e9, 1, 2e-3);
    ck_assert_double_eq_tol(calibration.fit.values[1] / 101e9, 1, 2e-3);
    ck_assert_double_eq_tol(calibration.fit.values[2] / 6e6, 1, 2e-2);
    ck_assert_double_lt(calibration.median_abs_pct, 0.05);
    ck_assert_double_gt(calibration.before_median_abs_pct, 5);
    calibration_release(&calibration);
    measured_release(&measured);
    fixture_remove(&rows);
    fixture_remove(&fit);
}
END_TEST

// A written constant says what it was fitted to, and how surely it is known.
static void check_provenance(const struct calibration *calibration, const struct provenance *origin)
{
    struct provenance *said = mem_alloc(cluster_field_count, sizeof *said);
    struct cluster cluster;
    struct error err = {0};
    ck_assert_msg(cluster_load("h800-cx7", &cluster, said, &err), "%s", err.text);
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct provenance *mine = &said[calibration->parameters[p].keys[0] - cluster_fields];
        ck_assert_str_eq(mine->fit, origin->fit);
        ck_assert_str_eq(mine->only, origin->only);
        ck_assert_uint_eq(mine->seed, origin->seed);
        ck_assert_uint_eq(mine->rows, calibration->parameters[p].rows);
        ck_assert(!mine->source && mine->stderr_pct > 0);
    }
    provenance_release(said, cluster_field_count);
    free(said);
}

// Fitted presets are read back by name, and predict what the fit predicted.
START_TEST(writes_presets)
{
    struct fixture rows = rows_fixture("h800-cx7:nic_effective=31GB/s,nvlink_effective=101GB/s,nic_latency=6us");
    struct fixture fit = fixture_make(two_rates, ".yaml");
    const struct row_overrides overrides = {.seed = 1};
    struct calibration calibration;
    struct measured measured;
    struct accuracy accuracy;
    const struct provenance origin = {.fit = (char *)"a test", .only = (char *)"1/2", .seed = 3};
    struct error err = {0};
    run(&calibration, &measured, fit.path, rows.path);
    ck_assert_msg(calibration_write(&calibration, scratch_folder, &origin, &err), "%s", err.text);
    ck_assert(preset_folder(scratch_folder, &err));
    check_provenance(&calibration, &origin);
    accuracy_judge(&accuracy, &measured, &engine_estimate, &overrides, NULL);
    ck_assert(preset_folder(NULL, &err));
    ck_assert_uint_eq(accuracy.skipped, 0);
    for (size_t r = 0; r < accuracy.count; r++)
        ck_assert_double_eq_tol(accuracy.rows[r].predicted_us / calibration.rows[r].predicted_us, 1,
                                1e-3);
    accuracy_release(&accuracy);
    calibration_release(&calibration);
    measured_release(&measured);
    fixture_remove(&rows);
    fixture_remove(&fit);
}
END_TEST

// What no row tells is named, not guessed: one-node rows know no NIC.
START_TEST(names_what_data_cannot_say)
{
    struct fixture fit = fixture_make("parameters:\n"
                                      "  - {key: nvlink, clusters: [h800-cx7]}\n"
                                      "  - {key: nic, clusters: [h800-cx7]}\n",
                                      ".yaml");
    struct fixture rows =
        fixture_make(HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,77,0,s\n"
                            "b,f,h800-cx7,deepep-ll,1,8,256,8,,64,7168,fp8,dispatch,,60,0,s\n"
                            "c,f,h800-cx7,deepep-ll,1,8,256,8,,32,7168,fp8,dispatch,,40,0,s\n",
                     ".csv");
    struct calibration calibration;
    struct measured measured;
    run(&calibration, &measured, fit.path, rows.path);
    ck_assert_int_eq(calibration.fit.verdicts[1], FIT_UNUSED);
    calibration_release(&calibration);
    measured_release(&measured);
    fixture_remove(&rows);
    fixture_remove(&fit);
}
END_TEST

// ---- fit files that are refused -----------------------------------------------------------------

static const struct {
    const char *text, *message;
} refused[] = {
    {"nothing: 1\n", ":1: parameters: expected a list"},
    {"parameters: []\n", "parameters: expected a list"},
    {"data: [a]\nparameters: [5]\n", ":1: data: expected a name"},
    {"parameters: [5]\n", ":1: expected {key"},
    {"parameters:\n  - {key: nik, clusters: [h800-cx7]}\n", ":2: key: 'nik': no such key"},
    {"parameters:\n  - {key: nodes, clusters: [h800-cx7]}\n", ":2: key: 'nodes' is a count"},
    {"parameters:\n  - {key: nccl_chanel_rate, dispatchers: [nccl-alltoall]}\n",
     ":2: key: 'nccl_chanel_rate': no such key of a dispatcher; did you mean nccl_channel_rate"},
    {"parameters:\n  - {key: dispatch_row_rate, dispatchers: [deepep-ll]}\n",
     ":2: deepep-ll: law staged has no key dispatch_row_rate"},
    {"parameters:\n  - {key: dispatch_copy, also: combine_copy, dispatchers: [deepep-ll]}\n",
     ":2: deepep-ll: law staged has no key combine_copy"},
    {"parameters:\n  - {key: nic, clusters: [h900]}\n", "'h900': no such cluster"},
    {"parameters:\n  - {key: nic, clusters: h800-cx7}\n", ":2: expected a list of presets"},
    {"parameters:\n  - {key: nic}\n", ":2: expected one of clusters, dispatchers and kernels"},
    {"parameters:\n  - {key: nic, clusters: [h800-cx7], min: 50}\n", ":2: min: '50'"},
    {"parameters:\n  - {key: nic, clusters: [h800-cx7], min: 50GB/s}\n", "min <= start"},
    {"parameters:\n  - {key: nic, clusters: [h800-cx7], low: 5GB/s}\n", "low: unknown"},
    {"parameters:\n  - {key: nic, clusters: [h800-cx7]}\n  - {key: nic, clusters: [h800-cx7]}\n",
     ":3: nic of h800-cx7 stands twice"},
    {"parameters:\n  - {key: nic, clusters: [asked]}\n", ":2: asked: say which cluster"},
    {"parameters:\n  - {key: dispatch_fixed, dispatchers: [nccl-alltoall@asked]}\n",
     ":2: asked: say which cluster"},
    {"parameters:\n  - {key: dispatch_fixed, dispatchers: [raw]}\n", "starts at 0: give start"},
};

START_TEST(refuses)
{
    struct fixture fit = fixture_make(refused[_i].text, ".yaml");
    struct calibration calibration;
    struct error err = {0};
    ck_assert(
        !calibration_load(&calibration, fit.path, &(struct calibrate_target){NULL, ""}, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, refused[_i].message) != NULL, "'%s' lacks '%s'", err.text,
                  refused[_i].message);
    fixture_remove(&fit);
}
END_TEST

// ---- parts --------------------------------------------------------------------------------------

// N parts hold every row once; rows of one point stay together; except is what only leaves.
START_TEST(parts_hold_every_row_once)
{
    struct fixture file = rows_fixture("h800-cx7");
    struct measured all, some;
    struct error err = {0};
    size_t rows = 0;
    ck_assert(measured_load(&all, file.path, &err));
    for (uint32_t k = 1; k <= 3; k++) {
        struct part part = {.part = k, .parts = 3, .seed = 1};
        ck_assert(measured_load(&some, file.path, &err));
        ck_assert_msg(part_keep(&part, &some, &err), "%s", err.text);
        const size_t only = some.count;
        rows += only;
        measured_release(&some);
        part.except = true;
        ck_assert(measured_load(&some, file.path, &err) && part_keep(&part, &some, &err));
        ck_assert_uint_eq(some.count, all.count - only);
        // Dispatch and combine of one token count are one point: rows come in pairs.
        ck_assert_uint_eq(some.count % 2, all.count % 2);
        measured_release(&some);
    }
    ck_assert_uint_eq(rows, all.count);
    measured_release(&all);
    fixture_remove(&file);
}
END_TEST

static const char *const no_parts[] = {"", "0/3", "4/3", "1", "1/3x", "-1/3", "1/2000", "a/b"};

START_TEST(refuses_no_part)
{
    struct part part = {0};
    struct error err = {0};
    ck_assert(!part_parse(&part, no_parts[_i], &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calibrate");
    TCase *tests = tcase_create("calibrate");
    tcase_set_timeout(tests, 90);
    tcase_add_test(tests, exact_data);
    tcase_add_test(tests, outlier_pulls_little);
    tcase_add_test(tests, standard_error_scales);
    tcase_add_test(tests, prior_holds_what_rows_do_not_tell);
    tcase_add_test(tests, prior_pulls_by_its_precision);
    tcase_add_test(tests, leverage_counts_parameters);
    tcase_add_checked_fixture(tests, scratch_make, scratch_clear);
    tcase_add_test(tests, finds_constants_again);
    tcase_add_test(tests, writes_presets);
    tcase_add_test(tests, names_what_data_cannot_say);
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(tests, parts_hold_every_row_once);
    tcase_add_loop_test(tests, refuses_no_part, 0, SUITE_COUNT(no_parts));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

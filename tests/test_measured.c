// study/rows/csv_rows, measured_load: reading the measurements CSV, and every refusal.
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/suite.h"

#define PLACED COLUMNS ",routing,step,layer\n"
#define LAYERS COLUMNS ",overlap,without\n"
#define LAYER "h800-cx7,nccl-flat,1,8,256,8,4,64,7168,bf16,layer,,5,0,s"
#define ROW "a,f,h800-cx7,deepep-normal,4,8,256,8,4,4096,7168,fp8,dispatch,24,1885.5,1,here\n"

START_TEST(reads)
{
    const struct fixture file =
        fixture_make("\xef\xbb\xbf# where this comes from\n# and when\n" HEADER ROW
                     "b,f,c,d,1,8,256,8,,128,7168,bf16,combine,,77,0,\"there, too\"\n"
                     "c,f,c,d,1,4,,,,bytes:4194304,,,alltoall,,26.6,0,s\n",
                     ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 3);
    const struct measured_row *a = &measured.rows[0], *b = a + 1, *c = a + 2;
    ck_assert_str_eq(a->id, "a");
    ck_assert_str_eq(a->cluster, "h800-cx7");
    ck_assert_uint_eq(a->topk_groups, 4);
    ck_assert_uint_eq(a->sms, 24);
    ck_assert(a->dtype == DTYPE_FP8 && a->phase == PHASE_DISPATCH);
    ck_assert_double_eq(a->latency_us, 1885.5);
    ck_assert_uint_eq(a->line, 4);
    ck_assert_uint_eq(b->topk_groups, 0); // blank: no limit
    ck_assert_uint_eq(b->sms, 0);
    ck_assert_str_eq(b->source, "there, too");
    ck_assert(b->dtype == DTYPE_BF16 && b->phase == PHASE_COMBINE);
    ck_assert_uint_eq(c->bytes_per_rank, 4194304);
    ck_assert_uint_eq(c->tokens_per_gpu, 0);
    ck_assert(c->phase == PHASE_ALLTOALL);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// Optional and unknown columns may stand in any place.
START_TEST(other_columns_are_ignored)
{
    const struct fixture file = fixture_make(
        "note,source,derived,latency_us,sms,phase,dtype,hidden,tokens_per_gpu,topk_groups,topk,"
        "experts,gpus_per_node,nodes,dispatcher,cluster,family,id,stage\r\n"
        "x,s,0,5,,combine,fp32,64,1,,2,8,1,1,d,c,f,i,inter\r\n",
        ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_str_eq(measured.rows[0].id, "i");
    ck_assert_uint_eq(measured.rows[0].hidden, 64);
    ck_assert_uint_eq(measured.rows[0].step, 0);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

START_TEST(reads_places)
{
    const struct fixture file =
        fixture_make(PLACED "a,f,c,d,4,8,256,8,4,9,64,fp8,dispatch,,5,0,s,trace,12345678901,3\n"
                            "b,f,c,d,4,8,256,8,4,9,64,fp8,dispatch,,5,0,s,trace,,\n",
                     ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_uint_eq(measured.rows[0].step, 12345678901);
    ck_assert_uint_eq(measured.rows[0].layer, 3);
    ck_assert_uint_eq(measured.rows[1].step + measured.rows[1].layer, 0);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// A whole layer, with what it ran without and beside what.
START_TEST(reads_layers)
{
    const struct fixture file =
        fixture_make(LAYERS "a,f," LAYER ",,\n"
                            "b,f," LAYER ",none,notify\n"
                            "c,f," LAYER ",dispatch,router+notify\n"
                            "d,f,c,d,4,8,256,8,4,9,64,fp8,shared,,5,0,s,,\n",
                     ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    const struct measured_row *rows = measured.rows;
    ck_assert(rows[0].phase == PHASE_LAYER && rows[3].phase == PHASE_SHARED);
    ck_assert(rows[0].overlap == OVERLAP_NONE && rows[1].overlap == OVERLAP_NONE);
    ck_assert(rows[2].overlap == OVERLAP_DISPATCH);
    ck_assert_uint_eq(rows[0].without, 0);
    ck_assert_uint_eq(rows[1].without, 1 << PHASE_NOTIFY);
    ck_assert_uint_eq(rows[2].without, 1 << PHASE_ROUTER | 1 << PHASE_NOTIFY);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// The message after the path; "..." stands for whatever follows.
static const struct {
    const char *text, *message;
} refused[] = {
    {"", ": empty"},
    {HEADER, ": no rows: expected at least one measurement"},
    {"id,family\na,b\n", ": no column 'cluster': expected a measurements CSV"},
    {"id,family,cluster,dispatcher,nodes,gpus_per_node,experts,topk,topk_groups,hidden,sms,"
     "latency_us,source\n",
     ": no column 'tokens_per_gpu'"},
    {HEADER ROW ROW, ":3: id: 'a' stands on line 2 already"},
    {HEADER "a,f\n", ":2: "},
    {HEADER ",f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: id: "},
    {HEADER "a,f,c,d,0,8,256,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: nodes: "},
    {HEADER "a,f,c,d,4,,256,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: gpus_per_node: "},
    {HEADER "a,f,c,d,4,8,-1,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: experts: "},
    {HEADER "a,f,c,d,4,8,9999,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: experts: "},
    {HEADER "a,f,c,d,4,8,256,1.5,4,4096,7168,fp8,dispatch,24,1885,1,s\n", ":2: topk: "},
    {HEADER "a,f,c,d,4,8,,8,4,4096,7168,fp8,dispatch,24,1885,1,s\n",
     ":2: experts: expected experts, topk and hidden of at least 1"},
    {HEADER "a,f,c,d,4,8,256,8,4,0,7168,fp8,dispatch,24,1885,1,s\n", ":2: tokens_per_gpu: "},
    {HEADER "a,f,c,d,4,8,256,8,4,99999999999,7168,fp8,dispatch,24,1885,1,s\n",
     ":2: tokens_per_gpu: "},
    {HEADER "a,f,c,d,4,8,256,8,4,lots,7168,fp8,dispatch,24,1885,1,s\n", ":2: tokens_per_gpu: "},
    {HEADER "a,f,c,d,4,8,256,8,4,bytes:9,7168,fp8,dispatch,24,1885,1,s\n",
     ":2: tokens_per_gpu: expected bytes:N with phase alltoall, and only there"},
    {HEADER "a,f,c,d,4,8,256,8,4,9,7168,fp8,alltoall,24,1885,1,s\n",
     ":2: tokens_per_gpu: expected bytes:N with phase alltoall, and only there"},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,digest,24,1885,1,s\n",
     ":2: phase: 'digest': expected one of "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dis\tp\x01"
            "atch,24,1885,1,s\n",
     ":2: phase: 'dis\\tp\\x01"
     "atch': expected one of"},
    {HEADER "a,f,c,d,4,8,256,8,4,bytes:0.0,7168,fp8,alltoall,24,1885,1,s\n",
     ":2: tokens_per_gpu: 'bytes:0.0': expected a count from 1, or bytes:N"},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,nan,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,inf,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,-3,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,0,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,1e99,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,,1,s\n", ":2: latency_us: "},
    {HEADER "a,f,c,d,4,8,256,8,4,4096,7168,fp8,dispatch,24,5,maybe,s\n",
     ":2: derived: 'maybe': expected one of 0, 1"},
    {PLACED "a,f,c,d,4,8,256,8,4,9,64,fp8,dispatch,,5,0,s,trace,-1,3\n", ":2: step: '-1': "},
    {PLACED "a,f,c,d,4,8,256,8,4,9,64,fp8,dispatch,,5,0,s,trace,1,first\n", ":2: layer: 'first': "},
    {LAYERS "a,f," LAYER ",beside,\n", ":2: overlap: 'beside': "},
    {LAYERS "a,f," LAYER ",,router+notification\n",
     ":2: without: 'notification': expected one of rmsnorm, "},
    {LAYERS "a,f," LAYER ",,alltoall\n", ":2: without: 'alltoall': expected phases of a layer"},
    {LAYERS "a,f,c,d,4,8,256,8,4,9,64,fp8,combine,,5,0,s,combine,\n",
     ":2: overlap: expected of phase layer alone"},
    {LAYERS "a,f,c,d,4,8,256,8,4,9,64,fp8,combine,,5,0,s,,notify\n",
     ":2: without: expected of phase layer alone"},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, file.path, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)),
                  "'%s' does not begin with '%s'", message, refused[_i].message);
    ck_assert_ptr_null(strchr(err.text, '\n'));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

// A check of the header or a search for a column that went through all others for each would take
// minutes.
START_TEST(many_columns)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    fprintf(out, "%.*s", (int)strlen(HEADER) - 1, HEADER);
    for (int c = 0; c < 300000; c++)
        fprintf(out, ",c%d", c);
    fprintf(out, "\n%.*s", (int)strlen(ROW) - 1, ROW);
    for (int c = 0; c < 300000; c++)
        fputc(',', out);
    fputc('\n', out);
    fclose(out);
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 1);
    measured_release(&measured);
    fixture_remove(&file);
    free(text);
}
END_TEST

static const char *const no_files[] = {"", "/tmp", "/nonexistent/rows.csv"};

START_TEST(refuses_what_is_no_file)
{
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, no_files[_i], &err));
    ck_assert(err.text[0]);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("measured");
    TCase *tests = tcase_create("measured");
    tcase_add_test(tests, reads);
    tcase_add_test(tests, other_columns_are_ignored);
    tcase_add_test(tests, reads_places);
    tcase_add_test(tests, reads_layers);
    tcase_add_test(tests, many_columns);
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, refuses_what_is_no_file, 0, SUITE_COUNT(no_files));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

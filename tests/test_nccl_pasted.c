// What people paste of nccl-tests: ranks and names that are lost, rows that are split, several
// tests, old columns. The texts are written here by hand.
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#define RANK(rank, host, device)                                                                   \
    "#  Rank " rank " Group  0 Pid  77 on " host " device " device " [0000:1b:00] NVIDIA GB200\n"
#define PARAMETERS "# nThread 1 nGpus 1 minBytes 8 maxBytes 64 step: 2(factor) iters: 20\n"
#define DEVICES "# Using devices\n"
#define COLUMNS                                                                                    \
    "#  size  count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong\n"
#define ALLTOALL "# Collective test starting: alltoall_perf\n"
#define SENDRECV "# Collective test starting: sendrecv_perf\n"
#define PAIR RANK("0", "rack-a", "0") RANK("1", "rack-a", "1")
// 16 ranks; in place not checked.
#define ROW16 " 65536 1024 float none -1 41.50 1.58 1.48 0 40.00 1.64 1.54 N/A\n"
#define ROW2 " 8192 1024 float none -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n"

struct expected {
    size_t rows;
    uint32_t nodes, gpus_per_node;
    const char *family;
    uint64_t bytes;
    double us;
};

#define A2A "nccl-tests-alltoall"

static const struct {
    const char *text, *cluster;
    struct expected last;
} texts[] = {
    // Recognised by one line of its own, whatever else is lost.
    {DEVICES PAIR COLUMNS ROW2, NULL, {1, 1, 2, A2A, 8192, 12.25}},
    {COLUMNS ROW16, "2x8:nic=50GB/s", {1, 2, 8, A2A, 65536, 41.5}},
    {ROW16, "2x8:nic=50GB/s", {1, 2, 8, A2A, 65536, 41.5}},
    {"   [1,0]<stdout>:" ROW16, "1x16:nvlink=100GB/s", {1, 1, 16, A2A, 65536, 41.5}},
    // '#' lost in Markdown.
    {" nThread 1 nGpus 1 minBytes 8\n\n Using devices\n   Rank  0 Pid 7 on a device  0 [0x00] "
     "NVIDIA "
     "A100-SXM4-40GB\n   Rank  1 Pid 8 on a device  1 [0x00] NVIDIA A100-SXM4-40GB\n"
     "   size  count  type  redop  time  algbw  busbw  error  time  algbw  busbw  error\n"
     "   8192  1024  float         12.25  0.67  0.33  0e+00  12.00  0.68  0.34  1e+00\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {"> " ALLTOALL "> " DEVICES "> " RANK("0", "a", "0") "> " RANK("1", "a", "1") "> " COLUMNS
                                                                                  "> " ROW2,
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    // Ranks elided in the middle: the last one says how many, its host and device where.
    {ALLTOALL DEVICES RANK("0", "a", "0") "...\n" RANK("15", "b", "7") COLUMNS ROW16,
     NULL,
     {1, 2, 8, A2A, 65536, 41.5}},
    {ALLTOALL DEVICES RANK("0", "a", "0") "......\n" RANK("15", "a", "15") COLUMNS ROW16,
     NULL,
     {1, 1, 16, A2A, 65536, 41.5}},
    {ALLTOALL DEVICES RANK("0", "a", "0") "[...]\n" RANK("15", "d", "3") COLUMNS ROW16,
     NULL,
     {1, 4, 4, A2A, 65536, 41.5}},
    {ALLTOALL DEVICES RANK("0", "a", "0") RANK("15", "b", "7") COLUMNS ROW16,
     NULL,
     {1, 2, 8, A2A, 65536, 41.5}}, // without dots
    {ALLTOALL DEVICES RANK("0", "a", "0") "...\n" RANK("15", "b", "7") COLUMNS ROW16,
     "1x16:nvlink=100GB/s",
     {1, 1, 16, A2A, 65536, 41.5}}, // hosts of one domain
    // At the end, and lines that are lost without a word: the cluster says.
    {ALLTOALL DEVICES PAIR "...\n" COLUMNS ROW16, "4x4:nic=50GB/s", {1, 4, 4, A2A, 65536, 41.5}},
    {ALLTOALL DEVICES PAIR COLUMNS ROW16, "4x4:nic=50GB/s", {1, 4, 4, A2A, 65536, 41.5}},
    {SENDRECV COLUMNS " 4096 1024 float sum -1 9.50 0.43 0.43 0 9.00 0.45 0.45 N/A\n",
     "4x4:nic=50GB/s",
     {1, 4, 4, "nccl-tests-sendrecv", 4096, 9.5}},
    // The command line names the test; -c 0 leaves nothing that could.
    {"$ mpirun -np 16 ./build/alltoall_perf -b 8 -e 64K -c 0\n" COLUMNS
     " 65536 1024 float none -1 41.50 1.58 1.48 N/A 40.00 1.64 1.54 N/A\n",
     "2x8:nic=50GB/s",
     {1, 2, 8, A2A, 65536, 41.5}},
    {"mpirun -n 16 -npernode 4 ./build/alltoall_perf -b 8 -c 0\n" COLUMNS
     " 65536 1024 float none -1 41.50 1.58 1.48 N/A 40.00 1.64 1.54 N/A\n",
     NULL,
     {1, 4, 4, A2A, 65536, 41.5}},
    {"srun --ntasks-per-node=1 alltoall_perf -b 8 -g 8\n" COLUMNS ROW16,
     "h100-cx7",
     {1, 2, 8, A2A, 65536, 41.5}},
    // A preset's own size, where nothing else says.
    {COLUMNS ROW16, "h100-cx7", {1, 2, 8, A2A, 65536, 41.5}},
    {"srun -N 2 sendrecv_perf_mpi -b 8 -c 0\n" PARAMETERS PAIR COLUMNS
     " 4096 1024 float sum -1 9.50 0.43 0.43 N/A 9.00 0.45 0.45 N/A\n",
     NULL,
     {1, 1, 2, "nccl-tests-sendrecv", 4096, 9.5}},
    // Other tests are left out: by name, by command line, by values that are checked in place.
    {"# Collective test starting: reduce_scatter_perf\n" PARAMETERS PAIR COLUMNS ROW2 ALLTOALL
         PARAMETERS PAIR COLUMNS ROW2,
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {"mpirun all_gather_perf -b 8\n" PARAMETERS PAIR COLUMNS ROW2
     "mpirun alltoall_perf -b 8\n" PARAMETERS PAIR COLUMNS ROW2,
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {PARAMETERS PAIR COLUMNS
     " 4096 1024 float sum -1 9.5 0.4 0.4 0 9.0 0.4 0.4 0\n" PARAMETERS PAIR COLUMNS ROW2,
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    // Rows that NCCL's log splits: after the root, after a figure, with lines between.
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1gpu-a:7:9 [0] NCCL INFO Launch mode Parallel\n"
                           "   12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -19node:7:9 [0] NCCL INFO Channel 00/0\n"
                           "gpu-a:7:9 [0] NCCL INFO Channel 01/0\n 12.25 0.67 0.33 0 12.00 0.68 "
                           "0.34 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 12.25 0.67 0.33 0gpu-a:7:9 [0] NCCL INFO x\n"
                           " 12.00 0.68 0.34 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {ALLTOALL PAIR COLUMNS ROW2 " 16384 2048 float none -1gpu-a:7:9 [0] NCCL INFO x\n" ROW2
                                " 16384 2048 float none\n",
     NULL,
     {2, 1, 2, A2A, 8192, 12.25}},
    // After the size, and after the count, where another writer's numbers stand too.
    {ALLTOALL PAIR COLUMNS " 8192  gpu-a:7:9 [0] NCCL INFO Channel 00/0\n 12 34 processes\n"
                           " 8192 gpu-a:7:9 [0] NCCL INFO Channel 01/0\n"
                           "  1024 float none -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {ALLTOALL PAIR COLUMNS " 8192 1024  gpu-a:7:9 [0] NCCL INFO Channel 00/0\n"
                           " float none -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n" ROW2,
     NULL,
     {2, 1, 2, A2A, 8192, 12.25}},
    // Two beginnings on a line: which end is whose is not to be told.
    {ALLTOALL PAIR COLUMNS ROW2 " 8192 1024 float none 16384 2048 float none\n"
                                " -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n"
                                " -1 20.00 0.82 0.41 0 20.00 0.82 0.41 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    // A time that its own rate contradicts; and a time of day that no column names.
    {ALLTOALL PAIR COLUMNS ROW2 " 16384 2048 float none -1 20000.00 0.82 0.41 0 20.0 0.8 0.4 N/A\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A  "
                           "2027-01-09T03:05:27\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    // A type that is not known, and other writers' numbers.
    {ALLTOALL PAIR COLUMNS ROW2 " 8192 1024 quad none -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n"
                                " 12 34 processes are ready\n",
     NULL,
     {1, 1, 2, A2A, 8192, 12.25}},
    // A table after another is of the same ranks.
    {ALLTOALL PAIR COLUMNS ROW2 COLUMNS ROW2, NULL, {2, 1, 2, A2A, 8192, 12.25}},
};

static bool load(struct measured *measured, const struct fixture *file, const char *cluster,
                 struct error *err)
{
    char *const paths[] = {(char *)file->path};
    return measured_load_files(measured, paths, 1, cluster, err);
}

START_TEST(reads)
{
    const struct fixture file = fixture_make(texts[_i].text, ".txt");
    const struct expected *last = &texts[_i].last;
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(load(&measured, &file, texts[_i].cluster, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, last->rows);
    const struct measured_row *row = &measured.rows[measured.count - 1];
    ck_assert_uint_eq(row->nodes, last->nodes);
    ck_assert_uint_eq(row->gpus_per_node, last->gpus_per_node);
    ck_assert_str_eq(row->family, last->family);
    ck_assert_uint_eq(row->bytes_per_rank, last->bytes);
    ck_assert_double_eq_tol(row->latency_us, last->us, 1e-9);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

static const struct {
    const char *text, *cluster, *message;
} refused[] = {
    {ALLTOALL PAIR "...\n" COLUMNS ROW16, NULL,
     ":6: lines of ranks are left out, and how many a host has is not known: expected --cluster "
     "NxG "
     "(nodes x GPUs of each), 16 ranks in all"},
    {COLUMNS ROW16, "2x4:nic=50GB/s", ":2: --cluster 2x4 is 8 ranks: expected 16, as the table"},
    {SENDRECV COLUMNS " 4096 1024 float sum -1 9.50 0.43 0.43 0 9.00 0.45 0.45 N/A\n", NULL,
     ":3: a table without ranks: expected lines '# Rank 0"},
    {ALLTOALL PAIR COLUMNS ROW16, NULL,
     ":5: size: 65536 bytes: expected count 1024 x 4 bytes of float x 2 peers; where lines of "
     "ranks are lost, --cluster NxG"},
    {RANK("0", "a", "0") DEVICES RANK("0", "b", "0"), NULL,
     ":3: rank 0 stands twice: expected one "
     "job"},
    {RANK("0", "a", "0") RANK("2", "a", "2") RANK("1", "a", "1"), NULL,
     ":3: rank 1 stands after rank 2: expected each once, in their order"},
    {ALLTOALL PAIR COLUMNS " -1 12.25 0.67 0.33 0 12.00 0.68 0.34 N/A\n", NULL,
     ":5: no rows: rows whose beginning is not there"},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 12.25 0.67 0.33 0 12.0", NULL,
     ":5: no rows: rows whose end is not there"},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 0.01 0.67 0.33 0 0.01 0.68 0.34 N/A\n", NULL,
     ":5: no rows: rows whose time is not their size over algbw are left out"},
    {COLUMNS " 65536 1024 float none -1 41.50 1.58 1.48 N/A 40.00 1.64 1.54 N/A\n",
     "2x8:nic=50GB/s", ":2: no rows: rows are left out, for the text does not say which test ran"},
    {"for t in all_reduce_perf alltoall_perf; do\n" COLUMNS
     " 65536 1024 float none -1 41.50 1.58 1.48 N/A 40.00 1.64 1.54 N/A\n",
     "2x8:nic=50GB/s", ":3: no rows: rows are left out, for the text does not say which test ran"},
    {"mpirun -np 8 all_reduce_perf -b 32\n" COLUMNS, NULL,
     ":2: no rows: rows of all_reduce_perf are left out"},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 44.4e-320 0.67 0.33 0 12.00 0.68 0.34 N/A\n",
     NULL, ":5: time: "},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 nan 0.67 0.33 0 12.00 0.68 0.34 N/A\n", NULL,
     ":5: time: "},
    {ALLTOALL PAIR COLUMNS " 8192 1024 float none -1 1 2 3 0 5 6 7 N/A 9 10\n", NULL,
     ":5: 15 cells: expected 13"},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert(!load(&measured, &file, refused[_i].cluster, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)), "%s",
                  message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

// A log of days repeats its sizes: what is kept of it does not grow.
START_TEST(keeps_few_of_each_size)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    fputs(ALLTOALL PAIR COLUMNS, out);
    for (int repeat = 0; repeat < 500; repeat++)
        fputs(ROW2 " 16384 2048 float none -1 20.00 0.8 0.4 0 20.00 0.8 0.4 N/A\n", out);
    fclose(out);
    const struct fixture file = fixture_make(text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(load(&measured, &file, NULL, &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 2 * 16);
    measured_release(&measured);
    fixture_remove(&file);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nccl_pasted");
    TCase *tests = tcase_create("nccl_pasted");
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(texts));
    tcase_add_test(tests, keeps_few_of_each_size);
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

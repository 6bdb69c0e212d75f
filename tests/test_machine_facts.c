// study/rows/machine_facts and its readers: ib_write_bw, nvbandwidth and nvidia-smi topo -m. The
// texts are written here by hand, in the formats of these programs.
#include "model/cluster.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#define TITLE "                    RDMA_Write BW Test\n"
#define BOTH "                    RDMA_Write Bidirectional BW Test\n"
#define DEVICE " Dual-port       : OFF\t\tDevice         : mlx5_4\n Number of qps   : 4\n"
#define GBITS " #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n"
#define MIB " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]\n"
#define LINE                                                                                       \
    "---------------------------------------------------------------------------------------\n"
#define MATRIX(how, what) "memcpy " how " " what " bandwidth (GB/s)\n"
#define PAIRS                                                                                      \
    "           0         1\n 0       N/A    402.00\n 1    398.00       N/A\n\nSUM "               \
    "device_to_device_memcpy_read_ce 800.00\n"
#define AFFINITY "  CPU Affinity  NUMA Affinity\n"

static const struct {
    const char *text, *cluster, *line;
} texts[] = {
    {TITLE DEVICE LINE GBITS " 2 5000 0.1 0.08 5.1\n 1048576 5000 392.1 391.2 0.0466\n" LINE, NULL,
     "--cluster NAME:nic_effective=48.9GB/s"},
    {TITLE DEVICE MIB " 1048576    5000    46630.1   46630.1   0.046630\n", "h100-cx7",
     "--cluster h100-cx7:nic_effective=48.9GB/s"},
    // Half of what a test of both ways counts.
    {BOTH DEVICE GBITS " 1048576 5000 784.0 782.4 0.0933\n", "h100-cx7:nic=100Gbps,rails=true",
     "--cluster h100-cx7:nic=100Gbps,rails=true,nic_effective=48.9GB/s"},
    {"                    Send BW Test\n" GBITS " 65536 5000 0.00 200.0 0.38\n 65536 5000 0.00 "
     "190.0 0.36\n",
     "2x8:nvlink=450GB/s,nic_effective=40GB/s",
     "--cluster 2x8:nvlink=450GB/s,nic_effective=25GB/s"}, // in place of what it said
    {"#bytes #iterations BW average[MB/sec] MsgRate[Mpps]\n1048576 93205 23302.26 0.023302\n", NULL,
     "--cluster NAME:nic_effective=24.43GB/s"},
    {TITLE GBITS " 65536 5000 0.00 200.0 0.38\n" TITLE GBITS
                 " 65536 5000 0.00 100.0 0.19\n" TITLE GBITS " 65536 5000 0.00 360.0 0.69\n",
     NULL, "--cluster NAME:nic_effective=25GB/s"}, // three runs: the median
    {"{\"test_info\": {\"test\": \"RDMA_Write BW Test\", \"Device\": \"mlx5_4\"},\n\"results\": "
     "{\"MsgSize\": 65536, \"n_iterations\": 5000, \"BW_peak\": 391.3, \"BW_average\": 391.2, "
     "\"MsgRate\": 0.746155}}\n",
     NULL, "--cluster NAME:nic_effective=48.9GB/s"},
    {"{\"test_info\": {\"test\": \"RDMA_Write Bidirectional BW Test\"},\n\"results\": "
     "{\"MsgSize\": 65536, \"BW_average\": 91.0, \"MsgRate\": \"1.492310\"}}\n",
     NULL, "--cluster NAME:nic_effective=48.9GB/s"},
    {"nvbandwidth Version: v0.8\n" MATRIX("CE", "GPU(row) -> GPU(column)") PAIRS, NULL,
     "--cluster 1x2:nvlink_effective=400GB/s"},
    {MATRIX("CE", "GPU(row) <-> GPU(column)") PAIRS, NULL,
     "--cluster 1x2:nvlink_effective=200GB/s"},
    // Kernels before copy engines; host and GPU are no pair.
    {MATRIX("CE", "CPU(row) -> GPU(column)") "           0         1\n 0     55.1     "
                                             "55.2\n" MATRIX("CE", "GPU(row) -> GPU(column)")
                                                 PAIRS MATRIX(
                                                     "SM",
                                                     "GPU(row) -> GPU(column)") "   0   1\n 0   "
                                                                                "N/A  340.0\n 1  "
                                                                                "360.0  N/A\n",
     NULL, "--cluster 1x2:nvlink_effective=350GB/s"},
    {"\tGPU0\tGPU1\tNIC0\tNIC1" AFFINITY "GPU0\t X \tNV18\tPXB\tSYS\t0-55\t0\n"
     "GPU1\tNV18\t X \tSYS\tPIX\t0-55\t0\nNIC0\tPXB\tSYS\t X \tSYS\n",
     NULL, "--cluster 1x2:nvlink=450GB/s"},
    {"\tGPU0\tGPU1\tNIC0\tNIC1" AFFINITY "GPU0\t X \tNV18\tPXB\tSYS\t0-55\t0\n", "gb200-nvl72",
     "--cluster gb200-nvl72:nvlink=900GB/s"},
    // A NIC of the host; one NIC of two GPUs.
    {"\tGPU0\tGPU1\tmlx5_0\tmlx5_1" AFFINITY "GPU0\t X \tNV4\tPXB\tSYS\t0-55\t0\n"
     "GPU1\tNV4\t X \tPXB\tNODE\t0-55\t0\n",
     NULL, "--cluster 1x2:nvlink=100GB/s,nics_per_node=1"},
    {"\tGPU0\tGPU1\tNIC0" AFFINITY "GPU0\t X \tSYS\tPHB\t0-55\t0\nGPU1\tSYS\t X \tPHB\t0-55\t0\n",
     "2x2:nvlink=20GB/s,nic=50GB/s",
     "--cluster 2x2:nvlink=20GB/s,nic=50GB/s,inside=nic,nics_per_node=1"},
    {"\033[4mGPU0  GPU1  GPU2" AFFINITY "\033[0mGPU0  X  NV2  NV1  0-5\nGPU1  NV2  X  SYS  0-5\n",
     NULL, "--cluster 1x3:nvlink=50GB/s"},
    // Beside one another.
    {"\tGPU0\tGPU1\tNIC0\tNIC1" AFFINITY "GPU0\t X \tNV18\tPXB\tSYS\t0-55\t0\n" MATRIX(
         "CE", "GPU(row) -> GPU(column)") PAIRS TITLE GBITS " 1048576 5000 392.1 391.2 0.0466\n",
     NULL, "--cluster 2x2:nvlink=450GB/s,nvlink_effective=400GB/s,nic_effective=48.9GB/s"},
};

static bool load(struct measured *measured, const struct fixture *file, const char *cluster,
                 struct error *err)
{
    char *const paths[] = {(char *)file->path};
    return measured_load_files(measured, paths, 1, cluster, err);
}

// No rows, so that they are refused, with the line; which can be read but for its NAME.
START_TEST(says_a_line)
{
    const struct fixture file = fixture_make(texts[_i].text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert(!load(&measured, &file, texts[_i].cluster, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *line = strstr(err.text, "--cluster");
    ck_assert_ptr_nonnull(line);
    ck_assert_str_eq(line, texts[_i].line);
    struct cluster cluster;
    const char *what = line + strlen("--cluster ");
    if (strncmp(what, "NAME:", 5))
        ck_assert_msg(cluster_load(what, &cluster, NULL, &err), "%s", err.text);
    fixture_remove(&file);
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {TITLE DEVICE GBITS " 8 1000 0.00 0.50 7.8\n",
     ":5: no rows: perftest: messages of at most 8 bytes"},
    {TITLE DEVICE, ": no rows: expected at least one measurement in what ib_write_bw prints"},
    {TITLE DEVICE GBITS " 65536 1000 0.00 nan 7.8\n", ": no rows: expected at least one"},
    {MATRIX("CE", "CPU(row) -> GPU(column)") "  0  1\n 0 55.1 55.2\n",
     ": no rows: expected at least one measurement in what nvbandwidth prints"},
    {"SUM device_to_device_memcpy_read_ce 715.53\n", ": no rows: expected at least one"},
    {MATRIX("CE", "GPU(row) -> GPU(column)") "  0  7\n 0 55.1 55.2\n",
     ": no rows: expected at least one"},
    {"\tGPU0\tGPU1" AFFINITY, ": no rows: expected at least one measurement in what nvidia-smi"},
    {"{\"results\": {\"MsgSize\": 2, \"BW_average\": 1.0, \"MsgRate\": 7.5}}",
     ":1: no rows: perftest"},
    {"{\"results\": {\"MsgSize\": 2, \"BW_average\": nan, \"MsgRate\": 7.5}}", ":1: column "},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert(!load(&measured, &file, NULL, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)), "%s",
                  message);
    fixture_remove(&file);
}
END_TEST

// Beside rows they are said, and the rows are read.
START_TEST(beside_rows)
{
    const struct fixture file =
        fixture_make("# Collective test starting: sendrecv_perf\n"
                     " 4096 1024 float sum -1 9.50 0.43 0.43 0 9.00 0.45 0.45 N/A\n" TITLE GBITS
                     " 1048576 5000 392.1 391.2 0.0466\n",
                     ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert_msg(load(&measured, &file, "2x1:nic=50GB/s", &err), "%s", err.text);
    ck_assert_uint_eq(measured.count, 1);
    ck_assert_double_eq_tol(measured.facts.nic_Bps, 48.9e9, 1e3);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("machine_facts");
    TCase *tests = tcase_create("machine_facts");
    tcase_add_loop_test(tests, says_a_line, 0, SUITE_COUNT(texts));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(tests, beside_rows);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

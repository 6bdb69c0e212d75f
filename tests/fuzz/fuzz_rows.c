// Whatever may hold measured rows: logs of every tool, measurements as CSV and JSON, facts of a
// machine. What is read is whole: its rows are of some ranks and take some time.
#include "study/rows/measured.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void load_rows(const char *cluster)
{
    char *const paths[] = {(char *)fuzz_path("rows")};
    struct measured measured;
    struct error err = {0};
    if (!measured_load_files(&measured, paths, 1, cluster, &err)) {
        if (!err.text[0] || strchr(err.text, '\n'))
            abort();
        return;
    }
    if (!measured.count)
        abort();
    for (size_t r = 0; r < measured.count; r++)
        if (!(measured.rows[r].latency_us > 0) || memchr(measured.rows[r].gpu, '\033', 16))
            abort();
    measured_release(&measured);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_write("rows", data, size);
    load_rows(NULL);
    load_rows("2x8:nvlink=450GB/s,nic=50GB/s");
    return 0;
}

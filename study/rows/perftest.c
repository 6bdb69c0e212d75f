// What perftest's ib_write_bw, ib_read_bw and ib_send_bw print: the rate of a NIC, a fact of the
// machine.
//
//     #bytes #iterations  BW peak[Gb/sec]  BW average[Gb/sec]  MsgRate[Mpps]
//
// in Gb/sec, or in MB/sec and MiB/sec, which both are 2^20 bytes. A bidirectional test (-b) counts
// both ways: half of it is one. A table's rate is its largest average over messages of
// MIN_MESSAGE_BYTES and more; smaller ones measure how many messages a NIC sends, not its rate.
#include "study/rows/perftest.h"

#include "base/mem.h"
#include "study/rows/log.h"
#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AVERAGE "BW average["

void perftest_add(struct perftest_runs *runs, double bytes, double rate_Bps)
{
    if (!(rate_Bps > 0 && rate_Bps < 1e13))
        return;
    runs->max_bytes = bytes > runs->max_bytes ? bytes : runs->max_bytes;
    if (bytes >= PERFTEST_MIN_BYTES && rate_Bps > runs->best_Bps)
        runs->best_Bps = rate_Bps;
}

void perftest_end_run(struct perftest_runs *runs)
{
    if (runs->best_Bps > 0) {
        runs->rates_Bps = mem_room(runs->rates_Bps, runs->count, sizeof *runs->rates_Bps);
        runs->rates_Bps[runs->count++] = runs->best_Bps;
    }
    runs->best_Bps = 0;
}

static const char *device_note(const struct perftest_runs *runs, char *buffer, size_t bytes)
{
    char quoted[ERROR_QUOTE_BYTES];
    buffer[0] = '\0';
    if (runs->device[0])
        snprintf(buffer, bytes, " of %s", error_quote(runs->device, quoted));
    return buffer;
}

void perftest_tell(struct perftest_runs *runs, struct log *log)
{
    char rate[MACHINE_RATE_BYTES], device[ERROR_QUOTE_BYTES + 8], spread[64] = "";
    perftest_end_run(runs);
    if (!runs->count) {
        if (runs->max_bytes > 0)
            log_leave_out(log,
                          "perftest: messages of at most %.0f bytes say how many of them a NIC "
                          "sends, not its rate: expected a run with -s 1048576, or -a",
                          runs->max_bytes);
        return;
    }
    struct machine_facts *facts = &log->measured->facts;
    facts->nic_Bps = machine_median(runs->rates_Bps, runs->count);
    facts->count++;
    if (runs->count > 1)
        snprintf(spread, sizeof spread, "; %zu runs, %.4g to %.4g GB/s", runs->count,
                 runs->rates_Bps[0] / 1e9, runs->rates_Bps[runs->count - 1] / 1e9);
    notice("%s: perftest: nic_effective=%s: one NIC%s, each way%s%s", log->path,
           machine_rate(facts->nic_Bps, rate), device_note(runs, device, sizeof device),
           runs->both_ways ? ", half of what a bidirectional test counts" : "", spread);
}

// ---- lines --------------------------------------------------------------------------------------

struct perftest {
    struct perftest_runs runs;
    double unit_Bps; // of a table's averages; 0: no table
    bool has_peak;
};

static bool is_perftest_header(const char *line)
{
    return strstr(line, "#bytes") && strstr(line, AVERAGE);
}

// "RDMA_Write BW Test", "Send Bidirectional BW Test", "RDMA_Write Post List BW Test".
static bool is_perftest_title(const char *line)
{
    return strstr(line, "BW Test") && (strstr(line, "RDMA_") || strstr(line, "Send "));
}

static bool is_perftest(const char *line)
{
    return is_perftest_header(line) || is_perftest_title(line);
}

static void begin_table(struct perftest *perftest, const char *line)
{
    const char *unit = strstr(line, AVERAGE) + strlen(AVERAGE);
    perftest_end_run(&perftest->runs);
    perftest->unit_Bps = !strncmp(unit, "Gb", 2) ? 1e9 / 8 : !strncmp(unit, "M", 1) ? 0x1p20 : 0;
    perftest->has_peak = strstr(line, "BW peak[") != NULL;
}

// "65536 5000 24012.44 24010.87 0.384174".
static void read_sizes(struct perftest *perftest, const char *line)
{
    double bytes, peak, average;
    const int cells = perftest->has_peak ? sscanf(line, "%lf %*u %lf %lf", &bytes, &peak, &average)
                                         : sscanf(line, "%lf %*u %lf", &bytes, &average);
    if (cells != (perftest->has_peak ? 3 : 2))
        return;
    average *= perftest->runs.both_ways ? 0.5 : 1;
    perftest_add(&perftest->runs, bytes, average * perftest->unit_Bps);
}

static void read_device_name(struct perftest_runs *runs, const char *line)
{
    const char *device = strstr(line, "Device");
    device = device ? skip_blanks(device + strlen("Device")) : NULL;
    if (device && *device == ':') {
        device = skip_blanks(device + 1);
        snprintf(runs->device, sizeof runs->device, "%.*s", (int)strcspn(device, " \t"), device);
    }
}

static bool read_perftest_line(void *state, struct log *log, const char *line)
{
    struct perftest *perftest = state;
    (void)log;
    if (perftest->unit_Bps > 0 && isdigit((unsigned char)*skip_blanks(line))) {
        read_sizes(perftest, line);
    } else if (is_perftest_header(line)) {
        begin_table(perftest, line);
    } else if (is_perftest_title(line)) {
        perftest_end_run(&perftest->runs);
        perftest->unit_Bps = 0;
        perftest->runs.both_ways = strstr(line, "Bidirectional") != NULL;
    } else if (strstr(line, "Dual-port")) {
        read_device_name(&perftest->runs, line);
    }
    return true;
}

static bool end_perftest(void *state, struct log *log)
{
    struct perftest *perftest = state;
    perftest_tell(&perftest->runs, log);
    return true;
}

static void release_perftest(void *state)
{
    struct perftest *perftest = state;
    free(perftest->runs.rates_Bps);
}

const struct log_reader log_reader_perftest = {"what ib_write_bw prints",
                                               sizeof(struct perftest),
                                               is_perftest,
                                               read_perftest_line,
                                               end_perftest,
                                               release_perftest};

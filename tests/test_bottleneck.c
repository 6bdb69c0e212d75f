// model/engine/bottleneck: both engines name the same kind of thing, and of equal ports the sending
// one.
#include "model/engine/walk.h"
#include "model/engine/estimate.h"
#include "scenario/scenario.h"
#include "sim/simulate.h"
#include "tests/suite.h"

#include <string.h>

typedef void engine_run(const struct schedule *schedule, const struct run *run,
                        struct timing *timing);

static const struct {
    const char *cluster, *dispatcher, *traffic;
    uint32_t ep, tokens, sms;
    enum phase phase;
    const char *simulated, *estimated; // ends of the name: drawn loads differ by rank and direction
} cases[] = {
    // The same bytes in and out of every rank: the first sending port, by both.
    {"4x8:nvlink_effective=138GB/s,nic_effective=46GB/s", "raw", "uniform:1MiB", 32, 0, 0, PHASE_ALLTOALL,
     "gpu0.nic.tx", "gpu0.nic.tx"},
    {"4x8:nvlink_effective=138GB/s,nic_effective=46GB/s", "raw", "uniform:1KiB", 32, 0, 0, PHASE_ALLTOALL, "latency",
     "latency"},
    {"a100-nvl8", "nccl-alltoall", "uniform:64MiB", 8, 0, 0, PHASE_ALLTOALL, "gpu0.nvlink.tx",
     "gpu0.nvlink.tx"},
    // Start, flags and hops are most of a small transfer, whatever port moves its bytes.
    {"h800-cx7", "deepep-ll", "", 32, 1, 0, PHASE_DISPATCH, "latency", "latency"},
    {"h800-cx7", "deepep-ll", "", 32, 1, 0, PHASE_COMBINE, "latency", "latency"},
    {"gb200-nvl72", "trtllm-onesided", "", 8, 8, 0, PHASE_DISPATCH, "latency", "latency"},
    // Drawn loads: some rank receives most; expected ones: all alike.
    {"h800-cx7", "deepep-normal", "", 32, 4096, 0, PHASE_DISPATCH, ".nic.rx", "gpu0.nic.tx"},
    {"h800-cx7", "deepep-normal", "", 32, 4096, 0, PHASE_COMBINE, ".nic.tx", "gpu0.nic.tx"},
    // Four SMs copy less than NVLink moves.
    {"h800-cx7", "deepep-normal", "", 8, 4096, 4, PHASE_DISPATCH, ".sm", "gpu0.sm"},
    {"h800-cx7", "deepep-normal", "", 8, 4096, 4, PHASE_COMBINE, ".sm", "gpu0.sm"},
    // Work of SMs that a cost model says, before, beside and after the wires, is more than theirs.
    {"h800-cx7:nvlink_effective=2000GB/s", "deepep-ll", "", 8, 1024, 0, PHASE_COMBINE, ".sm", "gpu0.sm"},
    {"gb200-nvl72:sms=16", "trtllm-onesided", "", 8, 4096, 0, PHASE_DISPATCH, ".sm", "gpu0.sm"},
};

static struct scenario_def def_of(int i)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.cluster, cases[i].cluster);
    strcpy(def.dispatcher, cases[i].dispatcher);
    strcpy(def.traffic, cases[i].traffic);
    def.ep = cases[i].ep;
    def.routing = ROUTING_UNIFORM;
    def.tokens = cases[i].tokens;
    def.sms = cases[i].sms;
    def.aligned = true;
    return def;
}

static void expect(int i, engine_run *engine, enum loads_kind loads, const char *end)
{
    const struct scenario_def def = def_of(i);
    struct error err = {0};
    struct scenario scenario;
    struct timing timing;
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    scenario_load(&scenario, loads);
    schedule_keep_only(scenario.schedule, cases[i].phase);
    engine(scenario.schedule, &scenario.run, &timing);
    const char *name = timing.phases[cases[i].phase].bottleneck;
    ck_assert_msg(strlen(name) >= strlen(end) && !strcmp(name + strlen(name) - strlen(end), end),
                  "case %d: %s names %s, expected ...%s", i, timing.engine, name, end);
    timing_release(&timing);
    scenario_release(&scenario);
}

START_TEST(names)
{
    expect(_i, simulate, LOADS_COUNTED, cases[_i].simulated);
    expect(_i, estimate, LOADS_EXPECTED, cases[_i].estimated);
}
END_TEST

// One rank comes so late that the others' wait for it is most of the phase; whoever asks.
START_TEST(late_arrival)
{
    struct scenario_def def = def_of(3);
    struct error err = {0};
    struct scenario scenario;
    def.aligned = false;
    def.skew_us = 500;
    engine_run *const engines[] = {simulate, estimate};
    for (size_t e = 0; e < 2; e++) {
        struct timing timing;
        ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
        scenario_load(&scenario, LOADS_COUNTED);
        schedule_keep_only(scenario.schedule, PHASE_DISPATCH);
        engines[e](scenario.schedule, &scenario.run, &timing);
        const char *name = timing.phases[PHASE_DISPATCH].bottleneck;
        ck_assert_msg(strstr(name, "the late arrival of gpu") == name, "%s", name);
        timing_release(&timing);
        scenario_release(&scenario);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bottleneck");
    TCase *tests = tcase_create("bottleneck");
    tcase_add_loop_test(tests, names, 0, SUITE_COUNT(cases));
    tcase_add_test(tests, late_arrival);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

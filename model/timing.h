// The timing: what every engine fills, so that any two can be laid side by side and every printer,
// plot and test is written once. Also what an engine is asked besides the schedule.
#ifndef MODEL_TIMING_H
#define MODEL_TIMING_H

#include "model/schedule.h"

// Where the shared expert runs.
enum overlap {
    OVERLAP_NONE,     // after combine
    OVERLAP_DISPATCH, // beside dispatch
    OVERLAP_COMBINE,  // beside combine
};
extern const char *const overlap_names[];

struct run {
    uint64_t seed;
    uint64_t skew_ps; // ranks arrive uniformly within this time after the first (drawn by seed)
    bool aligned;     // every phase starts when all ranks have ended the one before, as benchmarks
                      // that time one kernel do; otherwise each rank goes on by itself
    enum overlap overlap;
    FILE *timeline; // simulate only: Chrome trace events; NULL: none
};

// When a rank enters the layer, counted from the beginning of the time in which all do.
uint64_t run_arrival_ps(const struct run *run, uint32_t rank);

struct phase_timing {
    bool present;
    uint64_t *start_ps, *end_ps;    // [ranks]
    uint64_t *stage_end_ps[STAGES]; // [ranks] the last byte of a transfer's stage, or when the rank
                                    // had started where it has none
    uint32_t *last_sender; // [ranks] whose data a rank waited for last; itself when its own
    uint64_t *late_start_ps, *late_ps; // [ranks] when a rank starts and ends that is as unlucky as
                                       // the slowest of all is expected to be: estimate from
                                       // expected loads; else start_ps and end_ps
    double *start_sd_ps, *sd_ps;       // [ranks] one standard deviation of that; 0: as a normal's
    uint64_t floor_ps;   // estimate: the phase cannot be over everywhere before a port that
                         // ranks share has passed all of its bytes, whoever's come last
    double bytes;        // on the wire, NIC and NVLink, summed over ranks
    double bound_ps;     // physical port bound (port_loads_bound_ps); 0: moves nothing
    char bottleneck[96]; // a port's name, "gpu3.sm", "compute" or "latency"
    char busiest[48];    // the port of the bound
};

// One port in one phase that moves data.
struct port_timing {
    enum phase phase;
    enum port_kind kind;
    uint32_t port;
    double bytes;
    double busy_ps;
    double wait_ps, longest_wait_ps; // queueing; zero in the closed form
};

// One step of the critical path, in time order.
struct critical_step {
    enum phase phase;
    uint32_t rank;
    uint64_t start_ps, end_ps;
    char cause[128]; // why it could not start or end earlier
};

struct timing {
    const char *engine; // "simulate", "estimate", "naive", later "real"
    uint32_t ranks;
    struct phase_timing phases[PHASE_COUNT];
    struct port_timing *ports;
    size_t port_count, port_capacity;
    struct critical_step path[2 * PHASE_COUNT];
    size_t path_count;
    double nodes_per_token, ranks_per_token;
    uint64_t events; // 0 in the closed form
};

void timing_init(struct timing *timing, const char *engine, const struct schedule *schedule);
void timing_release(struct timing *timing);
struct port_timing *timing_add_port(struct timing *timing, enum phase phase, enum port_kind kind,
                                    uint32_t port);

// The rank with the latest of times[ranks]; of several the first.
uint32_t timing_last(const uint64_t *times_ps, uint32_t ranks);

// A phase in four numbers, picoseconds. latency is the slowest: first start to last end;
// latency_mean is the mean over ranks of each rank's own end minus start.
struct phase_span {
    double start_ps, end_ps, latency_ps, latency_mean_ps;
};
struct phase_span timing_span(const struct timing *timing, enum phase phase);

// The same of one stage of a transfer: from a rank's start of the phase to the stage's last byte,
// as the real backend times it.
struct phase_span timing_stage_span(const struct timing *timing, enum phase phase,
                                    enum stage stage);

// First rank's start to last rank's end over all phases.
double timing_layer_ps(const struct timing *timing);

// The same as a span: latency is timing_layer_ps, and the mean is over ranks, of each one's own
// first start to its own last end.
struct phase_span timing_layer_span(const struct timing *timing);

// A hash of everything an engine computed, for determinism tests (FNV-1a over integers).
uint64_t timing_hash(const struct timing *timing);

// One plain sentence on what binds the phase and how far it is above the port bound.
// buffer has 320 bytes.
char *timing_sentence(const struct timing *timing, enum phase phase, char *buffer);

#endif

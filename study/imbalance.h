// What imbalance costs: a layer as it was asked against the same traffic spread evenly over ranks,
// with no part slow and all ranks arriving together.
//
// Causes are put in one after the other, each on top of those before it: the routing's loads, then
// slow parts, then late arrivals. What a cause adds is therefore exact, and the causes add up;
// where one hides behind another (a slow NIC on a rank that others wait for anyway), the later one
// says less than it would alone.
//
// Phases add up too: a phase's time is from when the phases before it had ended on all ranks to
// when it has; the first of all is the time from the first rank's arrival to the last one's.
#ifndef STUDY_IMBALANCE_H
#define STUDY_IMBALANCE_H

#include "model/question.h"

enum imbalance_cause { CAUSE_ROUTING, CAUSE_SLOW, CAUSE_ARRIVAL, CAUSES };
extern const char *const imbalance_cause_names[]; // "routing", ...

#define IMBALANCE_ROWS (PHASE_COUNT + 1) // the arrival, then phases
#define IMBALANCE_ARRIVAL 0
#define IMBALANCE_PHASE(phase) ((phase) + 1)

// What binds the phase that costs most.
struct straggler {
    uint32_t row;  // of IMBALANCE_ROWS
    char name[48]; // "gpu5.nic.rx", "gpu5"; "": nobody, a matter of chance
    double share;  // of its healthy rate; 1: healthy
    double load;   // over the mean of its like; 0: has no load (an arrival)
};

struct imbalance {
    bool present[IMBALANCE_ROWS];
    double balanced_ps[IMBALANCE_ROWS];
    double cause_ps[CAUSES][IMBALANCE_ROWS];
    double wait_mean_ps[IMBALANCE_ROWS]; // from a rank's own end to the last one's, mean over ranks
    struct straggler worst;
};

// Runs the engine again, once without the imbalance of routing and once more for each cause beside
// routing that is there. `asked` is what the engine said of the setting, whose loads are there.
void imbalance_find(struct imbalance *imbalance, const struct setting *setting,
                    timing_engine *engine, const struct timing *asked);

// Sums over rows, picoseconds: of the balanced layer; what a cause adds; what all add.
double imbalance_balanced_ps(const struct imbalance *imbalance);
double imbalance_cause_ps(const struct imbalance *imbalance, enum imbalance_cause cause);
double imbalance_cost_ps(const struct imbalance *imbalance);

// What all causes add in one row.
double imbalance_row_ps(const struct imbalance *imbalance, uint32_t row);

// "arrival", or the phase's name.
const char *imbalance_row_name(uint32_t row);

// Three plain sentences, a line each: the cost by phase and by cause, what it is against, and who
// is the slowest. Freed by the caller.
char *imbalance_sentences(const struct imbalance *imbalance);

#endif

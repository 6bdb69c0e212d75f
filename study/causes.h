// What commonly makes a cluster slow, each as a change of the scenario that a healthy one runs:
// keys of the cluster, slow parts, or another dispatcher. A cause has one fixed size (half of the
// rate, one NIC of n, what a crossing carries): a free size would explain any time.
#ifndef STUDY_CAUSES_H
#define STUDY_CAUSES_H

#include "scenario/scenario.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What of the machine a cause is about. Two causes of one part are not tried together.
enum cause_part {
    PART_NIC_RATE,
    PART_NIC_COUNT,
    PART_NIC_PATH,
    PART_TRANSPORT,
    PART_INSIDE,
    PART_SMS,
    PART_CLOCK,
    PART_RANK,
};

struct cause {
    const char *key;  // for programs: "nic_half"
    const char *text; // for people, as cause_text puts it
    enum cause_part part;
    const char *check;  // where to look next: a command or a counter
    const char *source; // of its size
    // Makes the scenario one that has the cause. False where it cannot have it, or has it already;
    // the scenario is then of no use.
    bool (*change)(struct scenario *scenario, const struct cause *cause, uint32_t rank);
    double size;                // a share, or bytes per second
    const char *const *of;      // dispatchers that can have it, NULL-terminated; NULL: all
    const char *const *instead; // of each of those, the dispatcher that it makes of them
};

// The likely ones first.
extern const struct cause causes[];
extern const size_t cause_count;

// Rates whose size is free: what would do, not what it is. Their `size` is the caller's to set.
#define SYMPTOMS 2
extern const struct cause symptoms[SYMPTOMS];

// How likely causes[index] is on such a cluster before anything is measured: 0 the likeliest, two
// for each place in the table. No two causes have the same.
size_t cause_place(size_t index, const struct scenario *scenario);

// A rank that a cause is about, where rows tell one apart.
#define CAUSE_NO_RANK UINT32_MAX

// The change on the scenario of a row. Its loads stay, its schedule is made anew. False: as
// `change`, or no engine could run what came out.
bool cause_apply(const struct cause *cause, struct scenario *scenario, uint32_t rank);

// The cause in words, for the scenario that it has not changed yet: "one NIC in use, of 4 in a
// node". Freed by the caller.
char *cause_text(const struct cause *cause, const struct scenario *scenario, uint32_t rank);

// What it changed, as flags and keys of the one-line form say it:
// "nic_effective=24GB/s,nic=25GB/s". Freed by the caller.
char *cause_changes(const struct scenario *healthy, const struct scenario *changed);

#endif

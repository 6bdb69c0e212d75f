// The GB/s in which users of DeepEP, and of libraries whose tests began as its own, speak of a
// dispatch or combine: bytes that its tests count, over the kernel's time.
//
//     deepep-normal, uccl-normal   RDMA: a token's copies to each node, its own among them;
//                                  NVL: to each rank, its own among them
//                                  (tests/test_internode.py; test_intranode.py has NVL alone)
//     deepep-v2                    SO, SU: the same, with 12 bytes a choice out and 4 back
//                                  (tests/elastic/test_ep.py)
//     deepep-ll, uccl-ll           one rate: a message to each expert, out with 16 bytes more
//                                  (tests/test_low_latency.py)
//
// So they are above what passes a NIC or NVLink: a copy to a token's own place passes none.
#ifndef STUDY_DEEPEP_UNIT_H
#define STUDY_DEEPEP_UNIT_H

#include "model/schedule.h"

#define DEEPEP_UNIT_BYTES 96

struct deepep_unit {
    const char *inter_name, *intra_name; // "RDMA" and "NVL"; inter_name "": low latency's one rate;
                                         // NULL: no such rate
    double inter_bytes, intra_bytes;     // mean over ranks
};

// False: the phase moves nothing, or users of its dispatcher do not count so.
bool deepep_unit_of(struct deepep_unit *unit, const struct schedule *schedule, enum phase phase);

// Of a time; NaN where the unit has no such rate. That of low latency is the first.
double deepep_unit_inter_GBps(const struct deepep_unit *unit, double latency_us);
double deepep_unit_intra_GBps(const struct deepep_unit *unit, double latency_us);

// "80.01 GB/s (RDMA), 261.2 GB/s (NVL)", into DEEPEP_UNIT_BYTES.
char *deepep_unit_text(const struct deepep_unit *unit, double latency_us, char *buffer);

#endif

// What DeepEP V2's tests/elastic/test_ep.py prints, line by line.
//
//     Config:
//      > Ranks: 2 x 8                    scale-out by scale-up: nodes by GPUs
//      > Experts: 8/256                  choices of a token, of experts
//      > Tokens: 4096 (max: 4096), hidden: 7168
//      > #SM: 24, #QPs: 9/17
//      > Testing with do_handle_copy=0, ..., use_fp8_dispatch=0, ...     of the lines after it
//        * EP:   3/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 555.0 us, 200400 bytes | copy: 5100
//        GB/s, 90.0 us
//        - (expanded dispatch)  # (cached dispatch)  @ (combine)  + (reduced combine)
#ifndef STUDY_EP_DEEPEP_V2_LINE_H
#define STUDY_EP_DEEPEP_V2_LINE_H

#include "study/ep/result.h"

enum deepep_v2_kind {
    DEEPEP_V2_OTHER,
    DEEPEP_V2_CONFIG, // `config` holds what the line says of it
    DEEPEP_V2_MODE,   // `is_fp8`, of dispatches from here on
    DEEPEP_V2_RESULT,
    DEEPEP_V2_BROKEN,
};

// What passes beside a copy's values for each choice: out an index of 8 bytes and a weight of 4,
// back the weight.
#define DEEPEP_V2_OUT_BYTES 12
#define DEEPEP_V2_BACK_BYTES 4

struct deepep_v2_line {
    enum deepep_v2_kind kind;
    struct ep_config config; // with a result: `ranks`, and one node where nothing scales out
    bool is_fp8;
    struct ep_result result; // a dispatch as in BF16; `us` of its kernel, `after_us` of the copy
};

struct deepep_v2_line deepep_v2_line_read(const char *text);

#endif

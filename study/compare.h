// Engines and measured rows side by side over a list of token counts.
#ifndef STUDY_COMPARE_H
#define STUDY_COMPARE_H

#include "model/measured.h"
#include "model/question.h"
#include "traces/ask.h"

// One phase at one token count: means over ranks, ranks aligned, as benchmarks time one kernel.
struct compared {
    uint32_t tokens;
    enum phase phase; // dispatch or combine
    char dispatcher[FIELD_TEXT_BYTES];
    double simulate_us, estimate_us;
    const struct measured_row *measured; // NULL: none for this very case
};

// Asks the question at `tokens` a rank; both engines read the same counted loads. `measured` may
// be NULL; a row belongs when cluster, dispatcher, shape, SMs, tokens, top-k, experts, hidden,
// dtype and phase agree (the group limit of its routing is not compared). Fills rows[0] and rows[1]
// (dispatch, combine).
bool compare_tokens(const struct question *question, uint32_t tokens,
                    const struct measured *measured, struct compared rows[2], struct error *err);

#endif

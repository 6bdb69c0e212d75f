// Whether steps of a trace leave what constants were fitted to: steps alike are looked at once.
#include "study/extrapolate.h"

#include "base/mem.h"
#include "model/engine/estimate.h"

#include <stdlib.h>
#include <string.h>

// Steps with as many tokens per rank at most.
struct alike {
    uint32_t tokens;
    uint64_t steps;
};

static void count_alike(struct alike **alike, size_t *count, uint32_t tokens)
{
    size_t at = 0;
    while (at < *count && (*alike)[at].tokens != tokens)
        at++;
    if (at == *count) {
        *alike = mem_grow(*alike, *count + 1, sizeof **alike);
        (*alike)[(*count)++] = (struct alike){.tokens = tokens};
    }
    (*alike)[at].steps++;
}

// A trace without steps of its own has as many tokens in each.
static bool count_steps(struct scenario *visitor, const struct extrapolation_steps *steps,
                        struct alike **alike, size_t *count, struct error *err)
{
    const bool uneven = scenario_trace(visitor)->steps.data != NULL;
    for (uint64_t s = 0; s < steps->count; s++) {
        const uint64_t step = steps->steps ? steps->steps[s] : s;
        if (uneven && !scenario_seek(visitor, visitor->def.layer, step, err))
            return false;
        count_alike(alike, count, routing_max_tokens(&visitor->routing));
        if (uneven)
            scenario_forget(visitor, step, step + 1);
    }
    return true;
}

// Under the contiguous layout: no layout changes what is looked at, but not every scenario can have
// it.
static bool open_looked(struct scenario *visitor)
{
    struct error err;
    if (parts_resolve_layout(visitor, &err) && scenario_prepare(visitor, &engine_estimate, &err))
        return true;
    notice("whether the predictions extrapolate is not looked at: %s", err.text);
    return false;
}

bool extrapolation_over_steps(struct extrapolation *extrapolation, const struct fits *fits,
                              const struct scenario *scenario,
                              const struct extrapolation_steps *steps, struct error *err)
{
    struct scenario visitor;
    struct alike *alike = NULL;
    size_t count = 0;
    bool ok = true;
    scenario_clone(&visitor, scenario);
    visitor.def.unplaced = false;
    strcpy(visitor.def.layout, "contiguous");
    if (open_looked(&visitor)) {
        struct scenario looked;
        scenario_clone(&looked, &visitor);
        ok = count_steps(&visitor, steps, &alike, &count, err);
        for (size_t i = 0; ok && i < count; i++) {
            ok = scenario_prepare(&looked, &engine_estimate, err);
            if (!ok)
                break;
            for (uint32_t r = 0; r < looked.routing.ranks; r++)
                looked.tokens[r] = alike[i].tokens;
            extrapolation_find(extrapolation, fits, &looked, alike[i].steps * steps->layers);
        }
        scenario_release(&looked);
    }
    free(alike);
    scenario_release(&visitor);
    return ok;
}

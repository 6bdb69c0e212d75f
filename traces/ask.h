// From a question to a setting with its loads, traces included: what epsim and epsim-real do first.
#ifndef TRACES_ASK_H
#define TRACES_ASK_H

#include "model/question.h"
#include "traces/trace.h"

struct answerable {
    struct setting setting; // loaded: its schedule is ready
    struct trace trace;     // open when the question names one
    bool borrowed;          // the trace is another answerable's
    struct trace_view *view;
    uint32_t layer; // of the trace, whose layout is in the setting
    uint64_t steps; // of the trace, at this rank count and tokens
};

// Resolves the question, opens its trace, takes one layer and step of it (--tokens defaults to what
// the trace holds for a rank in one step, at most 4,096), and makes loads and schedule. With
// LOADS_AUTO, `prefer` decides; a trace is always counted.
bool ask(struct answerable *answerable, const struct question *question, enum loads_kind prefer,
         struct error *err);
// The same without loads: for who learns the choices only as they are made.
bool ask_resolve(struct answerable *answerable, const struct question *question, struct error *err);
// The same on the trace of another, which must outlive it: for threads that each ask places of one
// trace. Gives no notices.
bool ask_beside(struct answerable *answerable, const struct answerable *owner,
                const struct question *question, struct error *err);
// Goes on to another layer and step of the trace: nothing else may have changed in the question.
// Only what a place decides is resolved again; loads and schedule are to be made (setting_load).
// After a failure there is no place until one is found; ask_release is due all the same. Any number
// of threads may do this, each with an answerable of its own.
bool ask_place(struct answerable *answerable, const struct question *question, struct error *err);
// Steps from `first` up to `last` of the trace may leave memory (trace_forget).
void ask_forget(const struct answerable *answerable, const struct question *question,
                uint64_t first, uint64_t last);
// Tokens of a rank in one step where none are asked: what the trace holds, 1 to QUESTION_TOKENS.
uint32_t ask_tokens(const struct trace *trace, uint32_t ranks);
// Refuses a layer that the trace does not have, and tokens (0: none asked) of one that says them.
bool ask_check_layer(const struct trace *trace, uint32_t layer, struct error *err);
bool ask_check_tokens(const struct trace *trace, uint32_t tokens, struct error *err);

void ask_release(struct answerable *answerable);

#endif

// Logs: texts of any length that are read line by line, in constant memory. Every reader sees every
// line of a text once, in order, without what launchers put before it (log_line.h), and ignores
// what is not its own: the output of several tools, and of several runs, may stand in one text.
#ifndef STUDY_ROWS_LOG_H
#define STUDY_ROWS_LOG_H

#include "base/infile.h"
#include "study/rows/collection.h"

#define LOG_REASONS 16
#define LOG_REASON_BYTES 320

// Why something is no row.
struct log_reason {
    char text[LOG_REASON_BYTES];
    size_t line, count; // of the first, and how many
};

// What NCCL's own log says of the job, whatever tool ran; 0 and "": nothing. Nodes are said with
// ranks alone.
struct log_job {
    uint32_t ranks, nodes;
    char nccl[64]; // "2.28.7"
};

// A text being read.
struct log {
    struct measured *measured; // to add rows to (measured_add with `line`)
    const char *path;
    size_t line;                 // in hand, from 1
    int rank;                    // whose line that is, by its launcher's tag; -1: not known
    struct measured_shape shape; // of the cluster that was named
    struct log_job job;
    struct log_reason reasons[LOG_REASONS];
    size_t reason_count;
    struct error *err;
};

struct log_reader {
    const char *name;   // as messages say what is expected: "what nccl-tests print"
    size_t state_bytes; // of what it keeps of a text; zeroed before the first line
    // Whether a line is one that only this tool prints.
    bool (*is_mine)(const char *line);
    // Reads a line, which is lent. False, with log->err set without a place, where it is the
    // tool's own and wrong: the text is refused.
    bool (*line)(void *state, struct log *log, const char *line);
    // After the last line; NULL: nothing to do. False as above.
    bool (*end)(void *state, struct log *log);
    // Frees what the state holds, after a refusal too; NULL: nothing.
    void (*release)(void *state);
};

// Says, once the text is read, why something of it is no row: one notice for each reason, with
// how many, and the line of the first. Where no row came of the text, the refusal says it.
void log_leave_out(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum log_verdict { LOG_READ, LOG_REFUSED, LOG_NONE };

// Adds the rows of a text. LOG_NONE: no reader found a line of its own. LOG_REFUSED: what a reader
// refuses ("path:line: ..."), and a text without rows, which says whose it is and why.
enum log_verdict log_read(struct measured *measured, struct infile_text *text,
                          const struct measured_shape *shape, struct error *err);

// What had been read before a text.
struct log_before {
    size_t rows, facts;
};
struct log_before log_begin(const struct measured *measured);

// Says what was left out; false, with err, where neither a row nor a fact of the machine came
// since. For whole texts too.
bool log_conclude(struct log *log, const char *name, struct log_before before);

extern const struct log_reader log_reader_nccl_tests, log_reader_deepep, log_reader_deepep_v2,
    log_reader_hybrid_ep, log_reader_nccl_ep, log_reader_perftest, log_reader_nvbandwidth,
    log_reader_topo;

// All of them; NULL ends them.
extern const struct log_reader *const log_readers[];

#endif

#include "study/rows/log.h"

#include "base/mem.h"
#include "study/rows/log_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct log_reader *const log_readers[] = {
    &log_reader_nccl_tests,  &log_reader_deepep,  &log_reader_deepep_v2,
    &log_reader_hybrid_ep,   &log_reader_nccl_ep, &log_reader_perftest,
    &log_reader_nvbandwidth, &log_reader_topo,    NULL};

#define LOG_READERS (sizeof log_readers / sizeof log_readers[0] - 1)

// ---- what is left out ---------------------------------------------------------------------------

// Beyond LOG_REASONS the last one stands for all others.
void log_leave_out(struct log *log, const char *format, ...)
{
    char text[LOG_REASON_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t r = 0;
    while (r < log->reason_count && r + 1 < LOG_REASONS && strcmp(log->reasons[r].text, text))
        r++;
    struct log_reason *reason = &log->reasons[r];
    if (r == log->reason_count) {
        *reason = (struct log_reason){.line = log->line};
        strcpy(reason->text, text);
        log->reason_count++;
    } else if (strcmp(reason->text, text)) {
        strcpy(reason->text, "left out for other reasons");
    }
    reason->count++;
}

static void describe_reason(const struct log_reason *reason, char *buffer, size_t bytes)
{
    if (reason->count > 1)
        snprintf(buffer, bytes, "%s (%zu times)", reason->text, reason->count);
    else
        snprintf(buffer, bytes, "%s", reason->text);
}

static bool no_rows(struct log *log, const char *name)
{
    char why[LOG_REASON_BYTES + 32];
    if (!log->reason_count)
        return error_set(log->err, EXIT_INPUT,
                         "%s: no rows: expected at least one measurement in %s", log->path, name);
    describe_reason(&log->reasons[0], why, sizeof why);
    return error_set(log->err, EXIT_INPUT, "%s:%zu: no rows: %s", log->path, log->reasons[0].line,
                     why);
}

struct log_before log_begin(const struct measured *measured)
{
    return (struct log_before){measured->count, measured->facts.count};
}

bool log_conclude(struct log *log, const char *name, struct log_before before)
{
    const bool said =
        log->measured->count > before.rows || log->measured->facts.count > before.facts;
    for (size_t r = said ? 0 : 1; r < log->reason_count; r++) {
        char why[LOG_REASON_BYTES + 32];
        describe_reason(&log->reasons[r], why, sizeof why);
        notice("%s:%zu: %s", log->path, log->reasons[r].line, why);
    }
    return said || no_rows(log, name);
}

// ---- what NCCL says of the job ------------------------------------------------------------------

// The number after a word, or 0.
static uint32_t number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    unsigned number;
    return at && sscanf(at + strlen(word), "%7u", &number) == 1 ? number : 0;
}

// "comm 0x... rank 3 nRanks 16 nNodes 2 localRanks 8", "comm 0x... rank 0 nranks 16 cudaDev 0",
// "NCCL version 2.28.7+cuda13.0".
static void read_job(struct log_job *job, const char *line)
{
    static const char version[] = "NCCL version ";
    const char *at = strstr(line, "NCCL");
    const char *said = at ? strstr(at, version) : NULL;
    if (said) {
        said += strlen(version);
        snprintf(job->nccl, sizeof job->nccl, "%.*s", (int)strspn(said, "0123456789."), said);
    }
    if (!at || strncmp(at, "NCCL INFO", 9))
        return;
    const uint32_t nodes = number_after(at, " nNodes ");
    uint32_t ranks = number_after(at, " nranks ");
    ranks = ranks ? ranks : number_after(at, " nRanks ");
    if (ranks > job->ranks) // smaller communicators are parts of the job
        job->nodes = 0;
    job->ranks = ranks > job->ranks ? ranks : job->ranks;
    if (ranks && ranks == job->ranks && nodes)
        job->nodes = nodes;
}

// ---- the text -----------------------------------------------------------------------------------

struct readers {
    void *state[LOG_READERS];
    bool found[LOG_READERS];
};

static bool read_log_line(struct readers *readers, struct log *log, const char *line)
{
    read_job(&log->job, line);
    for (size_t r = 0; r < LOG_READERS; r++) {
        readers->found[r] = readers->found[r] || log_readers[r]->is_mine(line);
        if (!log_readers[r]->line(readers->state[r], log, line))
            return error_prefix(log->err, "%s:%zu", log->path, log->line);
    }
    return true;
}

static bool read_log_lines(struct readers *readers, struct log *log, struct infile_text *text)
{
    char *line;
    while (infile_text_line(text, &line, log->err)) {
        if (!line)
            return true;
        log->line = text->line;
        line = log_line_clean(line, &log->rank);
        if (!read_log_line(readers, log, line))
            return false;
    }
    return false;
}

static bool end_log(struct readers *readers, struct log *log)
{
    for (size_t r = 0; r < LOG_READERS; r++)
        if (log_readers[r]->end && !log_readers[r]->end(readers->state[r], log))
            return error_prefix(log->err, "%s:%zu", log->path, log->line);
    return true;
}

// The tools whose lines stand in the text; false: none.
static bool found_names(const struct readers *readers, char *names, size_t bytes)
{
    names[0] = '\0';
    for (size_t r = 0, length = 0; r < LOG_READERS; r++)
        if (readers->found[r] && length < bytes)
            length += (size_t)snprintf(names + length, bytes - length, "%s%s", length ? ", " : "",
                                       log_readers[r]->name);
    return names[0];
}

static void release_readers(struct readers *readers)
{
    for (size_t r = 0; r < LOG_READERS; r++) {
        if (log_readers[r]->release)
            log_readers[r]->release(readers->state[r]);
        free(readers->state[r]);
    }
}

static enum log_verdict read_log(struct log *log, struct infile_text *text)
{
    struct readers readers = {0};
    const struct log_before before = log_begin(log->measured);
    char names[512];
    for (size_t r = 0; r < LOG_READERS; r++)
        readers.state[r] = mem_alloc(1, log_readers[r]->state_bytes);
    enum log_verdict verdict = LOG_REFUSED;
    if (read_log_lines(&readers, log, text) && end_log(&readers, log)) {
        verdict = LOG_NONE;
        if (found_names(&readers, names, sizeof names))
            verdict = log_conclude(log, names, before) ? LOG_READ : LOG_REFUSED;
    }
    release_readers(&readers);
    return verdict;
}

enum log_verdict log_read(struct measured *measured, struct infile_text *text,
                          const struct measured_shape *shape, struct error *err)
{
    struct log *log = mem_alloc(1, sizeof *log);
    *log = (struct log){
        .measured = measured, .path = text->path, .shape = *shape, .rank = -1, .err = err};
    const enum log_verdict verdict = read_log(log, text);
    if (verdict == LOG_READ && text->cut_lines)
        notice("%s: %zu lines are cut at %zu KiB", text->path, text->cut_lines,
               INFILE_LINE_LIMIT >> 10);
    free(log);
    return verdict;
}

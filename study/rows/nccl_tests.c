// What nccl-tests and rccl-tests print (alltoall_perf, alltoallv_perf and sendrecv_perf), as
// measured rows.
//
// A text holds one run or several. Of a run it takes where ranks are ("# Rank 3 ... on HOST device
// 3 [...] NVIDIA H100"), which gives nodes, GPUs of a node and the GPU; what ran ("# Collective
// test starting: alltoall_perf", of 2025 and later, or the command line); and its table, whose
// header says what columns there are: `error` or `#wrong`, with or without root, per-iteration
// figures and time of day. Without the test's name sizes and counts tell it, where only an exchange
// leaves the in-place column unchecked (N/A). A row's figure is `time`, out of place: a test
// averages over ranks and over iterations back to back, in which all go at the pace of the slowest,
// so that stat is slowest.
//
//     alltoall_perf   size bytes of a rank, 1/n to each rank, itself included
//     sendrecv_perf   size bytes from every rank to the next
//     alltoallv_perf  its own pattern (distance), or where count is 0 a matrix that is not in the
//                     text
//
// Other lines may stand between (NCCL's log), also within a row. Lines of ranks may be left out
// ("..."), or not be there, and '#' may be lost: what people paste. What is refused and left out
// stands at nccl_run.h, nccl_row.h and nccl_table.h.
#include "study/rows/log_line.h"
#include "study/rows/nccl_row.h"
#include "study/rows/nccl_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// What follows "# <words>", blanks between as they come, with or without '#'; NULL where the line
// begins otherwise.
static const char *after(const char *line, const char *words)
{
    line += strspn(line, " \t");
    line += *line == '#';
    line = skip_blanks(line);
    return strncmp(line, words, strlen(words)) ? NULL : line + strlen(words);
}

// ---- what ran -----------------------------------------------------------------------------------

static void begin_run(struct nccl_reader *reader, struct log *log, enum nccl_test test,
                      const char *program)
{
    nccl_end_table(reader, log);
    nccl_run_begin(&reader->run, test);
    snprintf(reader->run.program, sizeof reader->run.program, "%s", program);
    reader->run.host_gpus = reader->command.host_gpus;
    reader->command = (struct nccl_command){0};
}

// Another run, of which the command line before it says the test.
static void begin_next(struct nccl_reader *reader, struct log *log)
{
    const struct nccl_command command = reader->command;
    begin_run(reader, log, command.test, command.program);
}

static void read_test(struct nccl_reader *reader, struct log *log, const char *text)
{
    char program[sizeof reader->run.program];
    size_t length;
    text = skip_blanks(text);
    const enum nccl_test test = nccl_test_of(text, &length);
    snprintf(program, sizeof program, "%.*s", (int)length, text);
    begin_run(reader, log, test, program);
}

// The word that ends at "_perf" or "_perf_mpi", where a command line names a program.
static const char *find_program(const char *line, const char **end)
{
    const char *perf = strstr(line, "_perf");
    if (!perf)
        return NULL;
    *end = perf + strlen("_perf");
    *end += strncmp(*end, "_mpi", 4) ? 0 : 4;
    while (perf > line && (isalnum((unsigned char)perf[-1]) || perf[-1] == '_'))
        perf--;
    return **end && !strchr(" \t;'\"`)", **end) ? NULL : perf;
}

// The number after an option of a launcher or a test, "-npernode 8" or "--ntasks-per-node=8"; or 0.
static uint32_t option_number(const char *line, const char *option)
{
    unsigned number;
    const char *at = strstr(line, option);
    at = at ? at + strlen(option) : NULL;
    return at && (*at == ' ' || *at == '=') && sscanf(at + 1, "%5u", &number) == 1 ? number : 0;
}

// Processes of a host by the launcher, times GPUs of each (-g).
static uint32_t host_gpus_of(const char *line, const char *program)
{
    static const char *const options[] = {"-npernode", "-ppn", "--ntasks-per-node"};
    const uint32_t gpus = option_number(program, " -g");
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (option_number(line, options[i]))
            return option_number(line, options[i]) * (gpus ? gpus : 1);
    return 0;
}

// A command line that names one test. Several, as in a loop of a script, name none.
static void read_command(struct nccl_reader *reader, const char *line)
{
    struct nccl_command *command = &reader->command;
    const char *end, *program = find_program(line, &end), *other_end;
    size_t length;
    if (!program || strstr(line, "NCCL INFO"))
        return;
    *command = (struct nccl_command){.host_gpus = host_gpus_of(line, program)};
    if (find_program(end, &other_end))
        return;
    command->test = nccl_test_of(program, &length);
    snprintf(command->program, sizeof command->program, "%.*s", (int)length, program);
}

// Of a version, what may stand in a table.
static int version_bytes(const char *text)
{
    return (int)strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-");
}

// "2.19.6 nccl-headers=22907 nccl-library=22907": NCCL_VERSION_CODE of what ran, 2.29.7.
static void read_tests_version(struct nccl_reader *reader, const char *name, const char *text)
{
    unsigned code;
    const char *library = strstr(text, "ccl-library=");
    text = skip_blanks(text);
    snprintf(reader->tests, sizeof reader->tests, "%s %.*s", name, version_bytes(text), text);
    if (library && sscanf(library, "ccl-library=%6u", &code) == 1)
        nccl_name_version(reader, code);
}

// ---- lines --------------------------------------------------------------------------------------

// "...", "......", "[...]": lines of ranks that somebody left out.
static bool is_elision(const char *line)
{
    line = skip_blanks(line);
    line += strspn(line, "#[(< \t");
    const bool ellipsis = !strncmp(line, "\xe2\x80\xa6", 3);
    const size_t dots = ellipsis ? 3 : strspn(line, ".");
    return dots >= 3 && !line[dots + strspn(line + dots, "])> \t")];
}

// "# nThread 1 nGpus 1 ...": first of a run in older versions, after its name in newer ones.
static void read_parameters(struct nccl_reader *reader, struct log *log)
{
    struct nccl_run *run = &reader->run;
    if (run->listed || run->columns || run->test == NCCL_UNKNOWN)
        begin_next(reader, log);
}

static bool read_rank(struct nccl_reader *reader, struct log *log, const char *text)
{
    if (!isdigit((unsigned char)*skip_blanks(text)) || !strstr(text, "Pid"))
        return true;
    if (reader->run.columns)
        begin_next(reader, log);
    return nccl_read_rank(&reader->run, text, log->err);
}

// A table that follows another without a run's header is of the same ranks.
static bool read_header(struct nccl_reader *reader, struct log *log, const char *line)
{
    struct nccl_run *run = &reader->run;
    nccl_end_table(reader, log);
    if (run->test == NCCL_UNKNOWN || (run->columns && reader->command.test != NCCL_UNKNOWN)) {
        run->test = reader->command.test;
        strcpy(run->program, reader->command.program);
        run->host_gpus = reader->command.host_gpus;
        reader->command = (struct nccl_command){0};
    }
    return nccl_read_header(reader, log, line);
}

static bool read_tests_line(void *state, struct log *log, const char *line)
{
    struct nccl_reader *reader = state;
    const char *rest;
    if (reader->run.columns && isdigit((unsigned char)*skip_blanks(line)))
        return nccl_read_table_line(reader, log, line);
    if ((rest = after(line, "Collective test starting:")))
        return read_test(reader, log, rest), true;
    if ((rest = after(line, "nccl-tests version")))
        return read_tests_version(reader, "nccl-tests", rest), true;
    if ((rest = after(line, "rccl-tests version")))
        return read_tests_version(reader, "rccl-tests", rest), true;
    if (after(line, "nThread "))
        return read_parameters(reader, log), true;
    if ((rest = after(line, "Rank ")))
        return read_rank(reader, log, rest);
    if (nccl_is_header(line))
        return read_header(reader, log, line);
    if (!reader->run.columns && is_elision(line))
        reader->run.cut = true;
    if (!after(line, "Collective test concluded"))
        read_command(reader, line);
    return nccl_read_table_line(reader, log, line);
}

static bool is_line(const char *line)
{
    return after(line, "nThread ") || after(line, "Collective test starting:") ||
           after(line, "nccl-tests version") || after(line, "rccl-tests version") ||
           (after(line, "Using devices") && !*skip_blanks(after(line, "Using devices"))) ||
           nccl_is_header(line) || nccl_is_whole_row(line);
}

static bool end_tests(void *state, struct log *log)
{
    const struct nccl_reader *reader = state;
    nccl_end_table(state, log);
    if (!log->reason_count && reader->run.test == NCCL_OTHER) // no row, or it would have said so
        nccl_leave_out_other(&reader->run, log, "");
    return true;
}

static void release_tests(void *state)
{
    struct nccl_reader *reader = state;
    nccl_run_release(&reader->run);
}

const struct log_reader log_reader_nccl_tests = {"what nccl-tests print",
                                                 sizeof(struct nccl_reader),
                                                 is_line,
                                                 read_tests_line,
                                                 end_tests,
                                                 release_tests};

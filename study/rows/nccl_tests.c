// What nccl-tests print (alltoall_perf, alltoallv_perf and sendrecv_perf), as measured rows.
//
// A text holds one run or several. Of a run it takes where ranks are ("# Rank 3 ... on HOST device
// 3 [...] NVIDIA H100"), which gives nodes, GPUs of a node and the GPU; what ran ("# Collective
// test starting: alltoall_perf", of 2025 and later); and its table, whose header says what columns
// there are: `error` or `#wrong`, with or without root, per-iteration figures and time of day.
// Without the test's name sizes and counts tell it, where only an exchange leaves the in-place
// column unchecked (N/A). A row's figure is `time`, out of place: a test averages over ranks and
// over iterations back to back, in which all go at the pace of the slowest, so that stat is
// slowest.
//
//     alltoall_perf   size bytes of a rank, 1/n to each rank, itself included
//     sendrecv_perf   size bytes from every rank to the next
//     alltoallv_perf  its own pattern (distance), or where count is 0 a matrix that is not in the
//                     text
//
// Other lines may stand between (NCCL's log), and every line may carry the tag that mpirun
// --tag-output or srun --label put before it.
//
// Rows of 0 bytes and runs of other tests are left out with a notice. What is refused, with
// "path:line:", stands at nccl_run.h and nccl_table.h.
#include "study/rows/nccl_table.h"
#include "study/rows/measured.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// ---- lines --------------------------------------------------------------------------------------

// Past "[1,0]<stdout>:" of mpirun --tag-output, or "12: " of srun --label.
static char *untag(char *line)
{
    char *at = skip_blanks(line);
    char *tag = *at == '[' ? strstr(at, "]<stdout>:") : NULL;
    if (tag && strspn(at + 1, "0123456789,") == (size_t)(tag - at - 1))
        return tag + strlen("]<stdout>:");
    const size_t digits = strspn(at, "0123456789");
    return digits && at[digits] == ':' && at[digits + 1] == ' ' ? at + digits + 2 : line;
}

// What follows "# <words>", blanks between as they come; NULL where the line begins otherwise.
static char *after(char *line, const char *words)
{
    if (*line != '#')
        return NULL;
    line = skip_blanks(line + 1);
    return strncmp(line, words, strlen(words)) ? NULL : line + strlen(words);
}

// ---- what ran -----------------------------------------------------------------------------------

static enum nccl_test nccl_test_of(const char *program)
{
    for (enum nccl_test test = NCCL_ALLTOALL; test <= NCCL_ALLTOALLV; test++) {
        const size_t length = strlen(nccl_programs[test].program);
        if (!strncmp(program, nccl_programs[test].program, length) &&
            !isalnum((unsigned char)program[length]))
            return test;
    }
    return NCCL_OTHER;
}

static void read_nccl_test(struct nccl_reader *reader, const char *program)
{
    program = skip_blanks(program);
    nccl_run_begin(reader, nccl_test_of(program));
    if (reader->run.test == NCCL_OTHER)
        notice("%s:%zu: %.*s is left out: only alltoall_perf, alltoallv_perf and sendrecv_perf are "
               "read",
               reader->path, reader->line, (int)strcspn(program, " \t\r"), program);
}

// NCCL_VERSION_CODE: since 2.9 X x 10000 + Y x 100 + Z (nccl.h), before it X x 1000 + Y x 100 + Z.
static void name_nccl(struct nccl_reader *reader, unsigned code)
{
    const unsigned major = code < 10000 ? 1000 : 10000;
    snprintf(reader->nccl, sizeof reader->nccl, "; NCCL %u.%u.%u", code / major, code % major / 100,
             code % 100);
}

// "2.19.6 nccl-headers=22907 nccl-library=22907": NCCL_VERSION_CODE of what ran, 2.29.7.
static void read_tests_version(struct nccl_reader *reader, const char *text)
{
    unsigned code;
    const char *library = strstr(text, "nccl-library=");
    text = skip_blanks(text);
    snprintf(reader->version, sizeof reader->version, " %.*s", (int)strcspn(text, " \t\r"), text);
    if (library && sscanf(library, "nccl-library=%6u", &code) == 1)
        name_nccl(reader, code);
}

// "2.28.7+cuda13.0", of NCCL's own log.
static void read_nccl_version(struct nccl_reader *reader, const char *text)
{
    text = skip_blanks(text);
    snprintf(reader->nccl, sizeof reader->nccl, "; NCCL %.*s", (int)strspn(text, "0123456789."),
             text);
}

// ---- the text -----------------------------------------------------------------------------------

#define NCCL_SAYS "NCCL version "

static bool read_nccl_line(struct nccl_reader *reader, char *tagged)
{
    char *line = untag(tagged), *rest;
    if ((rest = after(line, "Collective test starting:")))
        return read_nccl_test(reader, rest), true;
    if ((rest = after(line, "nccl-tests version")))
        return read_tests_version(reader, rest), true;
    if ((rest = strstr(line, NCCL_SAYS)))
        return read_nccl_version(reader, rest + strlen(NCCL_SAYS)), true;
    if (after(line, "nThread ")) { // first of a run in older versions, after its name in newer
        if (reader->run.ranks || reader->run.columns)
            nccl_run_begin(reader, NCCL_UNKNOWN);
        return true;
    }
    if (reader->run.test == NCCL_OTHER)
        return true;
    if ((rest = after(line, "Rank ")))
        return nccl_read_rank(reader, rest);
    if (after(line, "size "))
        return nccl_read_header(reader, skip_blanks(line + 1));
    if (!reader->run.columns || !nccl_is_row(line))
        return true;
    return nccl_read_row(reader, line);
}

static bool recognise_nccl_tests(const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        char begin[64];
        snprintf(begin, sizeof begin, "%.63s", line);
        begin[strcspn(begin, "\n")] = '\0';
        if (after(untag(begin), "nThread "))
            return true;
    }
    return false;
}

static bool read_nccl_tests(struct measured *measured, const struct row_text *text,
                            struct error *err)
{
    struct nccl_reader reader = {.measured = measured, .path = text->path, .err = err};
    bool ok = true;
    for (char *rest = text->text; ok && rest;) {
        reader.line++;
        ok = read_nccl_line(&reader, strsep(&rest, "\n")) ||
             error_prefix(err, "%s:%zu", text->path, reader.line);
    }
    nccl_run_release(&reader.run);
    if (ok && reader.empty)
        notice("%s: %zu rows of 0 bytes are left out", text->path, reader.empty);
    return ok;
}

const struct row_reader row_reader_nccl_tests = {"what nccl-tests print", recognise_nccl_tests,
                                                 read_nccl_tests};

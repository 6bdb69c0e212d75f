#include "plots/plot.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/outfile.h"
#include "model/embedded.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_COLUMNS 6
#define DATA_LIMIT ((size_t)1 << 30)   // bytes between 1024 ranks, phase by phase, are 200 MiB
#define FIGURE_LIMIT ((size_t)4 << 30) // as gnuplot draws it

enum cells {
    CELLS_WORD,     // one word
    CELLS_NUMBER,   // finite, not negative
    CELLS_POSITIVE, // on a logarithmic axis
    CELLS_VALUE,    // positive or blank; the figure needs one such cell at least
};

// What a figure's script reads.
struct figure {
    const char *kind;
    const char *title; // unless the file gives one
    struct {
        const char *name;
        enum cells cells;
    } columns[MAX_COLUMNS]; // up to a NULL name
};

static const struct figure figures[] = {
    {"compare",
     "Latency of a phase",
     {{"tokens_per_gpu", CELLS_POSITIVE},
      {"phase", CELLS_WORD},
      {"simulate_us", CELLS_VALUE},
      {"estimate_us", CELLS_VALUE},
      {"measured_us", CELLS_VALUE}}},
    {"ranks",
     "Phases of one MoE layer by rank",
     {{"rank", CELLS_NUMBER},
      {"phase", CELLS_WORD},
      {"start_us", CELLS_NUMBER},
      {"end_us", CELLS_NUMBER}}},
    {"replay",
     "Latency of a trace's MoE layers",
     {{"layer", CELLS_WORD},
      {"phase", CELLS_WORD},
      {"p50_us", CELLS_NUMBER},
      {"p90_us", CELLS_NUMBER},
      {"p99_us", CELLS_NUMBER},
      {"balanced_us", CELLS_NUMBER}}},
    {"replay-ranks",
     "Load of ranks by layer",
     {{"layer", CELLS_NUMBER}, {"rank", CELLS_NUMBER}, {"load_ratio", CELLS_NUMBER}}},
    {"traffic",
     "Bytes between ranks",
     {{"phase", CELLS_WORD},
      {"src", CELLS_NUMBER},
      {"dst", CELLS_NUMBER},
      {"bytes", CELLS_NUMBER}}},
};
#define FIGURES (sizeof figures / sizeof figures[0])

// --- the data file -----------------------------------------------------------------------------

struct tsv {
    const char *path;
    char *text; // printable; gnuplot gets the same bytes
    size_t length;
    const struct figure *figure;
    char *title;
    size_t columns;            // cells of a line
    size_t place[MAX_COLUMNS]; // of the figure's columns among the cells
    size_t rows;
    size_t values; // CELLS_VALUE cells that are not blank
};

// The part of a line that is in hand.
struct span {
    const char *at;
    size_t length;
};

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

static bool skip_prefix(struct span *span, const char *prefix)
{
    const size_t length = strlen(prefix);
    if (span->length < length || memcmp(span->at, prefix, length) != 0)
        return false;
    span->at += length;
    span->length -= length;
    return true;
}

// Cuts the part up to the next `mark`, or all of it, off *rest; false when nothing is left.
static bool cut(struct span *rest, char mark, struct span *part)
{
    if (!rest->at)
        return false;
    const char *end = memchr(rest->at, mark, rest->length);
    *part = (struct span){rest->at, end ? (size_t)(end - rest->at) : rest->length};
    const size_t used = part->length + 1;
    *rest = end ? (struct span){end + 1, rest->length - used} : (struct span){0};
    return true;
}

// Of the character at `at`, its bytes; 0 unless it is UTF-8 that an XML file, as SVG is, may hold.
static size_t character_bytes(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t bytes = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    if (bytes <= 1 || bytes > left || *at >= 0xf8)
        return bytes == 1;
    uint32_t code = *at & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    const bool known = code >= least[bytes] && code <= 0x10ffff && (code | 1) != 0xffff;
    return known && !surrogate ? bytes : 0;
}

// Drops control characters but those between cells and lines (so CR before LF, too), and puts '?'
// for every byte that is no text: words and the title stand in the figure as they are here.
static size_t make_printable(char *text, size_t length)
{
    size_t used = 0;
    for (size_t i = 0, bytes; i < length; i += bytes ? bytes : 1) {
        const unsigned char first = (unsigned char)text[i];
        bytes = character_bytes((const unsigned char *)text + i, length - i);
        if (bytes == 1 && (first < 0x20 || first == 0x7f) && first != '\t' && first != '\n')
            continue;
        if (bytes)
            memmove(text + used, text + i, bytes);
        else
            text[used] = '?';
        used += bytes ? bytes : 1;
    }
    return used;
}

// As error_quote, of a part of a line.
static char *quote(struct span span, char *buffer)
{
    char text[ERROR_QUOTE_BYTES];
    const size_t length = span.length < sizeof text ? span.length : sizeof text - 1;
    memcpy(text, span.at, length);
    text[length] = '\0';
    return error_quote(text, buffer);
}

static bool fail(const struct tsv *tsv, size_t line, struct error *err, const char *what)
{
    return error_set(err, EXIT_INPUT, "%s:%zu: %s", tsv->path, line, what);
}

static bool read_kind(struct tsv *tsv, struct span line, struct error *err)
{
    if (!skip_prefix(&line, "# epsim.") || line.length < 3 ||
        memcmp(line.at + line.length - 2, "/1", 2) != 0)
        return fail(tsv, 1, err, "not a TSV of epsim; expected '# epsim.KIND/1'");
    line.length -= 2;
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < FIGURES; i++) {
        if (span_is(line, figures[i].kind))
            tsv->figure = &figures[i];
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 figures[i].kind);
    }
    char quoted[ERROR_QUOTE_BYTES];
    if (!tsv->figure)
        return error_set(err, EXIT_INPUT, "%s:1: no figure for '%s'; there are: %s", tsv->path,
                         quote(line, quoted), known);
    return true;
}

static bool read_header(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    const struct figure *figure = tsv->figure;
    bool found[MAX_COLUMNS] = {false};
    struct span cell;
    while (cut(&line, '\t', &cell)) {
        for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++) {
            if (!span_is(cell, figure->columns[c].name))
                continue;
            if (found[c])
                return error_set(err, EXIT_INPUT, "%s:%zu: column '%s' stands twice", tsv->path,
                                 number, figure->columns[c].name);
            found[c] = true;
            tsv->place[c] = tsv->columns;
        }
        tsv->columns++;
    }
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++)
        if (!found[c])
            return error_set(err, EXIT_INPUT, "%s:%zu: no column '%s', which the figure needs",
                             tsv->path, number, figure->columns[c].name);
    return true;
}

static bool check_number(struct span cell, double *value)
{
    char text[64];
    if (cell.length == 0 || cell.length >= sizeof text)
        return false;
    memcpy(text, cell.at, cell.length);
    text[cell.length] = '\0';
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

// NULL when the cell is as it should be, or what was expected.
static const char *cell_fault(enum cells cells, struct span cell)
{
    double value = 0;
    switch (cells) {
    case CELLS_WORD:
        return cell.length == 0 || memchr(cell.at, ' ', cell.length) ? "expected one word" : NULL;
    case CELLS_NUMBER:
        return check_number(cell, &value) && value >= 0 ? NULL : "expected a number from 0";
    case CELLS_POSITIVE:
        return check_number(cell, &value) && value > 0 ? NULL : "expected a number above 0";
    case CELLS_VALUE:
        return cell.length == 0 || (check_number(cell, &value) && value > 0)
                   ? NULL
                   : "expected a number above 0, or nothing";
    }
    return NULL;
}

static bool check_cell(struct tsv *tsv, size_t place, struct span cell, size_t number,
                       struct error *err)
{
    const struct figure *figure = tsv->figure;
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++) {
        if (tsv->place[c] != place)
            continue;
        const char *fault = cell_fault(figure->columns[c].cells, cell);
        if (fault)
            return error_set(err, EXIT_INPUT, "%s:%zu: %s: '%s': %s", tsv->path, number,
                             figure->columns[c].name, quote(cell, quoted), fault);
        tsv->values += figure->columns[c].cells == CELLS_VALUE && cell.length > 0;
    }
    return true;
}

static bool read_row(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    size_t cells = 0;
    struct span cell;
    while (cut(&line, '\t', &cell))
        if (!check_cell(tsv, cells++, cell, number, err))
            return false;
    if (cells != tsv->columns)
        return error_set(err, EXIT_INPUT, "%s:%zu: %zu cells; expected %zu, as in the header",
                         tsv->path, number, cells, tsv->columns);
    tsv->rows++;
    return true;
}

static bool read_line(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    if (number == 1)
        return read_kind(tsv, line, err);
    if (line.length > 0 && line.at[0] == '#') {
        if (skip_prefix(&line, "# title: ") && !tsv->title)
            tsv->title = mem_format("%.*s", (int)line.length, line.at);
        return true;
    }
    if (tsv->columns == 0)
        return read_header(tsv, line, number, err);
    return read_row(tsv, line, number, err);
}

static bool has_values(const struct figure *figure)
{
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++)
        if (figure->columns[c].cells == CELLS_VALUE)
            return true;
    return false;
}

static bool tsv_load(struct tsv *tsv, const char *path, struct error *err)
{
    *tsv = (struct tsv){.path = path};
    tsv->text = infile_read_text(path, DATA_LIMIT, &tsv->length, err);
    if (!tsv->text)
        return false;
    tsv->length = make_printable(tsv->text, tsv->length);
    if (tsv->length == 0)
        return error_set(err, EXIT_INPUT, "%s: an empty file; expected '# epsim.KIND/1'", path);
    // The last line need not end in a newline; what follows one is no line.
    const size_t whole = tsv->length - (tsv->text[tsv->length - 1] == '\n');
    struct span rest = {tsv->text, whole}, line;
    for (size_t number = 1; cut(&rest, '\n', &line); number++)
        if (!read_line(tsv, line, number, err))
            return false;
    if (tsv->rows == 0)
        return error_set(err, EXIT_INPUT, "%s: no rows; nothing to draw", path);
    if (tsv->values == 0 && has_values(tsv->figure))
        return error_set(err, EXIT_INPUT, "%s: every latency is blank; nothing to draw", path);
    return true;
}

static void tsv_release(struct tsv *tsv)
{
    free(tsv->text);
    free(tsv->title);
}

// --- gnuplot -----------------------------------------------------------------------------------

// The private folder that gnuplot works in.
enum scratch_file { SCRATCH_SCRIPT, SCRATCH_STYLE, SCRATCH_DATA, SCRATCH_FIGURE, SCRATCH_MESSAGES };
#define SCRATCH_FILES 5

struct scratch {
    char *folder;
    char *path[SCRATCH_FILES];
};

static bool scratch_open(struct scratch *scratch, const char *suffix, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    *scratch = (struct scratch){0};
    char *folder = mem_format("%s/epsim-plot-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) {
        error_set(err, EXIT_RUNTIME, "%s: %s", folder, strerror(errno));
        free(folder);
        return false;
    }
    scratch->folder = folder;
    scratch->path[SCRATCH_SCRIPT] = mem_format("%s/figure.gp", folder);
    scratch->path[SCRATCH_STYLE] = mem_format("%s/style.gp", folder);
    scratch->path[SCRATCH_DATA] = mem_format("%s/data.tsv", folder);
    scratch->path[SCRATCH_FIGURE] = mem_format("%s/figure%s", folder, suffix);
    scratch->path[SCRATCH_MESSAGES] = mem_format("%s/messages", folder);
    return true;
}

static void scratch_close(struct scratch *scratch)
{
    for (size_t i = 0; i < SCRATCH_FILES; i++) {
        if (scratch->path[i])
            unlink(scratch->path[i]);
        free(scratch->path[i]);
    }
    if (scratch->folder)
        rmdir(scratch->folder);
    free(scratch->folder);
}

static bool write_file(const char *path, const void *bytes, size_t length, struct error *err)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        return error_set(err, EXIT_RUNTIME, "%s: %s", path, strerror(errno));
    errno = 0;
    int number = fwrite(bytes, 1, length, out) == length ? 0 : errno;
    if (fclose(out) != 0 && number == 0)
        number = errno;
    if (number)
        return error_set(err, EXIT_RUNTIME, "%s: %s", path, strerror(number));
    return true;
}

static bool write_embedded(const char *path, const char *name, struct error *err)
{
    char *wanted = mem_format("plots/%s.gp", name);
    size_t i = 0;
    while (i < embedded_count && strcmp(embedded_files[i].path, wanted) != 0)
        i++;
    free(wanted);
    assert(i < embedded_count && "every figure's script is built in");
    return write_file(path, embedded_files[i].bytes, embedded_files[i].length, err);
}

// gnuplot tells what is wrong in the last line that it prints.
static bool gnuplot_failed(const struct scratch *scratch, int status, struct error *err)
{
    if (WIFSIGNALED(status))
        return error_set(err, EXIT_RUNTIME, "gnuplot: killed by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
    char last[512] = "no message", line[512];
    FILE *in = fopen(scratch->path[SCRATCH_MESSAGES], "r");
    while (in && fgets(line, sizeof line, in)) {
        line[make_printable(line, strcspn(line, "\n"))] = '\0';
        if (line[strspn(line, " ^")] != '\0')
            memcpy(last, line, sizeof last);
    }
    if (in)
        fclose(in);
    return error_set(err, EXIT_RUNTIME, "gnuplot: %s", last);
}

static int spawn_gnuplot(const struct scratch *scratch, const char *title, const sigset_t *mask,
                         pid_t *child)
{
    char *const *path = scratch->path;
    char *copy = mem_copy_text(title);
    // -d: nobody's ~/.gnuplot changes the figure.
    char name[] = "gnuplot", defaults[] = "-d", script[] = "-c";
    char *arguments[] = {name,
                         defaults,
                         script,
                         path[SCRATCH_SCRIPT],
                         path[SCRATCH_DATA],
                         path[SCRATCH_FIGURE],
                         path[SCRATCH_STYLE],
                         copy,
                         NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path[SCRATCH_MESSAGES],
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int problem = posix_spawnp(child, name, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(copy);
    return problem;
}

static bool run_gnuplot(const struct scratch *scratch, const char *title, const sigset_t *mask,
                        struct error *err)
{
    pid_t child;
    const int problem = spawn_gnuplot(scratch, title, mask, &child);
    if (problem == ENOENT || problem == EACCES)
        return error_set(err, EXIT_ABSENT,
                         "gnuplot: not found; figures need it (Debian, Ubuntu: gnuplot-nox)");
    if (problem)
        return error_set(err, EXIT_RUNTIME, "gnuplot: %s", strerror(problem));
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, EXIT_RUNTIME, "gnuplot: %s", strerror(errno));
    return status == 0 || gnuplot_failed(scratch, status, err);
}

// gnuplot exits well from a full disk, with a part of the figure.
static bool is_whole(const char *figure, size_t length)
{
    static const char *const ends[] = {"</svg>", "IEND", "%%EOF"};
    const size_t tail = length < 16 ? length : 16;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (memmem(figure + length - tail, tail, ends[i], strlen(ends[i])))
            return true;
    return false;
}

static bool draw(const struct tsv *tsv, const struct scratch *scratch, const sigset_t *mask,
                 struct outfile *out, struct error *err)
{
    const char *title = tsv->title ? tsv->title : tsv->figure->title;
    if (!write_embedded(scratch->path[SCRATCH_SCRIPT], tsv->figure->kind, err) ||
        !write_embedded(scratch->path[SCRATCH_STYLE], "style", err) ||
        !write_file(scratch->path[SCRATCH_DATA], tsv->text, tsv->length, err) ||
        !run_gnuplot(scratch, title, mask, err))
        return false;
    size_t length = 0;
    char *figure = infile_read(scratch->path[SCRATCH_FIGURE], FIGURE_LIMIT, &length, err);
    if (!figure || length == 0) {
        free(figure);
        return error_set(err, EXIT_RUNTIME, "gnuplot: drew nothing");
    }
    const bool whole = is_whole(figure, length);
    if (whole)
        fwrite(figure, 1, length, out->stream); // outfile_commit tells when it fell short
    free(figure);
    return whole ||
           error_set(err, EXIT_RUNTIME, "gnuplot: drew a part only; is %s full?", scratch->folder);
}

// Signals wait while the folder exists, so that it is always removed; gnuplot itself gets them.
static bool draw_in_scratch(const struct tsv *tsv, const char *suffix, struct outfile *out,
                            struct error *err)
{
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, &before);
    struct scratch scratch;
    const bool drawn =
        scratch_open(&scratch, suffix, err) && draw(tsv, &scratch, &before, out, err);
    scratch_close(&scratch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return drawn;
}

static const char *known_suffix(const char *path)
{
    static const char *const suffixes[] = {".svg", ".png", ".pdf"};
    const char *dot = path ? strrchr(path, '.') : NULL;
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcmp(dot, suffixes[i]) == 0)
            return suffixes[i];
    return NULL;
}

static bool render(const struct tsv *tsv, const char *out_path, const char *suffix,
                   struct error *err)
{
    struct outfile out;
    if (!outfile_open(&out, out_path, err))
        return false;
    if (draw_in_scratch(tsv, suffix, &out, err))
        return outfile_commit(&out, err);
    outfile_abort(&out);
    return false;
}

bool plot_render(const char *tsv_path, const char *out_path, struct error *err)
{
    const char *suffix = known_suffix(out_path);
    if (!suffix)
        return error_set(err, EXIT_INPUT,
                         "%s: no known kind of figure; expected a name in .svg, .png or .pdf",
                         out_path ? out_path : "-");
    struct tsv tsv;
    const bool ok = tsv_load(&tsv, tsv_path, err) && render(&tsv, out_path, suffix, err);
    tsv_release(&tsv);
    return ok;
}

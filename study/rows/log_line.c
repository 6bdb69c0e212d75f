#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define HOSTS "abcdefghijklmnopqrstuvwxyz-_." DIGITS
#define NAMES "ABCDEFGHIJKLMNOPQRSTUVWXYZ/" HOSTS

char *skip_blanks(const char *text)
{
    return (char *)text + strspn(text, " \t");
}

// ---- marks within a line ------------------------------------------------------------------------

// Bytes of a terminal's escape sequence (ECMA-48): CSI up to its final byte, OSC up to BEL or ESC.
static size_t escape_bytes(const char *text)
{
    if (text[1] == '[')
        for (size_t i = 2;; i++)
            if (!text[i] || (text[i] >= 0x40 && text[i] <= 0x7e))
                return i + (text[i] != '\0');
    if (text[1] == ']') {
        const size_t length = 2 + strcspn(text + 2, "\a\033");
        return length + (text[length] == '\a');
    }
    return text[1] ? 2 : 1;
}

// What is taken out ('\0'), or stands for another character.
static const struct {
    const char *bytes;
    char instead;
} marks[] = {
    {"\xc2\xa0", ' '},      // no-break space
    {"\xe2\x80\xaf", ' '},  // narrow no-break space
    {"\xe2\x80\x87", ' '},  // figure space
    {"\xc2\xb5", 'u'},      // micro sign
    {"\xce\xbc", 'u'},      // Greek mu
    {"\xe2\x80\x8b", '\0'}, // zero width space
    {"\xef\xbb\xbf", '\0'}, // byte-order mark
    {"_**", '\0'},          {"**_", '\0'}, {"**", '\0'},
};

static size_t mark_bytes(const char *text, char *instead)
{
    *instead = '\0';
    if (*text == '\033')
        return escape_bytes(text);
    for (size_t m = 0; m < sizeof marks / sizeof marks[0]; m++) {
        const size_t length = strlen(marks[m].bytes);
        if (!strncmp(text, marks[m].bytes, length))
            return *instead = marks[m].instead, length;
    }
    return 0;
}

#define MARK_BEGINS "\033\xc2\xce\xe2\xef_*"

static void drop_marks(char *text)
{
    char *to = text + strcspn(text, MARK_BEGINS);
    for (const char *from = to; *from;) {
        char instead;
        const size_t bytes = mark_bytes(from, &instead);
        if (instead)
            *to++ = instead;
        const size_t plain = bytes ? 0 : 1 + strcspn(from + 1, MARK_BEGINS);
        memmove(to, from, plain);
        to += plain;
        from += bytes + plain;
        if (!*from)
            *to = '\0';
    }
}

// ---- tags before a line -------------------------------------------------------------------------

// Each: past the tag that the text begins with, or NULL; *rank is set where it says one.

// "[1,0]<stdout>:", "[prterun-HOST-PID@1,0]<stdout>:".
static char *past_mpirun(char *text, int *rank)
{
    if (*text != '[')
        return NULL;
    char *end = text + strcspn(text, "] \t");
    if (strncmp(end, "]<stdout>:", 10) && strncmp(end, "]<stderr>:", 10))
        return NULL;
    char *comma = memchr(text, ',', (size_t)(end - text));
    if (!comma || strspn(comma + 1, DIGITS) != (size_t)(end - comma - 1) || end == comma + 1)
        return NULL;
    *rank = atoi(comma + 1);
    return end + 10;
}

// "12: "; and "12:" of grep -n before what a tool marks.
static char *past_srun(char *text, int *rank)
{
    const size_t digits = strspn(text, DIGITS);
    if (!digits || digits > 6 || text[digits] != ':' || !strchr(" #[", text[digits + 1]))
        return NULL;
    *rank = atoi(text);
    return text + digits + 1 + (text[digits + 1] == ' ');
}

// "[0] ", and at the end of a blank line "[0]".
static char *past_hydra(char *text, int *rank)
{
    const size_t digits = *text == '[' ? strspn(text + 1, DIGITS) : 0;
    if (!digits || digits > 6 || text[digits + 1] != ']' ||
        (text[digits + 2] && text[digits + 2] != ' '))
        return NULL;
    *rank = atoi(text + 1);
    return text + digits + 2 + (text[digits + 2] == ' ');
}

// "[default0]:": a role's name and a rank.
static char *past_torchrun(char *text, int *rank)
{
    if (*text != '[')
        return NULL;
    char *digit = text + 1;
    while (isalpha((unsigned char)*digit) || *digit == '_')
        digit++;
    const size_t digits = strspn(digit, DIGITS);
    if (digit == text + 1 || !digits || digits > 6 || strncmp(digit + digits, "]:", 2))
        return NULL;
    *rank = atoi(digit);
    return digit + digits + 2;
}

// "(Worker pid=17, ip=10.0.0.1) ".
static char *past_ray(char *text, int *rank)
{
    (void)rank;
    char *end = *text == '(' ? strchr(text, ')') : NULL;
    char *pid = end ? strstr(text, " pid=") : NULL;
    return pid && pid < end && isdigit((unsigned char)pid[5]) ? end + 1 + (end[1] == ' ') : NULL;
}

// "[pod/NAME/CONTAINER] ", "[nccl-test-launcher-0] ": the name of a pod has dashes, no tool's own
// word in brackets has.
static char *past_pod(char *text, int *rank)
{
    (void)rank;
    if (*text != '[' || !isalpha((unsigned char)text[1]))
        return NULL;
    const size_t length = 1 + strspn(text + 1, NAMES);
    if (strncmp(text, "[pod/", 5) && !memchr(text, '-', length))
        return NULL;
    char *end = text + length;
    return *end == ']' ? end + 1 + (end[1] == ' ') : NULL;
}

// Bytes of a name of a host, a container or a pod, which no word of a tool's is: in small letters,
// and with a digit. 0: none begins the text.
static size_t host_bytes(const char *text)
{
    const size_t length = islower((unsigned char)*text) ? strspn(text, HOSTS) : 0;
    return length && strcspn(text, DIGITS) < length ? length : 0;
}

// "host-01: ".
static char *past_pdsh(char *text, int *rank)
{
    (void)rank;
    const size_t length = host_bytes(text);
    if (!length || text[length] != ':' || (text[length + 1] && text[length + 1] != ' '))
        return NULL;
    return text + length + 1 + (text[length + 1] == ' ');
}

// "launcher-1  | ".
static char *past_compose(char *text, int *rank)
{
    (void)rank;
    char *bar = text + host_bytes(text);
    if (bar == text || *bar != ' ')
        return NULL;
    bar = skip_blanks(bar);
    return *bar == '|' && (!bar[1] || bar[1] == ' ') ? bar + 1 + (bar[1] == ' ') : NULL;
}

// "nccl-launcher-x8k2p launcher ": a pod and its container.
static char *past_stern(char *text, int *rank)
{
    (void)rank;
    char *container = text + host_bytes(text);
    if (container == text || *container != ' ' || !memchr(text, '-', (size_t)(container - text)) ||
        !islower((unsigned char)*++container))
        return NULL;
    char *end = container + strspn(container, HOSTS);
    return *end == ' ' ? end + 1 : NULL;
}

// "run.log:", and "run.log:12:".
static char *past_grep(char *text, int *rank)
{
    static const char *const ends[] = {".log:", ".txt:", ".out:", ".err:"};
    (void)rank;
    const size_t length = strspn(text, NAMES);
    for (size_t e = 0; length > 4 && e < sizeof ends / sizeof ends[0]; e++) {
        if (strncmp(text + length - 4, ends[e], 5))
            continue;
        char *past = text + length + 1;
        const size_t digits = strspn(past, DIGITS);
        return digits && past[digits] == ':' ? past + digits + 1 : past;
    }
    return NULL;
}

// Past what a pattern says: '0' is a digit, '_' a digit or a blank, 'a' a letter; other
// characters stand for themselves. NULL where the text is otherwise.
static char *past_pattern(char *text, const char *pattern)
{
    for (; *pattern; pattern++, text++) {
        const unsigned char byte = (unsigned char)*text;
        const bool padded = *pattern == '_' && (byte == ' ' || isdigit(byte));
        const bool as_said = *pattern == '0'   ? isdigit(byte)
                             : *pattern == 'a' ? isalpha(byte)
                                               : byte == (unsigned char)*pattern;
        if (!padded && !as_said)
            return NULL;
    }
    return text;
}

// "INFO ", "- INFO - ", "ERROR: " behind a time, as Python's loggers write; else where the text is.
static char *past_level(char *text)
{
    static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    char *at = text + strspn(text, " -");
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
        const size_t length = strlen(levels[l]);
        if (strncmp(at, levels[l], length) || !strchr(" :", at[length]))
            continue;
        at += length + (at[length] == ':');
        return at + (strncmp(at, " - ", 3) ? *at == ' ' : 3);
    }
    return text;
}

// "2026-04-19T03:05:27.123Z", RFC 3339; a blank for the T, and no zone, as loggers write it.
static char *past_time(char *text)
{
    char *day = past_pattern(text, "0000-00-00");
    char *at = day && (*day == 'T' || *day == ' ') ? past_pattern(day + 1, "00:00:00") : NULL;
    if (!at)
        return NULL;
    if ((*at == '.' || *at == ',') && isdigit((unsigned char)at[1]))
        at += 1 + strspn(at + 1, DIGITS);
    char *zone = *at == '+' || *at == '-' ? past_pattern(at + 1, "00:00") : NULL;
    return zone ? zone : at + (*at == 'Z');
}

// That before a line, or "[2026-04-19 03:05:27] ".
static char *past_timestamp(char *text, int *rank)
{
    (void)rank;
    const bool in_brackets = *text == '[';
    char *at = past_time(text + in_brackets);
    if (!at || (in_brackets && *at++ != ']'))
        return NULL;
    return *at == ' ' ? past_level(at + 1) : *at == '\t' || !*at ? at : NULL;
}

// "Apr 19 03:05:27 ", "Apr 19 03:05:27 host1 mpirun[1234]: ", or as ctime writes it: "Thu Apr 17
// 03:05:27 2026".
static char *past_unix_time(char *text, int *rank)
{
    (void)rank;
    char *at = past_pattern(text, "aaa aaa _0 00:00:00 0000");
    if (at)
        return at + (*at == ' ');
    at = past_pattern(text, "aaa _0 00:00:00 ");
    if (!at)
        return NULL;
    char *process = at + strspn(at, NAMES);
    process = *process == ' ' ? process + 1 : process;
    char *pid = process + strspn(process, NAMES);
    char *end = *pid == '[' ? pid + 1 + strspn(pid + 1, DIGITS) : pid;
    return end > pid + 1 && !strncmp(end, "]:", 2) ? end + 2 + (end[2] == ' ') : at;
}

// "    12" and a tab: cat -n writes numbers six wide.
static char *past_line_number(char *text)
{
    const size_t blanks = strspn(text, " "), width = blanks + strspn(text + blanks, DIGITS);
    return blanks && width == 6 && blanks < width && text[width] == '\t' ? text + width + 1 : NULL;
}

static char *past_quote(char *text, int *rank)
{
    (void)rank;
    return *text == '>' ? text + 1 + (text[1] == ' ') : NULL;
}

static char *(*const tags[])(char *text, int *rank) = {
    past_mpirun,  past_srun,  past_hydra,     past_torchrun,  past_ray,  past_pod,   past_pdsh,
    past_compose, past_stern, past_timestamp, past_unix_time, past_grep, past_quote,
};
#define TAGS (sizeof tags / sizeof tags[0])

static char *past_tag(char *text, int *rank)
{
    char *at = skip_blanks(text), *past = past_line_number(text);
    for (size_t t = 0; t < TAGS && !past; t++)
        past = tags[t](at, rank);
    return past;
}

char *log_line_clean(char *text, int *rank)
{
    *rank = -1;
    drop_marks(text);
    for (char *past; (past = past_tag(text, rank));)
        text = past;
    return text;
}

#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

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

// What is taken out, and what becomes a blank.
static const struct {
    const char *bytes;
    bool blank;
} marks[] = {
    {"\xc2\xa0", true},      // no-break space
    {"\xe2\x80\xaf", true},  // narrow no-break space
    {"\xe2\x80\x87", true},  // figure space
    {"\xe2\x80\x8b", false}, // zero width space
    {"\xef\xbb\xbf", false}, // byte-order mark
    {"_**", false},          {"**_", false}, {"**", false},
};

static size_t mark_bytes(const char *text, bool *blank)
{
    *blank = false;
    if (*text == '\033')
        return escape_bytes(text);
    for (size_t m = 0; m < sizeof marks / sizeof marks[0]; m++) {
        const size_t length = strlen(marks[m].bytes);
        if (!strncmp(text, marks[m].bytes, length))
            return *blank = marks[m].blank, length;
    }
    return 0;
}

#define MARK_BEGINS "\033\xc2\xe2\xef_*"

static void drop_marks(char *text)
{
    char *to = text + strcspn(text, MARK_BEGINS);
    for (const char *from = to; *from;) {
        bool blank;
        const size_t bytes = mark_bytes(from, &blank);
        if (blank)
            *to++ = ' ';
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

// "12: ".
static char *past_srun(char *text, int *rank)
{
    const size_t digits = strspn(text, DIGITS);
    if (!digits || digits > 6 || text[digits] != ':' ||
        (text[digits + 1] && text[digits + 1] != ' '))
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

// "[pod/NAME/CONTAINER] ".
static char *past_kubectl(char *text, int *rank)
{
    (void)rank;
    char *end = strncmp(text, "[pod/", 5) ? NULL : text + strcspn(text, "] \t");
    return end && *end == ']' ? end + 1 + (end[1] == ' ') : NULL;
}

// Past digits in the places of a pattern of '0'; other characters stand for themselves. NULL
// where the text is otherwise.
static char *past_pattern(char *text, const char *pattern)
{
    for (; *pattern; pattern++, text++)
        if (*pattern == '0' ? !isdigit((unsigned char)*text) : *text != *pattern)
            return NULL;
    return text;
}

// "2026-04-19T03:05:27.123Z ", RFC 3339; a blank for the T, and no zone, as loggers write it.
static char *past_timestamp(char *text, int *rank)
{
    (void)rank;
    char *day = past_pattern(text, "0000-00-00");
    char *at = day && (*day == 'T' || *day == ' ') ? past_pattern(day + 1, "00:00:00") : NULL;
    if (!at)
        return NULL;
    if ((*at == '.' || *at == ',') && isdigit((unsigned char)at[1]))
        at += 1 + strspn(at + 1, DIGITS);
    char *zone = *at == '+' || *at == '-' ? past_pattern(at + 1, "00:00") : NULL;
    at = zone ? zone : at + (*at == 'Z');
    return *at == ' ' ? at + 1 : *at == '\t' || !*at ? at : NULL;
}

static char *past_quote(char *text, int *rank)
{
    (void)rank;
    return *text == '>' ? text + 1 + (text[1] == ' ') : NULL;
}

static char *(*const tags[])(char *text, int *rank) = {
    past_mpirun, past_srun,    past_hydra,     past_torchrun,
    past_ray,    past_kubectl, past_timestamp, past_quote,
};
#define TAGS (sizeof tags / sizeof tags[0])

static char *past_tag(char *text, int *rank)
{
    char *at = skip_blanks(text), *past = NULL;
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

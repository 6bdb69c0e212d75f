// Errors: how every room reports trouble, and the exit codes of the program.
//
// A function that can fail on what a person gave it returns bool and fills a `struct error`; only
// main prints it and exits. Trouble of the programmer's own is an assert, never an error.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

// Exit codes of every epsim program.
enum exit_code {
    EXIT_DONE = 0,      // ran, within any tolerance that was asked
    EXIT_TOLERANCE = 1, // ran, but outside the asked tolerance
    EXIT_INPUT = 2,     // bad input or usage
    EXIT_ABSENT = 3,    // hardware, library or helper program absent
    EXIT_RUNTIME = 4,   // failed while running: disk full, lost peer, broken library call
};

// One message, complete but for the program's name, e.g. "mine.yaml:12: nic: '50': needs a unit".
struct error {
    enum exit_code code;
    char text[1024];
};

// Every message, of an error and of a notice, is one line that a terminal shows as it stands: what
// error_hidden finds in it is escaped, wherever in its arguments it came from.

// Fills err and returns false, so that a caller can write `return error_set(...)`.
bool error_set(struct error *err, enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "<prefix>: " before the message already in err: the place, added by whoever knows it.
// Returns false.
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Bytes of the character at text that a terminal would obey or not show: a control character (of C1
// too), a mark of direction, an end of line, a byte that is no UTF-8; 0: it is none of these.
size_t error_hidden(const char *text);

// text as a message may quote it: what error_hidden finds escaped, and cut
// to about 60 characters with "..." after. buffer has ERROR_QUOTE_BYTES bytes; returned for use
// inside error_set(err, code, "'%s': ...", error_quote(text, buffer)).
#define ERROR_QUOTE_BYTES 80
char *error_quote(const char *text, char *buffer);

// "notice: ..." on standard error: something the user should know that is not a failure. The same
// text is said once in a process. From any thread. Silenced by notice_quiet(true), which --quiet
// calls; it returns whether it was silent before.
void notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool notice_quiet(bool quiet);

#endif

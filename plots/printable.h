// Bytes from outside as text that a figure, an SVG file or a terminal can hold.
#ifndef PLOTS_PRINTABLE_H
#define PLOTS_PRINTABLE_H

#include <stddef.h>

// In place: drops control characters but those between cells and lines (so CR before LF, too), and
// puts '?' for every byte that is no text. Returns the new length.
size_t make_printable(char *text, size_t length);

#endif

# The style of every figure. Loaded by a figure's script, which has set OUT (the file to write; its
# suffix picks the format), WIDTH and HEIGHT (in points of the screen, 96 an inch) and TITLE.
# Leaves TITLE broken where it has to be, and TITLE_FONT for it.

FONT = "DejaVu Sans,11"
suffix = OUT[strlen(OUT) - 2 : strlen(OUT)]
if (suffix eq "svg") {
    set terminal svg size WIDTH,HEIGHT dynamic enhanced font "DejaVu Sans,Helvetica,Arial,sans-serif,11" background "white"
} else { if (suffix eq "pdf") {
    set terminal pdfcairo size WIDTH/96.0,HEIGHT/96.0 enhanced font FONT fontscale 0.75 background "white"
} else { if (strstrt(GPVAL_TERMINALS, "pngcairo") > 0) {
    # Twice the size on screen, so that print and dense displays stay sharp.
    set terminal pngcairo size 2*WIDTH,2*HEIGHT enhanced font FONT fontscale 2 linewidth 2 pointscale 2 background "white"
} else {
    set terminal png size 2*WIDTH,2*HEIGHT enhanced font FONT fontscale 2 linewidth 2 background "#ffffff"
} } }
set output OUT
set encoding utf8

# A title that fits: smaller where it is long, and in two lines where it would be too small to read.
# A letter is at most 0.72 of its size wide.
fitting(length) = WIDTH * 0.96 / (0.72 * length)
TITLE_SIZE = 14
if (strlen(TITLE) > 0) {
    longest = strlen(TITLE)
    middle = longest / 2
    while (middle < longest && TITLE[middle:middle] ne " ") { middle = middle + 1 }
    if (fitting(longest) < 9 && middle < longest) {
        longest = middle > longest - middle ? middle : longest - middle
        TITLE = TITLE[1:middle - 1]."\n".TITLE[middle + 1:*]
    }
    TITLE_SIZE = fitting(longest) > 14 ? 14 : fitting(longest) < 4 ? 4 : fitting(longest)
}
TITLE_FONT = sprintf(",%.1f", TITLE_SIZE)

set datafile separator "\t"
set datafile columnheaders

# Okabe and Ito's palette: told apart with any common colour blindness.
BLACK = 0x000000; ORANGE = 0xE69F00; SKY = 0x56B4E9; GREEN = 0x009E73
YELLOW = 0xF0E442; BLUE = 0x0072B2; RED = 0xD55E00; PURPLE = 0xCC79A7; GREY = 0x999999

# One colour a phase, the same in every figure.
phase_colour(p) = p eq "dispatch" ? BLUE : p eq "combine" ? RED : p eq "experts" ? GREEN : \
    p eq "notify" ? PURPLE : p eq "shared" ? SKY : p eq "router" ? YELLOW : \
    p eq "rmsnorm" ? GREY : p eq "layer" ? BLACK : ORANGE

# Light to dark in one direction of lightness, and dark enough at zero to stand out from the paper.
set palette defined (0 "#e8f1f2", 0.2 "#a6d3c8", 0.4 "#5fb3b3", 0.6 "#2f87a6", 0.8 "#2a5a8c", 1 "#2a1e5c")

set style fill solid 1.0 noborder
set border 3 linewidth 0.8 linecolor rgb "#404040"
set tics nomirror out scale 0.5 textcolor rgb "#202020"
set grid linewidth 0.6 linecolor rgb "#d0d0d0" dashtype 1
set title font ",12" textcolor rgb "#000000"
set key textcolor rgb "#202020"

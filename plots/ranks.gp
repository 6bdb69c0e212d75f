# What each rank does when: one bar a rank and phase.
# usage: gnuplot -c ranks.gp IN.tsv OUT STYLE.gp TITLE; columns rank, phase, start_us, end_us
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
phases = ""
collect(p) = (strstrt(" ".phases, " ".p." ") ? 0 : (phases = phases.p." ", 1))
set table $NONE
plot IN using (collect(strcol("phase"))):(0) with table
unset table
stats IN using "rank" name "RANK" nooutput
stats IN using "start_us":"end_us" name "TIME" nooutput

ranks = RANK_max - RANK_min + 1
HEIGHT = 150 + (ranks < 16 ? 24 * ranks : ranks < 64 ? 15 * ranks : 960)
WIDTH = 960
load STYLE

set label 1 TITLE at screen 0.5, screen 1-24.0/HEIGHT center noenhanced font TITLE_FONT
set tmargin at screen 1-78.0/HEIGHT
set key at graph 0.5, screen 1-56.0/HEIGHT center horizontal Left reverse samplen 1.2 width 0
# From zero, unless the first start is far from it.
first = TIME_min_x > 0 && TIME_min_x < 0.2 * TIME_max_y ? 0 : TIME_min_x
set xrange [first:TIME_max_y > first ? TIME_max_y : first + 1]
set yrange [RANK_max + 0.6:RANK_min - 0.6]
set xlabel "time (µs)"
set ylabel "rank"
set ytics ranks <= 40 ? 1 : ranks <= 100 ? 8 : ranks <= 300 ? 16 : 64
set grid noytics xtics
set border 1
bar = ranks < 128 ? 0.4 : 0.5
plot for [phase in phases] IN \
    using (strcol("phase") eq phase ? 0.5 * (column("start_us") + column("end_us")) : NaN):"rank":"start_us":"end_us":(column("rank") - bar):(column("rank") + bar) \
    with boxxyerror fillcolor rgb phase_colour(phase) title phase noenhanced
unset output

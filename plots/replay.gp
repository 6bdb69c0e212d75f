# How the latency of each MoE layer spreads over a trace's steps, and what it would be on even loads.
# usage: gnuplot -c replay.gp IN.tsv OUT STYLE.gp TITLE
# columns layer, phase, p50_us, p90_us, p99_us, even_us; rows of phase "layer" are drawn, without "all"
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
# Layers stand side by side in the file's order, whichever were replayed.
layers = ""; count = 0; high = 0
drawn(l, p) = p eq "layer" && l ne "all"
collect(l, p, y) = drawn(l, p) ? (layers = layers.l." ", count = count + 1, high = y > high ? y : high) : 0
set table $NONE
plot IN using (collect(strcol("layer"), strcol("phase"), column("p99_us"))):(0) with table
unset table

WIDTH = count < 14 ? 760 : count < 64 ? 15 * count + 550 : 1510
HEIGHT = 460
load STYLE

place = -1
next(l, p) = drawn(l, p) ? (place = place + 1, place) : NaN
# A layer's row becomes: place, p50, p90, p99, even.
set table $ROWS
plot IN using (next(strcol("layer"), strcol("phase"))):"p50_us":"p90_us":"p99_us":"even_us" with table if (drawn(strcol("layer"), strcol("phase")))
unset table
unset datafile columnheaders
set datafile separator whitespace

set label 1 TITLE at screen 0.5, screen 1-24.0/HEIGHT center noenhanced font TITLE_FONT
set tmargin at screen 1-78.0/HEIGHT
set key at graph 0.5, screen 1-56.0/HEIGHT center horizontal Left reverse samplen 1.5
set xrange [-0.7:count - 0.3]
set yrange [0:1.06 * high]
set xlabel "MoE layer"
set ylabel "latency of the layer (µs)"
set grid noxtics ytics
every = count <= 32 ? 1 : count <= 64 ? 4 : 8
set xtics ()
do for [i = 1:count:every] { set xtics add (word(layers, i) i - 1) }
half = 0.32
plot $ROWS using 1:2:(0):($4 - $2) with vectors nohead lw 5 lc rgb SKY title "to 99th percentile", \
    $ROWS using ($1 - half):3:(2 * half):(0) with vectors nohead lw 2 lc rgb BLUE title "90th percentile", \
    $ROWS using 1:2 with points pt 7 ps 0.8 lc rgb BLUE title "median", \
    $ROWS using ($1 - half):5:(2 * half):(0) with vectors nohead lw 2 lc rgb RED title "mean, loads even"
unset output

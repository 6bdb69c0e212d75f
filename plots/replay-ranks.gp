# Which ranks and layers are hot: one square a layer and rank, its load over the mean of ranks.
# usage: gnuplot -c replay-ranks.gp IN.tsv OUT STYLE.gp TITLE; columns layer, rank, load_ratio
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
# Layers stand under each other in the file's order, whichever were replayed.
layers = ""; rows = -1; last = "none"
row(l) = (l ne last ? (last = l, rows = rows + 1, layers = layers.l." ") : 0, rows)
set table $CELLS
plot IN using (row(strcol("layer"))):"rank":"load_ratio" with table
unset table
unset datafile columnheaders
set datafile separator whitespace
stats $CELLS using 2 name "RANK" nooutput
stats $CELLS using 3 name "LOAD" nooutput

ranks = RANK_max + 1
count = rows + 1
WIDTH = 220 + (ranks < 16 ? 36 * ranks : ranks < 64 ? 20 * ranks : 1280)
HEIGHT = 150 + (count < 8 ? 40 * count : count < 64 ? 18 * count + 120 : 1270)
load STYLE
unset datafile columnheaders
set datafile separator whitespace

set label 1 TITLE at screen 0.5, screen 1-24.0/HEIGHT center noenhanced font TITLE_FONT
set tmargin at screen 1-60.0/HEIGHT
set rmargin at screen 1-120.0/WIDTH
set bmargin at screen 60.0/HEIGHT
set label 2 "load over mean" at screen 1-60.0/WIDTH, screen 1-44.0/HEIGHT center
set colorbox user origin screen 1-100.0/WIDTH, screen 60.0/HEIGHT size screen 16.0/WIDTH, screen 1-130.0/HEIGHT
set xrange [-0.5:ranks - 0.5]
set yrange [count - 0.5:-0.5]
set cbrange [0:LOAD_max > 1 ? LOAD_max : 1]
set xtics ranks <= 12 ? 1 : ranks <= 48 ? 4 : ranks <= 96 ? 8 : ranks <= 256 ? 16 : 64
every = count <= 32 ? 1 : count <= 64 ? 4 : 8
set ytics ()
do for [i = 1:count:every] { set ytics add (word(layers, i) i - 1) }
set xlabel "rank"
set ylabel "MoE layer"
unset grid
unset key
set border 0
set tics scale 0
set cbtics out scale 0.5
half = ranks <= 64 ? 0.46 : 0.505
tall = count <= 64 ? 0.46 : 0.505
plot $CELLS using 2:1:(half):(tall):3 with boxxyerror fillcolor palette
unset output

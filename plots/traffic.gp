# Who sends how much to whom: one square a pair of ranks, one panel a phase.
# usage: gnuplot -c traffic.gp IN.tsv OUT STYLE.gp TITLE; columns phase, src, dst, bytes
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
phases = ""
collect(p) = (strstrt(" ".phases, " ".p." ") ? 0 : (phases = phases.p." ", 1))
set table $NONE
plot IN using (collect(strcol("phase"))):(0) with table
unset table
stats IN using "src":"dst" name "RANK" nooutput
stats IN using "bytes" name "BYTES" nooutput
last = RANK_max_x > RANK_max_y ? RANK_max_x : RANK_max_y

# One unit for both panels and their shared scale.
power = BYTES_max >= 1e9 ? 3 : BYTES_max >= 1e6 ? 2 : BYTES_max >= 1e3 ? 1 : 0
scale = 1000.0**power
unit = word("B kB MB GB", power + 1)

panels = words(phases)
columns = panels < 3 ? panels : 3
rows = int(ceil(panels / (1.0 * columns)))
WIDTH = 90 + 460 * columns
HEIGHT = 40 + 450 * rows
load STYLE

half = last < 64 ? 0.46 : 0.505
step = last < 12 ? 1 : last < 48 ? 4 : last < 96 ? 8 : last < 256 ? 16 : 64
set multiplot layout rows,columns title TITLE noenhanced font TITLE_FONT margins screen 75.0/WIDTH, screen 1-110.0/WIDTH, screen 60.0/HEIGHT, screen 1-75.0/HEIGHT spacing screen 60.0/WIDTH, screen 105.0/HEIGHT
set xrange [-0.5:last + 0.5]
set yrange [last + 0.5:-0.5]
set cbrange [0:BYTES_max > 0 ? BYTES_max / scale : 1]
set xtics step
set ytics step
set mxtics 4
unset grid
set border 0
set tics scale 0
set xlabel "destination rank"
set cbtics out scale 0.5
unset key
do for [i = 1:panels] {
    phase = word(phases, i)
    set title phase noenhanced
    if (i % columns == 1 || columns == 1) { set ylabel "source rank" } else { unset ylabel }
    if (i < panels) { unset colorbox } else {
        set label 1 unit at screen 1-82.0/WIDTH, screen 1-60.0/HEIGHT center
        set colorbox user origin screen 1-90.0/WIDTH, screen 60.0/HEIGHT size screen 16.0/WIDTH, screen 1-135.0/HEIGHT
    }
    plot IN using (strcol("phase") eq phase && (column("bytes") > 0 || column("src") != column("dst")) ? column("dst") : NaN):"src":(half):(half):(column("bytes") / scale) with boxxyerror fillcolor palette
}
unset multiplot
unset output

# Latency against tokens a GPU: simulated, estimated and, where there are rows, measured; one panel
# a phase.
# usage: gnuplot -c compare.gp IN.tsv OUT STYLE.gp TITLE
# columns phase, tokens_per_gpu, simulate_us, estimate_us, measured_us; a cell may be blank
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
phases = ""
collect(p) = (strstrt(" ".phases, " ".p." ") ? 0 : (phases = phases.p." ", 1))
low = 1e300; high = 0; found = 0
range(y) = (y > 0 ? (found = found + 1, low = y < low ? y : low, high = y > high ? y : high) : 0)
set table $NONE
plot IN using (collect(strcol("phase"))):(0) with table
unset table
stats IN using "tokens_per_gpu" name "TOKENS" nooutput
array counts[3]
do for [i = 1:3] {
    found = 0
    name = word("simulate_us estimate_us measured_us", i)
    set table $NONE
    plot IN using (range(column(name))):(0) with table
    unset table
    counts[i] = found
}

panels = words(phases)
columns = panels < 3 ? panels : 3
rows = int(ceil(panels / (1.0 * columns)))
WIDTH = panels == 1 ? 660 : 130 + 400 * columns
HEIGHT = 70 + 360 * rows
load STYLE

set multiplot layout rows,columns title TITLE noenhanced font TITLE_FONT margins screen 100.0/WIDTH, screen 1-30.0/WIDTH, screen 65.0/HEIGHT, screen 1-80.0/HEIGHT spacing screen 80.0/WIDTH, screen 115.0/HEIGHT
set logscale x 2
# At one count alone points stand beside each other, or the last would hide the rest.
alone = TOKENS_max == TOKENS_min
beside(x, place) = alone ? x * 1.15**place : x
size = alone ? 1.1 : 0.3
pad = alone ? 4 : 1.3
set xrange [TOKENS_min / pad:TOKENS_max * pad]
set xtics TOKENS_max > 64 * TOKENS_min ? 4 : 2
set mxtics 2
set format x "%.0f"
# A wide span needs a logarithm; a narrow one reads better from zero.
if (high > 12 * low) { set logscale y 10; set yrange [0.8 * low:1.6 * high]; set mytics 10 } else { set yrange [0:1.35 * high] }
set format y "%g"
set grid xtics ytics
set xlabel "tokens a GPU"
set key top left Left reverse samplen 2.5
do for [i = 1:panels] {
    phase = word(phases, i)
    set title phase noenhanced
    if (i % columns == 1 || columns == 1) { set ylabel "latency (µs)" } else { unset ylabel }
    colour = phase_colour(phase)
    # Each series is filtered first: a row of another phase would break the line. Its block begins
    # with a point that draws nothing, because gnuplot refuses an empty block.
    set datafile columnheaders
    set print $SIMULATE; print "NaN\tNaN"; unset print
    set table $SIMULATE append
    plot IN using "tokens_per_gpu":"simulate_us" with table if (strcol("phase") eq phase && column("simulate_us") > 0)
    set print $ESTIMATE; print "NaN\tNaN"; unset print
    set table $ESTIMATE append
    plot IN using "tokens_per_gpu":"estimate_us" with table if (strcol("phase") eq phase && column("estimate_us") > 0)
    set print $MEASURED; print "NaN\tNaN"; unset print
    set table $MEASURED append
    plot IN using "tokens_per_gpu":"measured_us" with table if (strcol("phase") eq phase && column("measured_us") > 0)
    unset table
    unset datafile columnheaders
    plot $SIMULATE using (beside($1, -1)):2 smooth unique with linespoints pt 7 ps size lw 2 lc rgb colour title counts[1] ? "simulate" : "", \
        $ESTIMATE using (beside($1, 0)):2 smooth unique with linespoints pt alone ? 6 : 7 ps size lw 1.6 dt (8,5) lc rgb colour title counts[2] ? "estimate" : "", \
        $MEASURED using (beside($1, 1)):2 with points pt 7 ps alone ? size : 0.8 lc rgb BLACK title counts[3] ? "measured" : ""
}
unset multiplot
unset output

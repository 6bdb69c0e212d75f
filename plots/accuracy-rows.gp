# Predicted against measured, one column of panels an engine: above, on logarithmic axes with the
# diagonal and a band of 10 % about it; below, one row a phase, how far off by size.
# usage: gnuplot -c accuracy-rows.gp IN.tsv OUT STYLE.gp TITLE
# columns engine, family, phase, tokens_per_gpu, bytes_per_rank (one of the two is blank),
# measured_us, predicted_us, error_pct
IN = ARG1; OUT = ARG2; STYLE = ARG3; TITLE = ARG4

set datafile separator "\t"
set datafile columnheaders
engines = ""; families = ""; phases = ""
add(list, word) = strstrt(" ".list, " ".word." ") ? list : list.word." "
collect(e, f, p) = (engines = add(engines, e), families = add(families, f), phases = add(phases, p), 0)
set table $NONE
plot IN using (collect(strcol("engine"), strcol("family"), strcol("phase"))):(0) with table
unset table
stats IN using "measured_us" name "MEASURED" nooutput
stats IN using "predicted_us" name "PREDICTED" nooutput
stats IN using "error_pct" name "ERROR" nooutput

columns = words(engines)
# Taken before any axis has a range, which would leave rows out.
medians = ""
do for [engine in engines] {
    stats IN using (strcol("engine") eq engine ? abs(column("error_pct")) : NaN) name "OFF" nooutput
    medians = medians.sprintf("%.2g ", OFF_median)
}
rows = words(phases)
count = words(families)
longest = 0
do for [i = 1:count] { longest = strlen(word(families, i)) > longest ? strlen(word(families, i)) : longest }
LEGEND = 50 + 8.6 * longest
LEFT = 80; TOP = 70; BOTTOM = 20; GAP = 24; ROW_GAP = 96
SIDE = 300; STRIP = 190
WIDTH = LEFT + columns * (SIDE + GAP) + LEGEND
HEIGHT = TOP + SIDE + rows * (STRIP + ROW_GAP) + 40 + BOTTOM
HEIGHT = HEIGHT < TOP + 24 * count + 40 ? TOP + 24 * count + 40 : HEIGHT
load STYLE

# Colours come round after seven families, with another shape.
colour(i) = word("0x0072B2 0xD55E00 0x009E73 0xCC79A7 0x56B4E9 0xE69F00 0x000000", (i - 1) % 7 + 1) + 0
shape(i) = word("7 8 5 12 9 4 13 6 11 10", (i - 1) / 7 % 10 + 1) + 0
dense = MEASURED_records > 600
size = dense ? 0.4 : 0.75

# Errors are spread near zero and drawn together far from it.
bend(e) = asinh(e / 5.0)
low = bend(ERROR_min < -12 ? ERROR_min : -12) - 0.25
high = bend(ERROR_max > 12 ? ERROR_max : 12) + 0.25
least = 0.7 * (MEASURED_min < PREDICTED_min ? MEASURED_min : PREDICTED_min)
most = 1.4 * (MEASURED_max > PREDICTED_max ? MEASURED_max : PREDICTED_max)
is(e, f) = strcol("engine") eq e && strcol("family") eq f

set multiplot
set label 100 TITLE at screen 0.5, screen 1-20.0/HEIGHT center noenhanced font TITLE_FONT
do for [i = 1:count] {
    y = 1 - (TOP + 12.0 + 22 * (i - 1)) / HEIGHT
    set label i word(families, i) at screen 1-(LEGEND - 22.0)/WIDTH, screen y left noenhanced offset 1.2,0 \
        point pt shape(i) ps 0.9 lc rgb colour(i)
}
unset key

# ---- predicted against measured
# A narrow span would have one tick on a logarithmic axis.
step = 10**floor(log10(most - least))
step = most - least < 2 * step ? step / 2 : most - least < 5 * step ? step : 2 * step
if (most > 12 * least) { set logscale xy 10; set mxtics 10; set mytics 10 } else { set xtics step; set ytics step }
set format xy "%g"
set xrange [least:most]
set yrange [least:most]
set object 1 polygon from least,least to 1.1 * least,least to most,most / 1.1 to most,most to most / 1.1,most \
    to least,1.1 * least to least,least behind fc rgb 0xE2E2E2 fs solid noborder
set arrow 1 from least,least to most,most nohead back lw 1 lc rgb GREY
do for [c = 1:columns] {
    engine = word(engines, c)
    set lmargin at screen (LEFT + (c - 1) * (SIDE + GAP)) / WIDTH
    set rmargin at screen (LEFT + (c - 1) * (SIDE + GAP) + SIDE) / WIDTH
    set tmargin at screen 1 - 1.0 * TOP / HEIGHT
    set bmargin at screen 1 - 1.0 * (TOP + SIDE) / HEIGHT
    set title sprintf("%s: median error %s %%", engine, word(medians, c)) noenhanced
    set xlabel "measured (µs)" offset 0,0.4
    if (c == 1) { set ylabel "predicted (µs)" } else { unset ylabel; set format y "" }
    plot for [i = 1:count] IN using (is(engine, word(families, i)) ? column("measured_us") : NaN):"predicted_us" \
        with points pt shape(i) ps size lc rgb colour(i)
    do for [i = 1:count] { unset label i }
    unset label 100
}

# ---- how far off, by size
unset logscale y
unset mytics
near = "-90 -50 -20 -10 -5 -2 0 2 5 10 20 50"
far = "-90 -50 -20 -10 0 10 20 50 100 200 400 1000 4000"
set object 1 rectangle from graph 0, first bend(-10) to graph 1, first bend(10) behind fc rgb 0xE2E2E2 fs solid noborder
set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead back lw 1 lc rgb GREY
do for [r = 1:rows] {
    set autoscale xy
    unset logscale x
    phase = word(phases, r)
    exchanged = 0
    seen(b) = (b > 0 ? exchanged = 1 : 0, 0)
    set table $NONE
    plot IN using (seen(strcol("phase") eq phase ? column("bytes_per_rank") : 0)):(0) with table
    unset table
    name = exchanged ? "bytes_per_rank" : "tokens_per_gpu"
    stats IN using (strcol("phase") eq phase ? column(name) : NaN) name "SIZE" nooutput
    set logscale x 2
    set xrange [SIZE_min / 2.1:SIZE_max * 2.1]
    set yrange [low:high]
    unset mxtics
    if (exchanged) { set xtics 8, SIZE_max > 4096.0 * SIZE_min ? 64 : 4; set format x "%.0b %BB" } \
        else { set xtics 1, SIZE_max > 4096.0 * SIZE_min ? 16 : SIZE_max > 64 * SIZE_min ? 4 : 2; set format x "%.0f" }
    y = TOP + SIDE + ROW_GAP + (r - 1) * (STRIP + ROW_GAP)
    do for [c = 1:columns] {
        engine = word(engines, c)
        set lmargin at screen (LEFT + (c - 1) * (SIDE + GAP)) / WIDTH
        set rmargin at screen (LEFT + (c - 1) * (SIDE + GAP) + SIDE) / WIDTH
        set tmargin at screen 1 - 1.0 * y / HEIGHT
        set bmargin at screen 1 - 1.0 * (y + STRIP) / HEIGHT
        set title sprintf("%s, %s", phase, engine) noenhanced
        set xlabel exchanged ? "bytes a rank" : "tokens a GPU" offset 0,0.4
        if (c == 1) { set ylabel "error (%)" } else { unset ylabel }
        set ytics () nomirror out scale 0.5
        do for [e in high - low > 4 ? far : near] {
            if (bend(e + 0) > low && bend(e + 0) < high) {
                set ytics add (sprintf(c > 1 ? "" : e + 0 > 0 ? "+%s" : "%s", e) bend(e + 0))
            }
        }
        plot for [i = 1:count] IN using \
            (is(engine, word(families, i)) && strcol("phase") eq phase ? column(name) : NaN):(bend(column("error_pct"))) \
            with points pt shape(i) ps size lc rgb colour(i)
    }
}
unset multiplot
unset output

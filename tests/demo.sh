#!/bin/sh
# The main job on real input, as a first look: DeepSeek-V3's expert parallelism over 32 H800 GPUs,
# predicted twice, beside what was published; what imbalance costs; three figures.
# Run by `make demo` in the project's root. Writes only into demo/.
set -eu
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.."
epsim=./epsim
out=demo
measured=study/measured/h800-cx7.csv
trace=traces/minimoe-256e
tokens=768 # a GPU: what the trace holds for 32 GPUs in one step
skewed=1   # layers of the trace
even=4
mkdir -p "$out"

heading() { printf '\n== %s\n\n' "$1"; }
say() { printf '%s\n' "$1"; }

# Runs epsim, its output kept in demo/NAME, and shows the command first.
keep() {
    kept=$out/$1
    shift
    printf '$ epsim %s -o %s\n' "$*" "$kept"
    $epsim "$@" -o "$kept"
}

# value FILE COLUMN [PHASE]: a cell of a TSV: the row of a phase, or the first.
value() {
    awk -F '\t' -v column="$2" -v phase="${3:-}" '
        /^#/ { next }
        !head { for (i = 1; i <= NF; i++) at[$i] = i; head = 1; next }
        phase == "" || $at["phase"] == phase { print $at[column]; exit }' "$out/$1"
}

# A comment of a TSV, as "# layer_us: 7567.11".
comment() { sed -n "s/^# $2: //p" "$out/$1"; }

# --- 1 --------------------------------------------------------------------------------------------

side_by_side() {
    awk -F '\t' '
        /^#/ { next }
        !head { for (i = 1; i <= NF; i++) at[$i] = i; head = 1
                printf "  %-10s %12s %12s %12s\n", "phase", "simulated_us", "estimated_us", "published_us"
                next }
        { printf "  %-10s %12.0f %12.0f %12s", $at["phase"], $at["simulate_us"], $at["estimate_us"],
                 $at["measured_us"] == "" ? "-" : sprintf("%.0f", $at["measured_us"])
          if ($at["measured_us"] != "")
              printf "   off by %+.1f%% and %+.1f%%", $at["simulate_pct"], $at["estimate_pct"]
          print "" }' "$out/$1"
}

heading "1. DeepSeek-V3, EP32: four servers of eight H800 GPUs, eight experts on each GPU"
say "A token visits 8 of 256 experts: dispatch sends it to the GPUs that hold them, combine brings the"
say "results back. epsim predicts both by discrete events (simulated) and by formula (estimated);"
say "the published figures are DeepEP's own. Times in microseconds, one layer."
say ""
say "Prefill: 4096 tokens on every GPU, DeepEP's normal kernels; published_us is derived from DeepEP's"
say "published GB/s, which are whole numbers."
keep prefill.tsv compare --routing deepep --tokens 4096 --measured $measured --tsv compare
side_by_side prefill.tsv
say ""
say "Decode: 128 tokens on every GPU, DeepEP's low-latency kernels; published_us as DeepEP gives it."
keep decode.tsv compare --routing uniform --tokens 128 --dispatcher deepep-ll --measured $measured --tsv compare
side_by_side decode.tsv

heading "2. How far to believe it: 24 published rows for these machines, EP8 to EP64"
keep accuracy.tsv accuracy $measured --engine simulate,estimate,naive --tsv accuracy
awk -F '\t' '
    /^# (simulate|estimate|naive): / {
        split($0, part, /[ :,%]+/); engine = part[2]
        order[++n] = engine; rows[engine] = part[3]; median[engine] = part[8]; p90[engine] = part[11]
        next }
    /^#/ { next }
    !head { for (i = 1; i <= NF; i++) at[$i] = i; head = 1; next }
    $at["worst_abs_pct"] > worst[$at["engine"]] { worst[$at["engine"]] = $at["worst_abs_pct"] }
    END {
        printf "  %-10s %5s %11s %9s %10s\n", "engine", "rows", "median_pct", "p90_pct", "worst_pct"
        for (i = 1; i <= n; i++) {
            e = order[i]
            printf "  %-10s %5d %11.1f %9.1f %10.1f\n", e, rows[e], median[e], p90[e], worst[e]
        } }' "$out/accuracy.tsv"
say ""
say "How far predictions are off, in percent: half of the rows by no more than median_pct, nine in ten"
say "by no more than p90_pct. naive is what most calculators do: bytes over the datasheet's rate. Of the"
say "rows 22 are distinct, and a few of them gave the parameters (README.md, How far to believe it)."

# --- 3 --------------------------------------------------------------------------------------------

# A layer as it runs, and with every phase begun together, so that waiting is told from moving.
layer() {
    case=$1
    shift
    keep "$case-layer.tsv" simulate --model deepseek-v3 --tokens $tokens "$@" --tsv phases
    keep "$case-phases.tsv" simulate --model deepseek-v3 --tokens $tokens "$@" --aligned --tsv phases
}

row() {
    layer_us=$(comment "$1-layer.tsv" layer_us)
    dispatch_us=$(value "$1-phases.tsv" latency_us dispatch)
    experts_us=$(value "$1-phases.tsv" latency_us experts)
    combine_us=$(value "$1-phases.tsv" latency_us combine)
    printf '  %-26s %9.0f %9.0f %9.0f %9.0f\n' "$2" "$layer_us" "$dispatch_us" "$experts_us" "$combine_us"
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", (b > 0 ? a / b : 0) }'; }

# hottest LAYER COLUMN: a figure of `trace info`.
hottest() {
    awk -F '\t' -v layer="$1" -v column="$2" '
        /^#/ { next }
        !head { for (i = 1; i <= NF; i++) at[$i] = i; head = 1; next }
        $at["layer"] == layer { printf "%.1f", $at[column] }' "$out/trace.tsv"
}

binds() {
    $epsim simulate --model deepseek-v3 --tokens $tokens "$@" --aligned |
        awk '/^what binds/ { on = 1; next } on && !NF { exit } on'
}

heading "3. Real routing: what imbalance costs"
say "A router does not spread tokens evenly. This trace holds the choices that a small model with"
say "DeepSeek-V3's router (256 experts, top-8) made on real text, layer by layer."
keep trace.tsv trace info $trace --tsv trace
awk -F '\t' '
    /^#/ { next }
    !head { for (i = 1; i <= NF; i++) at[$i] = i; head = 1
            printf "  %5s %19s %19s %16s %16s\n", "layer", "hottest_expert/mean", "hottest_GPU/mean",
                   "nodes_per_token", "ranks_per_token"
            next }
    { printf "  %5d %19.1f %19.2f %16.2f %16.2f\n", $at["layer"], $at["expert_max_mean"],
             $at["rank_max_mean"], $at["nodes_per_token"], $at["ranks_per_token"] }' "$out/trace.tsv"
say ""
say "Layer $skewed is the most skewed, layer $even the least: its hottest expert gets $(hottest $skewed expert_max_mean) times"
say "the average load, layer $even's $(hottest $even expert_max_mean). Both as DeepSeek-V3's layer, beside drawn routing:"
layer balanced --routing v3
layer even --trace $trace --layer $even
layer skewed --trace $trace --layer $skewed
printf '\n  %-26s %9s %9s %9s %9s\n' "us" layer dispatch experts combine
row balanced "drawn (--routing v3)"
row even "trace, layer $even"
row skewed "trace, layer $skewed"
say ""
say "layer: from the first GPU's start to the last one's end. dispatch, experts, combine: the slowest"
say "GPU's own time, all begun together. What binds layer $skewed:"
binds --trace $trace --layer $skewed
say ""
skewed_us=$layer_us skewed_dispatch_us=$dispatch_us skewed_combine_us=$combine_us
row balanced "" >/dev/null
layer_ratio=$(ratio "$skewed_us" "$layer_us")
dispatch_ratio=$(ratio "$skewed_dispatch_us" "$dispatch_us")
combine_ratio=$(ratio "$skewed_combine_us" "$combine_us")
drawn_us=$layer_us
row even "" >/dev/null
even_ratio=$(ratio "$layer_us" "$drawn_us")
say "So the skewed layer takes $layer_ratio times as long as the drawn one: its dispatch $dispatch_ratio times, its combine"
say "$combine_ratio times, because one GPU must take in and give back far more than its share while others wait."
say "The even layer takes $even_ratio times as long."

# --- 4 --------------------------------------------------------------------------------------------

heading "4. Figures"
keep traffic.tsv simulate --model deepseek-v3 --trace $trace --layer $skewed --tokens $tokens --tsv traffic
keep traffic.svg plot $out/traffic.tsv
keep ranks.tsv simulate --model deepseek-v3 --trace $trace --layer $skewed --tokens $tokens --tsv ranks
keep ranks.svg plot $out/ranks.tsv
keep compare.tsv compare --routing deepep --tokens 1..8192:log --measured $measured --tsv compare
keep compare.svg plot $out/compare.tsv
say ""
say "  $out/traffic.svg   who sends how much to whom in layer $skewed: the hot GPU is the dark column of"
say "                     dispatch and the dark row of combine"
say "  $out/ranks.svg     what each GPU does when: its combine ends with the hot GPU's, however early it began"
say "  $out/compare.svg   latency against tokens a GPU, both engines, with the published points"

heading "What to try next"
say "  ./epsim simulate --ep 64                          the same layer over twice the GPUs"
say "  ./epsim simulate --dispatcher nccl-two-stage      another way to move the tokens"
say "  ./epsim estimate --cluster h800-cx7:nic=800Gbps    what NICs twice as fast would bring"
say "  ./epsim simulate --trace $trace --model deepseek-v3 --layer $skewed --timeline $out/timeline.json"
say "                                                    a timeline to open at https://ui.perfetto.dev"
say "  ./epsim help simulate                             every flag, with examples"

#!/bin/sh
# Runs epsim-real on all GPUs of one host, a rank each: checks outputs, probes links, measures every dispatcher.
# usage: real/multi_gpu.sh EPSIM_REAL OUT [WHAT...]
# WHAT: verify probe points two-stages timeline large for NCCL calls; ep-warm ep-verify ep-points ep-capacity skew for
# NCCL EP (ep-warm compiles its kernels beforehand, several at once); by both, graph for layers in CUDA graphs, uneven
# for a recorded trace beside uniform routing, disturbed for another job on the last GPU. None named: all but `large` and
# `graph`, NCCL EP first. Results: OUT/results.tar.gz, after each WHAT.
# RANKS: as many as there are GPUs, or more, which then share them (NCCL calls alone; start the MPS daemon first).
# TOKENS, TOKENS_LL: counts measured. DISPATCHERS: of NCCL calls; UNEVEN: those that uneven measures. SKEW: a folder of
# traces to measure under `skew`, each made by `epsim trace make hot-rank:hot_share=...,ranks=RANKS --layer 0 --tokens N`,
# N at least RANKS times 4096.
set -u
[ $# -ge 2 ] || { echo "usage: real/multi_gpu.sh EPSIM_REAL OUT [WHAT...]" >&2; exit 2; }
real=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- ep-warm ep-verify ep-points ep-capacity uneven disturbed skew verify probe points two-stages timeline
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/files
mkdir -p "$files" "$out"
gpus=$(nvidia-smi -L | wc -l)
ranks=${RANKS:-$gpus}
share=
flags=
[ "$ranks" -gt "$gpus" ] && share=--share-gpu
here=$(dirname "$0")
models=$here/results/models
recorded=$here/../traces/minimoe-256e
cluster=1x$ranks:nvlink_effective=1GB/s # names the shape alone
tokens=${TOKENS:-1..8192:log}
tokens_ll=${TOKENS_LL:-1..1024:log}
dispatchers=${DISPATCHERS:-"nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal nccl-calls-ll ll-slots"}
export NCCL_NVLS_ENABLE=0 # NVLink multicast: not on hosts that are shared

run() { # seconds at most, arguments
    limit=$1
    shift
    timeout "$limit" mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" \
        "$real" "$@" --transport nccl $share ${flags:+"$flags"} || echo "FAILED: exit $?: $*"
}

check() { # name, model, dispatcher, tokens
    run 60 --model "$models/$2.yaml" --cluster "$cluster" --dispatcher "$3" --tokens "$4" --verify 128 --warmup 1 \
        --iterations 5 --json -o "$files/verify-$1.json"
}

measure() { # name, model, dispatcher, tokens
    run 100 --model "$models/$2.yaml" --cluster "${on:-$cluster}" --dispatcher "$3" --tokens "$4" --verify 0 \
        --warmup 3 --iterations 15 --family "$1" -o "$files/$1-$(basename "$3" .yaml)-$2.csv"
}

# --- NCCL calls ---------------------------------------------------------------------------------

verify() {
    for dtype in fp8 bf16; do
        for dispatcher in $dispatchers; do
            check "$dispatcher-$dtype" "deepseek-v3-$dtype" "$dispatcher" 512
        done
    done
}

probe() {
    run 60 probe --cluster "$cluster" --most 512MiB --iterations 20 --family "alltoall-$ranks" -o "$files/alltoall.csv"
    run 60 probe --cluster "$cluster" --most 512MiB --iterations 20 -o "$files/probe.tsv"
}

# Copies per expert take more room: fewer tokens.
points() {
    for dtype in fp8 bf16; do
        for dispatcher in $dispatchers; do
            case $dispatcher in
            nccl-calls-ll | ll-slots) measure points "deepseek-v3-$dtype" "$dispatcher" "${TOKENS:-1..4096:log}" ;;
            *) measure points "deepseek-v3-$dtype" "$dispatcher" "$tokens" ;;
            esac
        done
    done
}

# The same host as two "nodes" that NVLink joins, so that dispatchers of two stages use both.
two_stages() {
    [ $((ranks % 2)) -eq 0 ] && [ "$ranks" -gt 2 ] || return
    on="2x$((ranks / 2)):nvlink_effective=1GB/s,nic_effective=1GB/s"
    for dtype in fp8 bf16; do
        for dispatcher in nccl-two-stage nccl-calls-normal; do
            measure stages "deepseek-v3-$dtype" "$dispatcher" "$tokens"
        done
    done
    on=
}

# What may not fit: alone.
large() {
    for dtype in fp8 bf16; do
        for dispatcher in nccl-calls-ll ll-slots; do
            measure large "deepseek-v3-$dtype" "$dispatcher" 8192
        done
    done
}

timeline() {
    run 60 --model "$models/deepseek-v3-fp8.yaml" --cluster "$cluster" --dispatcher nccl-flat --tokens 4096 --verify 0 \
        --timeline "$files/timeline.json" -o "$files/timeline.csv"
}

# --- NCCL EP ------------------------------------------------------------------------------------

shapes="deepseek-v3 qwen3-235b-a22b qwen3-30b-a3b"

# Kernels depend on the hidden size and, of high throughput, on the most tokens of a rank. Small experts, so that jobs
# fit beside each other.
ep_warm() {
    for shape in $shapes; do
        for dtype in fp8 bf16; do
            sed 's/^\(shared_\)\{0,1\}intermediate:.*/\1intermediate: 128/' "$models/$shape-$dtype.yaml" \
                >"$work/small-$shape-$dtype.yaml"
        done
    done
    for shape in $shapes; do
        for dtype in fp8 bf16; do
            warm_one "small-$shape-$dtype" nccl-ep-ll 8 &
        done
        for t in 64 128 256 512; do
            warm_one "small-$shape-bf16" nccl-ep-ht $t &
        done
        wait
        for t in 1024 2048 4096 8192; do
            warm_one "small-$shape-bf16" nccl-ep-ht $t &
        done
        wait
    done
}

warm_one() { # model, dispatcher, tokens
    run 90 --model "$work/$1.yaml" --cluster "$cluster" --dispatcher "$2" --tokens "$3" --verify 0 --warmup 0 \
        --iterations 1 -q -o "$work/warm-$1-$2-$3.csv" >"$work/warm-$1-$2-$3.log" 2>&1
}

ep_verify() {
    for shape in $shapes; do
        check "nccl-ep-ll-$shape-fp8" "$shape-fp8" nccl-ep-ll 1,256
        check "nccl-ep-ll-$shape-bf16" "$shape-bf16" nccl-ep-ll 1,256
        check "nccl-ep-ht-$shape-bf16" "$shape-bf16" nccl-ep-ht 1,2048,8192
    done
}

ep_points() {
    for shape in $shapes; do
        for dtype in fp8 bf16; do
            measure points "$shape-$dtype" nccl-ep-ll "$tokens_ll"
        done
        measure points "$shape-bf16" nccl-ep-ht "$tokens"
    done
}

# Few tokens in buffers made for many, as an engine has them.
ep_capacity() {
    for shape in $shapes; do
        measure capacity "$shape-bf16" "$here/results/hopper/presets/dispatchers/nccl-ep-ht-8192.yaml" 1,64,512,2048
    done
}

# Routing that loads one rank more than the others.
skew() {
    for trace in "${SKEW:-none}"/*; do
        [ -d "$trace" ] || continue
        for mode in nccl-ep-ll nccl-ep-ht; do
            counts=128,512,1024
            [ $mode = nccl-ep-ht ] && counts=128,512,1024,4096
            run 100 --model "$models/deepseek-v3-bf16.yaml" --cluster "$cluster" --dispatcher $mode --trace "$trace" \
                --layer 0 --tokens $counts --verify 0 --warmup 3 --iterations 15 --family "skew-$(basename "$trace")" \
                -o "$files/skew-$(basename "$trace")-$mode.csv"
        done
    done
}

# --- uneven routing -----------------------------------------------------------------------------

# DeepSeek-V3's layer by a recorded trace of as many experts, then by choices drawn evenly.
uneven() {
    for dispatcher in ${UNEVEN:-nccl-ep-ll nccl-ep-ht nccl-flat ll-slots}; do
        counts=32,128,512,1024
        case $dispatcher in nccl-ep-ht | nccl-flat) counts=$counts,2048 ;; esac
        uneven_one trace "$dispatcher" "$counts" --trace "$recorded" --layer 1
        uneven_one uniform "$dispatcher" "$counts" --routing uniform
    done
}

uneven_one() { # name, dispatcher, tokens, routing
    name=$1
    dispatcher=$2
    counts=$3
    shift 3
    run 100 --model "$models/deepseek-v3-bf16.yaml" --cluster "$cluster" --dispatcher "$dispatcher" "$@" \
        --tokens "$counts" --verify 0 --warmup 3 --iterations 30 --family "uneven-$name" \
        -o "$files/uneven-$name-$dispatcher.csv"
}

# --- one slow GPU -------------------------------------------------------------------------------

# The last rank's GPU by turns its own, and another job's too; outputs are checked.
disturbed() {
    for dispatcher in nccl-ep-ll nccl-ep-ht nccl-flat; do
        counts=32,128,1024
        [ $dispatcher = nccl-ep-ll ] || counts=$counts,4096
        disturbed_one undisturbed $dispatcher $counts
        disturbed_one disturbed $dispatcher $counts --disturb $((ranks - 1))
    done
}

disturbed_one() { # family, dispatcher, tokens, flags
    name=$1
    dispatcher=$2
    counts=$3
    shift 3
    run 100 --model "$models/deepseek-v3-bf16.yaml" --cluster "$cluster" --dispatcher "$dispatcher" "$@" \
        --tokens "$counts" --verify 32 --warmup 3 --iterations 30 --family "$name" -o "$files/$name-$dispatcher.csv"
}

# --- graphs -------------------------------------------------------------------------------------

# The layer as engines deploy it, by fours; outputs are checked at a few counts.
graph() {
    few=${TOKENS_LL:-1,4,16,64,256,1024}
    many=${TOKENS:-1,4,16,64,256,1024,4096,8192}
    flags=--graph
    for shape in deepseek-v3 qwen3-235b-a22b; do
        for dtype in fp8 bf16; do
            check "graph-nccl-ep-ll-$shape-$dtype" "$shape-$dtype" nccl-ep-ll 1,256
            measure graph "$shape-$dtype" nccl-ep-ll "$few"
        done
        for dispatcher in nccl-ep-ht nccl-flat; do
            check "graph-$dispatcher-$shape-bf16" "$shape-bf16" $dispatcher 1,512
            measure graph "$shape-bf16" $dispatcher "$many"
        done
    done
    flags=
}

nvidia-smi -L
nvidia-smi topo -m
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv
for what in "$@"; do
    echo "== $what $(date +%T)"
    case $what in
    verify | probe | points | large | timeline | skew | uneven | disturbed | graph) $what ;;
    two-stages) two_stages ;;
    ep-warm) ep_warm ;;
    ep-verify) ep_verify ;;
    ep-points) ep_points ;;
    ep-capacity) ep_capacity ;;
    *) echo "multi_gpu: $what: unknown; see the head of this file" >&2; exit 2 ;;
    esac
    tar czf "$out/results.tar.gz" -C "$work" files
done
echo "== done $(date +%T)"

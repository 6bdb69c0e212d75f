#!/bin/sh
# Runs epsim-real on all GPUs of one host, a rank each: checks outputs, probes links, measures every dispatcher.
# usage: real/multi_gpu.sh EPSIM_REAL OUT [WHAT...]
# WHAT: verify probe points two-stages timeline large (all of them, in this order, when none is named). RANKS: as many as
# there are GPUs, or more, which then share them (start the MPS daemon first). Results: OUT/results.tar.gz, after each WHAT.
set -u
real=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- verify probe points two-stages timeline large
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/files
mkdir -p "$files" "$out"
gpus=$(nvidia-smi -L | wc -l)
ranks=${RANKS:-$gpus}
share=
[ "$ranks" -gt "$gpus" ] && share=--share-gpu
here=$(dirname "$0")
tokens=${TOKENS:-1..8192:log}
dispatchers=${DISPATCHERS:-"nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal nccl-calls-ll ll-slots"}
export NCCL_NVLS_ENABLE=0 # NVLink multicast: not on hosts that are shared

run() { # seconds at most, arguments
    limit=$1
    shift
    timeout "$limit" mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" \
        "$real" "$@" --transport nccl $share || echo "FAILED: exit $?: $*"
}

# DeepSeek-V3 with experts in BF16; hidden states dispatched in FP8 or in BF16.
for dtype in fp8 bf16; do
    sed "s/^dispatch_dtype:.*/dispatch_dtype: $dtype/" "$here/results/h100-shared/model.yaml" >"$files/model-$dtype.yaml"
done

verify() {
    for dtype in fp8 bf16; do
        for dispatcher in $dispatchers; do
            run 60 --model "$files/model-$dtype.yaml" --cluster "1x$ranks:nvlink=1GB/s" --dispatcher "$dispatcher" \
                --tokens 512 --warmup 1 --iterations 5 --json -o "$files/verify-$dispatcher-$dtype.json"
        done
    done
}

probe() {
    run 60 probe --cluster "1x$ranks:nvlink=1GB/s" --most 512MiB --iterations 20 --family "alltoall-$ranks" \
        -o "$files/alltoall.csv"
    run 60 probe --cluster "1x$ranks:nvlink=1GB/s" --most 512MiB --iterations 20 -o "$files/probe.tsv"
}

measure() { # cluster, dispatcher, tokens, name
    for dtype in fp8 bf16; do
        run 80 --model "$files/model-$dtype.yaml" --cluster "$1" --dispatcher "$2" --tokens "$3" --verify 0 --warmup 3 \
            --iterations 15 --family "$4" -o "$files/$4-$2-$dtype.csv"
    done
}

points() {
    for dispatcher in nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal; do
        measure "1x$ranks:nvlink=1GB/s" "$dispatcher" "$tokens" points
    done
    for dispatcher in nccl-calls-ll ll-slots; do
        measure "1x$ranks:nvlink=1GB/s" "$dispatcher" "${TOKENS_LL:-1..4096:log}" points
    done
}

# The same host as two "nodes" that NVLink joins, so that dispatchers of two stages use both.
two_stages() {
    [ $((ranks % 2)) -eq 0 ] && [ "$ranks" -gt 2 ] || return
    for dispatcher in nccl-two-stage nccl-calls-normal; do
        measure "2x$((ranks / 2)):nvlink=1GB/s,nic=1GB/s" "$dispatcher" "$tokens" stages
    done
}

# What may not fit: alone.
large() {
    for dispatcher in nccl-calls-ll ll-slots; do
        measure "1x$ranks:nvlink=1GB/s" "$dispatcher" 8192 large
    done
}

timeline() {
    run 60 --model "$files/model-fp8.yaml" --cluster "1x$ranks:nvlink=1GB/s" --dispatcher nccl-flat --tokens 4096 \
        --verify 0 --timeline "$files/timeline.json" -o "$files/timeline.csv"
}

nvidia-smi -L
nvidia-smi topo -m
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv
for what in "$@"; do
    echo "== $what $(date +%T)"
    case $what in
    verify | probe | points | large | timeline) $what ;;
    two-stages) two_stages ;;
    *) echo "multi_gpu: $what: unknown; see the head of this file" >&2; exit 2 ;;
    esac
    tar czf "$out/results.tar.gz" -C "$work" files
done
echo "== done $(date +%T)"

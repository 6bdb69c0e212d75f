#!/bin/sh
# Runs epsim-real on one GPU that several ranks share, under the CUDA MPS daemon: checks outputs, then measures.
# usage: real/gpu_run.sh EPSIM_REAL OUT [WHAT...]
# WHAT: verify32 verify8 (FP8 dispatch), verify32-bf16 verify8-bf16, points, probe, killed. MODEL and DISPATCHERS change
# what is verified, TOKENS32 and TOKENS8 the tokens a rank (32 ranks with padded BF16 slots need TOKENS32=16 or less: GPU
# memory). Results: CSV and JSON files in OUT.
set -u
real=$1
out=$2
shift 2
mkdir -p "$out"

export CUDA_MPS_PIPE_DIRECTORY="${CUDA_MPS_PIPE_DIRECTORY:-/tmp/epsim-mps}"
export CUDA_MPS_LOG_DIRECTORY="${CUDA_MPS_LOG_DIRECTORY:-/tmp/epsim-mps-log}"
mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
nvidia-cuda-mps-control -d
trap 'echo quit | nvidia-cuda-mps-control' EXIT INT TERM

run() { # ranks, arguments
    ranks=$1
    shift
    timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" \
        "$real" "$@" --transport nccl --share-gpu
}

model=${MODEL:-deepseek-v3}
dispatchers=${DISPATCHERS:-"nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal nccl-calls-ll ll-slots"}

verify() { # ranks, tokens, suffix
    for dispatcher in $dispatchers; do
        run "$1" --model "$model" --dispatcher "$dispatcher" --tokens "$2" --warmup 1 \
            --iterations 3 --json -o "$out/verify-$1-$dispatcher$3.json" ||
            echo "FAILED: verify $1 $dispatcher$3: exit $?"
    done
}

# The same model with hidden states dispatched in BF16.
bf16() {
    model=$out/bf16.yaml
    sed 's/^dispatch_dtype:.*/dispatch_dtype: bf16/' "$(dirname "$0")/results/h100-shared/model.yaml" >"$model"
}

probe() {
    for ranks in 4 8; do
        run "$ranks" probe --cluster "2x$((ranks / 2)):nvlink_effective=1GB/s,nic_effective=1GB/s" -o "$out/probe-$ranks.tsv" ||
            echo "FAILED: probe $ranks: exit $?"
    done
}

# One rank of a run is killed: what the job says, how long it takes to end, what it leaves.
killed() {
    begin=$(date +%s)
    run 4 --model deepseek-v3 --dispatcher nccl-flat --tokens 512 --iterations 100000 --verify 0 \
        -o "$out/killed.csv" >"$out/killed.log" 2>&1 &
    job=$!
    sleep 25
    victim=$(pgrep -n -x "$(basename "$real")")
    kill -9 "$victim"
    struck=$(date +%s)
    wait "$job"
    echo "killed: exit $?, $(($(date +%s) - struck)) s after the kill ($((struck - begin)) s in)" >>"$out/killed.log"
    [ -e "$out/killed.csv" ] && echo "killed: left an output behind" >>"$out/killed.log"
    cat "$out/killed.log"
}

points() {
    for ranks in 4 8; do
        for dispatcher in $dispatchers; do
            run "$ranks" --model deepseek-v3 --dispatcher "$dispatcher" \
                --cluster "2x$((ranks / 2)):nvlink_effective=1GB/s,nic_effective=1GB/s" --tokens 8,16,32,64,128,256,512 --verify 0 \
                --warmup 2 --iterations 9 --family "shared-h100-$ranks" \
                -o "$out/points-$ranks-$dispatcher.csv" || echo "FAILED: points $ranks $dispatcher: exit $?"
        done
    done
}

for what in "$@"; do
    echo "== $what $(date +%T)"
    case $what in
    verify32) verify 32 "${TOKENS32:-32}" "" ;;
    verify8) verify 8 "${TOKENS8:-64}" "" ;;
    verify32-bf16) bf16; verify 32 "${TOKENS32:-32}" -bf16 ;;
    verify8-bf16) bf16; verify 8 "${TOKENS8:-64}" -bf16 ;;
    points) points ;;
    probe) probe ;;
    killed) killed ;;
    *) echo "gpu_run: $what: unknown; see the head of this file" >&2; exit 2 ;;
    esac
done

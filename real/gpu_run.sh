#!/bin/sh
# Runs epsim-real on one GPU that several ranks share, under the CUDA MPS daemon: checks outputs, then measures.
# usage: real/gpu_run.sh EPSIM_REAL OUT [WHAT...]
# WHAT: verify32 verify8 points. MODEL and DISPATCHERS change what is verified. Results: CSV and JSON files in OUT.
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
        "$real" --transport nccl --share-gpu "$@"
}

model=${MODEL:-deepseek-v3}
dispatchers=${DISPATCHERS:-"nccl-flat nccl-two-stage nccl-agrs deepep-normal deepep-ll ll-slots"}

verify() { # ranks, tokens
    for dispatcher in $dispatchers; do
        run "$1" --model "$model" --dispatcher "$dispatcher" --tokens "$2" --warmup 1 \
            --iterations 3 --json -o "$out/verify-$1-$dispatcher.json" ||
            echo "FAILED: verify $1 $dispatcher: exit $?"
    done
}

points() {
    for ranks in 4 8; do
        for dispatcher in $dispatchers; do
            run "$ranks" --model deepseek-v3 --dispatcher "$dispatcher" \
                --cluster "2x$((ranks / 2)):nvlink=1GB/s,nic=1GB/s" --tokens 8,16,32,64,128,256,512 --verify 0 \
                --warmup 2 --iterations 9 --family "shared-h100-$ranks" \
                -o "$out/points-$ranks-$dispatcher.csv" || echo "FAILED: points $ranks $dispatcher: exit $?"
        done
    done
}

for what in "$@"; do
    echo "== $what $(date +%T)"
    case $what in
    verify32) verify 32 "${TOKENS32:-32}" ;;
    verify8) verify 8 "${TOKENS8:-64}" ;;
    points) points ;;
    *) echo "gpu_run: $what: expected verify32, verify8 or points" >&2; exit 2 ;;
    esac
done

#!/bin/sh
# Predicts what MPI ranks on this machine take: measures, fits the machine's figures to half of the points (ranks,
# dispatcher, tokens), predicts the other half, and prints predicted against measured by phase. The ranks yield when
# idle. Nothing else should run meanwhile.
# usage: real/validate.sh [EPSIM] [EPSIM_REAL] [FOLDER]
# RANKS, TOKENS, DISPATCHERS and REPEATS change what is measured. Exit 1: the median error of phases of 5 ms and more is
# over 15 %.
set -eu
epsim=${1:-./epsim}
real=${2:-./epsim-real}
out=${3:-validate}
here=$(dirname "$0")
repeats=${REPEATS:-3}
mkdir -p "$out"
rm -f "$out"/rows-*.csv "$out/judged.txt" "$out/all.txt" # of an earlier run
OMPI_ALLOW_RUN_AS_ROOT=1
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM

run() { # ranks, arguments
    ranks=$1
    shift
    mpirun -q --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl self,vader -n "$ranks" "$real" "$@"
}

shape() { # ranks
    if [ "$1" -lt 4 ]; then echo "1x$1:nvlink_effective=1GB/s"; else echo "2x$(($1 / 2)):nvlink_effective=1GB/s,nic_effective=1GB/s"; fi
}

measure() { # repeat
    for ranks in ${RANKS:-2 4 8}; do
        for dispatcher in ${DISPATCHERS:-nccl-flat nccl-two-stage nccl-agrs}; do
            run "$ranks" --transport mpi --model "$here/validate/model.yaml" --cluster "$(shape "$ranks")" \
                --dispatcher "$dispatcher" --tokens "${TOKENS:-64,128,256,512,1024}" --verify 0 --warmup 1 \
                --iterations 5 --family "host-$ranks-$dispatcher" -q -o "$out/rows-$1-$ranks-$dispatcher.csv"
        done
    done
}

echo "probe: what the machine is" >&2
run 2 probe --transport mpi --cluster 1x2:nvlink_effective=1GB/s -o "$out/probe.tsv"
repeat=1
while [ "$repeat" -le "$repeats" ]; do
    echo "measuring, $repeat of $repeats" >&2
    measure "$repeat"
    repeat=$((repeat + 1))
done
sh "$here/median.sh" "$out"/rows-*.csv >"$out/measured.csv"

mkdir -p "$out/start/clusters"
sed "s/CORES/$(getconf _NPROCESSORS_ONLN)/" "$here/validate/host.yaml" >"$out/start/clusters/host.yaml"
"$epsim" calibrate "$out/measured.csv" --only 1/2 --from-us 2000 --model "$here/validate/model.yaml" --cluster host \
    --presets "$out/start" --fit "$here/validate/fit.yaml" --write "$out/fitted" -q -o "$out/fit.txt" || [ $? -eq 1 ]

judge() { # arguments
    "$epsim" accuracy "$out/measured.csv" --except 1/2 --model "$here/validate/model.yaml" --cluster host \
        --presets "$out/fitted" --engine estimate,simulate -q "$@"
}

judge --tsv accuracy-rows -o "$out/predicted.tsv"
grep -v '^# skipped:' "$out/fit.txt"
echo
echo "Unseen half, all phases:"
judge --by phase,stage -o "$out/all.txt"
grep -v '^#' "$out/all.txt"
echo
echo "Unseen half, phases and stages of 5 ms and more:"
code=0
judge --by phase,stage --from-us 5000 --median-pct 15 -o "$out/judged.txt" || code=$?
[ ! -e "$out/judged.txt" ] || grep -v '^# skipped:' "$out/judged.txt"
exit $code

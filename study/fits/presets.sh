#!/bin/sh
# Fits the constants of clusters and dispatchers to published rows, one file of this folder after the other, and puts what
# they find into model/presets.
# usage: sh study/fits/presets.sh EPSIM MEASURED.csv...
set -eu
epsim=$1
shift
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for fit in deepep-ll deepep-normal nccl-alltoall trtllm others; do
    echo "fitting $here/$fit.yaml" >&2
    "$epsim" calibrate "$@" "$here/../measured/nccl-tests.csv" --fit "$here/$fit.yaml" --presets "$work" --write "$work" --between -q \
        -o "$work/found.txt" || [ $? -eq 1 ] # 1: rows do not tell all of them
    grep -v '^# skipped:' "$work/found.txt"
done
cp "$work"/clusters/*.yaml model/presets/clusters/
cp "$work"/dispatchers/*.yaml model/presets/dispatchers/
mkdir -p model/presets/fits
cp "$work"/fits/*.yaml model/presets/fits/
mkdir -p model/presets/rows
cp "$work"/rows/*.yaml model/presets/rows/

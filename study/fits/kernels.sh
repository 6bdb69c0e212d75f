#!/bin/sh
# Fits the constants of compute kernels to measured kernel times, one file of this folder after the other, into a folder
# as --presets reads it. Some minutes.
# usage: sh study/fits/kernels.sh EPSIM KERNELS.csv FOLDER [--except K/N]
set -eu
epsim=$1
rows=$2
into=$3
shift 3
here=$(dirname "$0")
mkdir -p "$into"
for fit in gemm all-reduce experts mla-decode mla-engines mla-prefill gqa; do
    echo "fitting $here/kernels-$fit.yaml" >&2
    "$epsim" calibrate "$rows" --fit "$here/kernels-$fit.yaml" --presets "$into" --write "$into" -q "$@" ||
        [ $? -eq 1 ] # rows do not tell all of them
done

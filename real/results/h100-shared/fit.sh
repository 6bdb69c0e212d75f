#!/bin/sh
# Fits the points of one shared H100 on a third of them and judges the rest: fitted/ and accuracy.tsv. Whole phases alone:
# NCCL's streams share one GPU, so where one stage ends says little.
# usage: sh real/results/h100-shared/fit.sh [EPSIM]
set -eu
epsim=${1:-./epsim}
at=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -vE ',epsim-real,(inter|intra),' "$at/points.csv" >"$work/phases.csv"
"$epsim" calibrate "$work/phases.csv" --only 1/3 --model "$at/model.yaml" --cluster shared-h100 --presets "$at/presets" \
    --fit "$at/fit.yaml" --write "$work/fitted" --quiet -o "$work/fit.txt"
grep -v '^# skipped:' "$work/fit.txt"
sed -i "s|$work|$at|" "$work"/fitted/*/*.yaml
cp -r "$work/fitted" "$at/"
"$epsim" accuracy "$work/phases.csv" --except 1/3 --model "$at/model.yaml" --cluster shared-h100 --presets "$at/fitted" \
    --engine estimate,simulate --quiet --tsv accuracy -o "$work/accuracy.tsv"
grep -v '^# skipped:' "$work/accuracy.tsv" | sed "s|$work|$at|" >"$at/accuracy.tsv"
grep '^# .*rows, ' "$at/accuracy.tsv"

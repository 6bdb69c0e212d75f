#!/bin/sh
# Fits a folder's points on one part of them and judges the rest: fitted/ and accuracy.tsv. Whole phases alone: where a
# stage of a GPU's streams ends says little.
# usage: sh real/results/fit.sh FOLDER PART EPSIM [FLAGS of both]   (PART as 1/2; model and clusters are the folder's)
# POINTS: the files of points, FOLDER/points.csv unless it says otherwise.
set -eu
at=$1
part=$2
epsim=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in ${POINTS:-"$at/points.csv"}; do
    grep -vE ',epsim-real,(inter|intra),' "$file" >"$work/$(basename "$(dirname "$file")")-$(basename "$file")"
done
"$epsim" calibrate "$work"/*.csv --only "$part" --presets "$at/presets" --fit "$at/fit.yaml" \
    --write "$work/fitted" --quiet -o "$work/fit.txt" "$@" || [ $? -eq 1 ] # rows do not tell all constants
grep -v '^# skipped:' "$work/fit.txt"
rm -rf "$at/fitted"
cp -r "$work/fitted" "$at/"
"$epsim" accuracy "$work"/*.csv --except "$part" --presets "$at/fitted" --engine estimate,simulate --quiet \
    --by dispatcher,phase,tokens --tsv accuracy -o "$work/accuracy.tsv" "$@"
grep -v '^# skipped:' "$work/accuracy.tsv" | sed "s|$work|$at|g" >"$at/accuracy.tsv"
grep '^# .*rows, ' "$at/accuracy.tsv"

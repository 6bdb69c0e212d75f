#!/bin/sh
# Fits the points of one shared H100 on a third of them and judges the rest: fitted/ and accuracy.tsv.
# usage: sh real/results/h100-shared/fit.sh [EPSIM]
set -eu
epsim=${1:-./epsim}
at=$(dirname "$0")
"$epsim" calibrate "$at/points.csv" --only 1/3 --model "$at/model.yaml" --cluster shared-h100 --presets "$at/presets" \
    --fit "$at/fit.yaml" --write "$at/fitted" --quiet | grep -v '^# skipped:'
"$epsim" accuracy "$at/points.csv" --except 1/3 --model "$at/model.yaml" --cluster shared-h100 --presets "$at/fitted" \
    --engine estimate,simulate --quiet --tsv accuracy | grep -v '^# skipped:' >"$at/accuracy.tsv"
grep '^# .*rows, ' "$at/accuracy.tsv"

#!/bin/sh
# Half of the layers in CUDA graphs on one H200, and the other half.
# usage: sh real/results/graphs/fit.sh [EPSIM]
at=$(dirname "$0")
POINTS=$at/../h200-x1/graph.csv
export POINTS
exec sh "$at/../fit.sh" "$at" 1/2 "${1:-./epsim}"

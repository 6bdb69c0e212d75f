#!/bin/sh
# Half of the points of four H100, two H200 and four H200, and the other half.
# usage: sh real/results/hopper/fit.sh [EPSIM]
at=$(dirname "$0")
POINTS="$at/../h100-x4/points.csv $at/../h200-x2/points.csv $at/../h200-x2/ep.csv $at/../h200-x4/points.csv $at/../h200-x4/ep.csv"
export POINTS
exec sh "$at/../fit.sh" "$at" 1/2 "${1:-./epsim}"

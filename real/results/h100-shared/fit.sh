#!/bin/sh
# A third of the points of one shared H100, and the rest. usage: sh real/results/h100-shared/fit.sh [EPSIM]
at=$(dirname "$0")
exec sh "$at/../fit.sh" "$at" 1/3 "${1:-./epsim}" --model "$at/model.yaml" --cluster shared-h100

#!/bin/sh
# Half of the points of four H100, and the other half. usage: sh real/results/h100-x4/fit.sh [EPSIM]
at=$(dirname "$0")
exec sh "$at/../fit.sh" "$at" 1/2 "${1:-./epsim}" --model "$at/../models/deepseek-v3-fp8.yaml"

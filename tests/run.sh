#!/bin/sh
# Runs the Check suites of one build folder and adds up what they say.
# usage: tests/run.sh BUILD SUITE...
set -u
EPSIM=$1/epsim
export EPSIM
shift
failed=0
for suite in "$@"; do
    "$suite" || failed=$((failed + 1))
done
[ "$failed" -eq 0 ] || { echo "$failed suites failed" >&2; exit 1; }

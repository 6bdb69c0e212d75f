#!/bin/sh
# Runs the Check suites of one build folder, some at a time; what a suite says stands together, and in SUITE.log.
# usage: tests/run.sh JOBS BUILD SUITE...
set -u
jobs=$1
EPSIM=$2/epsim
# Timeouts are for suites that hang, not for machines that are busy.
CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-$((5 * jobs))}
export EPSIM CK_TIMEOUT_MULTIPLIER
shift 2
# shellcheck disable=SC2016 # the inner shell's
printf '%s\n' "$@" | xargs -P "$jobs" -I SUITE sh -c '
    "$0" >"$0.log" 2>&1
    code=$?
    cat "$0.log"
    [ $code -eq 0 ] || echo "run.sh: FAILED $0" >&2
    exit $code' SUITE

#!/bin/sh
# Golden command-line runs. Each tests/golden/NAME.cmd holds one command line, which sh runs in the
# project's root with $EPSIM set; beside it stand what it must print:
#   NAME.out   standard output (absent: nothing)
#   NAME.err   standard error (absent: nothing)
#   NAME.exit  exit code (absent: 0)
# The version is masked. usage: tests/golden.sh EPSIM [NAME...]; UPDATE=1 rewrites what is expected.
set -u
[ $# -ge 1 ] || { echo "usage: tests/golden.sh EPSIM [NAME...]" >&2; exit 2; }
EPSIM=$(realpath "$1") || exit 2
shift
cd "$(dirname "$0")/.." || exit 2
LC_ALL=C
export EPSIM LC_ALL
folder=tests/golden
got=$(mktemp -d)
trap 'rm -rf "$got"' EXIT
trap 'exit 130' INT TERM HUP

mask() {
    sed -e 's/^# epsim: .*/# epsim: VERSION/' -e 's/"version": "[^"]*"/"version": "VERSION"/' \
        -e 's/^epsim [^ ]*$/epsim VERSION/' "$1"
}

run_case() {
    sh "$folder/$1.cmd" >"$got/stdout" 2>"$got/err" </dev/null
    echo $? >"$got/exit"
    mask "$got/stdout" >"$got/out"
}

# Keeps a file only where it says something other than the default.
update_part() {
    if cmp -s "$got/$2" "$3"; then rm -f "$folder/$1.$2"; else cp "$got/$2" "$folder/$1.$2"; fi
}

check_part() {
    expected=$folder/$1.$2
    [ -f "$expected" ] || expected=$3
    diff -u --label "expected $1.$2" --label "got $1.$2" "$expected" "$got/$2"
}

: >"$got/nothing"
echo 0 >"$got/zero"
[ $# -gt 0 ] || set -- "$folder"/*.cmd
passed=0
failed=0
for case in "$@"; do
    name=$(basename "$case" .cmd)
    run_case "$name"
    if [ "${UPDATE:-0}" = 1 ]; then
        update_part "$name" out "$got/nothing"
        update_part "$name" err "$got/nothing"
        update_part "$name" exit "$got/zero"
    fi
    good=1
    check_part "$name" out "$got/nothing" || good=0
    check_part "$name" err "$got/nothing" || good=0
    check_part "$name" exit "$got/zero" || good=0
    if [ $good -eq 1 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "golden: FAILED $name: $(cat "$folder/$name.cmd")"
    fi
done
echo "golden: $passed passed, $failed failed"
[ "$failed" -eq 0 ]

#!/bin/sh
# What one prediction costs, in instructions: EP32 prefill (4096 tokens) and decode (128) by both engines, of two builds
# under callgrind, one thread. A developer's tool, outside make test; about a minute. Needs valgrind.
# usage: tests/instructions.sh OLD NEW; exit 1 where new takes over 3 % more than old
set -eu
[ $# -eq 2 ] || { echo "usage: tests/instructions.sh OLD NEW" >&2; exit 2; }
command -v valgrind >/dev/null 2>&1 || { echo "instructions: no valgrind" >&2; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

count() { # program, command, tokens: instructions executed
    OMP_NUM_THREADS=1 LC_ALL=C valgrind --tool=callgrind --callgrind-out-file="$work/profile" \
        "$1" "$2" --ep 32 --tokens "$3" -q >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 4; }
    sed -n 's/^totals: //p' "$work/profile"
}

failed=0
printf '%-22s %14s %14s %8s\n' "EP32" "old" "new" "new/old"
for tokens in 4096 128; do
    for command in simulate estimate; do
        old=$(count "$1" $command $tokens)
        new=$(count "$2" $command $tokens)
        printf '%-22s %14s %14s ' "$command, $tokens tokens" "$old" "$new"
        awk -v old="$old" -v new="$new" 'BEGIN { printf "%8.4f\n", new / old; exit new / old > 1.03 }' || failed=1
    done
done
exit $failed

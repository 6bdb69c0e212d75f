#!/bin/sh
# Runs the fuzz targets of a build folder, each for some seconds, from the fixtures as seeds.
# usage: tests/fuzz.sh BUILD SECONDS [TARGET...]; what it found stands in BUILD/found, corpora in
# BUILD/corpus, and the log of a target in BUILD/TARGET.log.
set -u
[ $# -ge 2 ] || { echo "usage: tests/fuzz.sh BUILD SECONDS [TARGET...]" >&2; exit 2; }
build=$1
seconds=$2
shift 2
cd "$(dirname "$0")/.." || exit 2
[ $# -gt 0 ] || set -- npy npz safetensors base64 import yaml layout model rows
data=tests/data/import

# The fixtures that a target understands, and what it once fell over.
seed() {
    case "$1" in
    npy) set -- "$1" tests/data/npy/*.npy $data/*.npy ;;
    npz) set -- "$1" $data/*.npz ;;
    safetensors) set -- "$1" $data/*/*.safetensors ;;
    base64) set -- "$1" $data/*.b64 ;;
    import) set -- "$1" $data/*.* $data/*/*.safetensors ;;
    model) set -- "$1" tests/data/config/*.json ;;
    rows) set -- "$1" tests/data/logs/* tests/data/nccl-tests/* tests/data/measured-*.csv ;;
    yaml) set -- "$1" traces/*/trace.yaml tests/data/layout/*.yaml $data/model.yaml tests/data/config/*.json ;;
    layout) set -- "$1" tests/data/layout/* tests/data/npy/u1.npy ;;
    esac
    target=$1
    shift
    mkdir -p "$build/corpus/$target" "$build/found"
    for file in "$@" tests/fuzz/found/"$target"-*; do
        [ -f "$file" ] && cp "$file" "$build/corpus/$target/$(echo "$file" | tr / _)"
    done
}

failed=0
for target in "$@"; do
    seed "$target"
    log=$build/$target.log
    if "$build/fuzz_$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -max_len=32768 \
        -print_final_stats=1 -artifact_prefix="$build/found/$target-" "$build/corpus/$target" >"$log" 2>&1; then
        echo "fuzz $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions in ${seconds}s, nothing found"
    else
        failed=$((failed + 1))
        echo "fuzz: FAILED $target: see $log and $build/found" >&2
        grep -m 3 -E 'ERROR|SUMMARY|runtime error' "$log" >&2
    fi
done
[ "$failed" -eq 0 ]

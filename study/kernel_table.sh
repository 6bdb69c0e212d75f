#!/bin/sh
# MODEL.md's table of compute kernels, in Markdown, where measured kernel times are at hand: errors by kernel and GPU.
# usage: sh study/kernel_table.sh EPSIM KERNELS.csv [--write|--check]
#   print it; --write: and put it between MODEL.md's two marks; --check: instead, exit 1 where MODEL.md says otherwise
set -eu
epsim=$1
rows=$2
what=${3:-}
if [ ! -f "$rows" ]; then
    echo "kernel times: skipped: no $rows"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$epsim" accuracy "$rows" --engine estimate --by family,gpu --tsv accuracy -q >"$work/errors.tsv"
awk -F'\t' '
function pct(value) { return value < 9.95 ? sprintf("%.1f", value) : sprintf("%.0f", value) }
/^#/ { next }
!header { header = 1; for (i = 1; i <= NF; i++) at[$i] = i; next }
{
    kernel = $at["family"]
    gpu = $at["gpu"]
    if (!(kernel in seen)) order[++kernels] = kernel
    seen[kernel] = 1
    if (!(gpu in column)) { column[gpu] = ++gpus; name[gpus] = gpu }
    cell[kernel, gpu] = pct($at["median_abs_pct"]) ", " pct($at["p90_abs_pct"]) " (" $at["n"] ")"
}
END {
    line = "| kernel |"
    rule = "|---|"
    for (g = 1; g <= gpus; g++) { line = line " " name[g] " |"; rule = rule "---|" }
    print line
    print rule
    for (k = 1; k <= kernels; k++) {
        line = "| " order[k] " |"
        for (g = 1; g <= gpus; g++) line = line " " cell[order[k], name[g]] " |"
        print line
    }
}' "$work/errors.tsv" >"$work/table.md"
sh study/put_table.sh MODEL.md '<!-- kernel_table.sh writes from here -->' "$work/table.md" "$what"

#!/bin/sh
# Compute kernels on rows that were not fitted: constants from two thirds of the kernel times, errors on the third.
# usage: sh tests/kernels.sh EPSIM KERNELS.csv
set -eu
epsim=$1
rows=$2
if [ ! -f "$rows" ]; then
    echo "kernels: skipped: no $rows"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh study/fits/kernels.sh "$epsim" "$rows" "$work/presets" --except 1/3 >"$work/found.txt"
"$epsim" accuracy "$rows" --engine estimate --by family,gpu --tsv accuracy -q --only 1/3 --presets "$work/presets" \
    >"$work/errors.tsv"
"$epsim" accuracy "$rows" --engine estimate --by kernel,gpu,kernels --tsv accuracy -q --only 1/3 \
    --presets "$work/presets" >"$work/kinds.tsv"
# Bounds of the median and the 90th percentile; moe-fused, of many models and sources, is printed alone.
awk -F'\t' '
/^#/ { next }
FNR == 1 || !at["n"] { for (i = 1; i <= NF; i++) at[$i] = i; next }
{
    kernel = $2
    gpu = $3
    median = $at["median_abs_pct"]
    p90 = $at["p90_abs_pct"]
    tight = kernel ~ /^(mla-decode-module|moe-decode)$/
    free = kernel ~ /^moe-fused/
    bad = !free && (median > (tight ? 8 : 12) || p90 > (tight ? 25 : 40))
    printf "%-18s %-6s %5d rows  median %4.1f %%  90th percentile %4.1f %%%s\n", kernel, gpu, $at["n"], median, p90, \
        bad ? "  beyond its bound" : ""
    failed += bad
    groups++
}
END { exit failed > 0 || !groups }' "$work/errors.tsv"
awk -F'\t' '
/^#/ { next }
!header { header = 1; for (i = 1; i <= NF; i++) at[$i] = i; next }
$2 == "gemm-bf16" {
    printf "%-18s %-6s %5d rows  median %4.1f %%  90th percentile %4.1f %%\n", $2, $3, $at["n"], $at["median_abs_pct"], \
        $at["p90_abs_pct"]
    failed += $at["median_abs_pct"] > 8 || $at["p90_abs_pct"] > 25
    groups++
}
END { exit failed > 0 || !groups }' "$work/kinds.tsv"

#!/bin/sh
# What the presets say of rows that a fit has not seen, for the kernels with rows at many sizes. Needs the published rows
# that the project may not ship; says "skipped" without them.
# Fitted on rows of one and two nodes alone (and those of one or two tokens), H800's EP32 and EP64 rows are within 8.1 %
# (8.04 by estimate for EP32's normal dispatch, where constants that few nodes do not tell stay as they were).
# usage: tests/extrapolate.sh EPSIM [MEASURED.csv ...]
set -eu
epsim=$1
shift
. tests/published_rows.sh
failed=0

mkdir "$work/nodes"
awk -F, 'NR == 1 || ($4 ~ /^deepep-(normal|ll)/ && ($5 <= 2 || $10 == 1 || $10 == 2))' "$rows" >"$work/few-nodes.csv"
for file in deepep-ll deepep-normal; do
    # Without what is held beforehand: the presets, about which it is held, were fitted on the many nodes too.
    sed '/^prior:/d' "study/fits/$file.yaml" >"$work/$file.yaml"
    "$epsim" calibrate "$work/few-nodes.csv" --fit "$work/$file.yaml" --presets "$work/nodes" --write "$work/nodes" \
        --between -q >/dev/null || [ $? -eq 1 ] # rows do not tell all constants
done
awk -F, '!/^#/ && (/^id,/ || $5 >= 4)' study/measured/h800-cx7.csv >"$work/many-nodes.csv"
"$epsim" accuracy "$work/many-nodes.csv" --presets "$work/nodes" --engine simulate,estimate --by dispatcher,nodes,phase \
    --tolerance-pct 8.1 -q || failed=1

[ $failed -eq 0 ] && echo "extrapolate: passed"
exit $failed

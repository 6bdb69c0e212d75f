#!/bin/sh
# shellcheck disable=SC2016 # $3 and the like in quotes are awk's
# Rows held out before fitting, each part predicted from all the others: a GPU (GB300), three and more nodes, 12 SMs, NCCL
# of another version than 2.29.2 (of A100 and L40S there is no other: their own constants stand). Fits begin at the shipped
# presets but keep nothing of them (no prior). Needs the published rows that the project may not ship; says "skipped"
# without them. It takes some twenty minutes.
# usage: [PARTS="gpu nodes sms versions"] tests/heldout.sh EPSIM [MEASURED.csv ...]
set -eu
epsim=$1
shift
. tests/published_rows.sh
failed=0

# A part: which rows it holds out (awk), the fits that move what predicts them, by what it is judged, the most that a
# group's median and 90th percentile may be.
part() {
    name=$1 held=$2 fits=$3 by=$4 median=$5 p90=$6
    mkdir "$work/$name"
    awk -F, "NR == 1 || ($held)" "$rows" >"$work/held.csv"
    awk -F, "NR == 1 || !($held)" "$rows" >"$work/rest.csv"
    for fit in $fits; do
        sed '/^prior:/d' "study/fits/$fit.yaml" >"$work/fit.yaml"
        "$epsim" calibrate "$work/rest.csv" --fit "$work/fit.yaml" --presets "$work/$name" --write "$work/$name" \
            --between -q >/dev/null || [ $? -eq 1 ] # rows do not tell all constants
    done
    echo "$name: rows where $held"
    "$epsim" accuracy "$work/held.csv" --presets "$work/$name" --engine estimate,simulate --by "$by" --tsv accuracy -q \
        -o "$work/judged.tsv"
    awk -F'\t' -v median="$median" -v p90="$p90" '
            /^# (estimate|simulate):/ { print "  " substr($0, 3) }
            !/^#/ && !column["n"] { for (i = 1; i <= NF; i++) column[$i] = i; next }
            !/^#/ { bad = $column["n"] >= 4 && ($column["median_abs_pct"] > median || (p90 && $column["p90_abs_pct"] > p90))
                    printf "  %s %s: %d rows, median %.1f %%, 90th percentile %.1f %%%s\n", $1, $2, $column["n"],
                        $column["median_abs_pct"], $column["p90_abs_pct"], bad ? " ABOVE" : ""
                    worst += bad
                    groups++ }
            END { exit worst > 0 || !groups }' "$work/judged.tsv" || failed=1
}

for one in ${PARTS:-gpu nodes sms versions}; do
    case $one in
    gpu) part gpu '$3 ~ /^gb300/' "deepep-ll deepep-normal nccl-alltoall" cluster 6 15 ;;
    nodes) part nodes '$5 >= 3' "deepep-ll deepep-normal nccl-alltoall others" family 10 0 ;;
    sms) part sms '$14 == 12' deepep-normal dispatcher 6 15 ;;
    versions) part versions '$17 ~ "(NCCL |nccl/)2[.]" && $17 !~ /2\.29\.2/' nccl-alltoall dispatcher 6 15 ;;
    *) echo "heldout: $one: no such part" >&2 && exit 2 ;;
    esac
done

[ $failed -eq 0 ] && echo "heldout: passed"
exit $failed

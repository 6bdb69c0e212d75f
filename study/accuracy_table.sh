#!/bin/sh
# README's accuracy tables, in Markdown, from the published rows in the tree.
# usage: sh study/accuracy_table.sh EPSIM [--write|--check]
#   print them; --write: and put them between README's two marks; --check: instead, exit 1 where README says otherwise
set -eu
epsim=$1
what=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk '/^#/ { next } FNR != NR && /^id,/ { next } { print }' study/measured/*.csv >"$work/rows.csv"
judge() {
    "$epsim" accuracy "$work/rows.csv" --engine simulate,estimate,naive --tsv accuracy -q "$@"
}
judge --by family,cluster,dispatcher >"$work/pairs.tsv"
judge --each nodes,phase,tokens,sms >"$work/each.tsv"

# Cells of one group under their engines; groups in order of first appearance. `keys` is how many columns name one.
cat >"$work/pivot.awk" <<'AWK'
function pct(value) { return value < 9.95 ? sprintf("%.1f", value) : sprintf("%.0f", value) }
function both(engine, key) { return pct(median[engine, key]) ", " pct(worst[engine, key]) }
/^# [a-z]+: [0-9]+ rows,/ {
    count = split($0, word, " ")
    engine = substr(word[2], 1, length(word[2]) - 1)
    rows_of_all = word[3]
    for (i = 1; i < count; i++) {
        if (word[i] == "median") all_median[engine] = word[i + 1] + 0
        if (word[i] == "percentile") all_p90[engine] = word[i + 1] + 0
    }
    next
}
/^#/ { next }
!header { header = 1; for (i = 1; i <= NF; i++) at[$i] = i; next }
{
    key = $2
    for (i = 3; i <= 1 + keys; i++) key = key " | " ($i == "" ? "default" : $i)
    if (!(key in n)) order[++groups] = key
    n[key] = $at["n"]
    median[$1, key] = $at["median_abs_pct"]
    worst[$1, key] = $at["worst_abs_pct"]
    if ($1 == "estimate") { own[key] = $at["own_parameters"]; says[key] = $at["verdict"] }
}
AWK

cat >"$work/pairs.awk" <<'AWK'
END {
    print "| family | cluster | dispatcher | rows | simulate: median, worst | estimate: median, worst | naive: median | effective parameters | says |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (g = 1; g <= groups; g++) {
        key = order[g]
        printf "| %s | %d | %s | %s | %s | %.1f for %d rows | %s |\n", key, n[key], both("simulate", key), both("estimate", key), \
            pct(median["naive", key]), own[key], n[key], says[key]
    }
    printf "\nAll %d rows: simulate median %s %%, 90th percentile %s %%; estimate %s and %s; naive %s and %s.\n", rows_of_all, \
        pct(all_median["simulate"]), pct(all_p90["simulate"]), pct(all_median["estimate"]), pct(all_p90["estimate"]), \
        pct(all_median["naive"]), pct(all_p90["naive"])
}
AWK

cat >"$work/each.awk" <<'AWK'
END {
    for (g = 1; g <= groups; g++) {
        key = order[g]
        printf "| %s | %d | %s | %s | %s |\n", key, n[key], both("simulate", key), both("estimate", key), pct(median["naive", key])
    }
}
AWK

# Within a column by number, a word last.
ordered() {
    for column in nodes phase tokens sms; do
        grep "^| $column |" "$1" | awk -F' [|] ' '{ print ($2 ~ /^[0-9]/ ? $2 + 0 : 1e9) "\t" $0 }' | sort -s -n -k 1,1 | cut -f 2-
    done
}

{
    awk -F'\t' -v keys=3 -f "$work/pivot.awk" -f "$work/pairs.awk" "$work/pairs.tsv"
    awk -F'\t' -v keys=2 -f "$work/pivot.awk" -f "$work/each.awk" "$work/each.tsv" >"$work/each.md"
    echo
    echo "| by | is | rows | simulate: median, worst | estimate: median, worst | naive: median |"
    echo "|---|---|---|---|---|---|"
    ordered "$work/each.md"
} >"$work/tables.md"

sh study/put_table.sh README.md '<!-- make accuracy writes from here -->' "$work/tables.md" "$what"

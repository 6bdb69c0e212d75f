#!/bin/sh
# The median of repeated runs: measured CSVs with the same row ids in, one CSV with the median latency of each id out.
# usage: real/median.sh FILE.csv...
exec awk '
FNR == 1 { if (NR == 1) print; next }
{
    cluster = ""
    line = $0
    if (match(line, /"[^"]*"/)) { # a cluster in one line has commas of its own
        cluster = substr(line, RSTART, RLENGTH)
        line = substr(line, 1, RSTART - 1) "@" substr(line, RSTART + RLENGTH)
    }
    columns = split(line, cell, ",")
    id = cell[1]
    if (!(id in runs)) order[++ids] = id
    us[id, ++runs[id]] = cell[15]
    if (cluster != "") cell[3] = cluster
    cell[columns - 1] = cell[columns] = "" # least and p99 are of one run
    before[id] = cell[1]
    for (i = 2; i < 15; i++) before[id] = before[id] "," cell[i]
    after[id] = ""
    for (i = 16; i <= columns; i++) after[id] = after[id] "," cell[i]
}
function median(id,    n, i, j, swap) {
    n = runs[id]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && us[id, j] + 0 < us[id, j - 1] + 0; j--) {
            swap = us[id, j]
            us[id, j] = us[id, j - 1]
            us[id, j - 1] = swap
        }
    return n % 2 ? us[id, (n + 1) / 2] : (us[id, n / 2] + us[id, n / 2 + 1]) / 2
}
END { for (i = 1; i <= ids; i++) print before[order[i]] "," median(order[i]) after[order[i]] }
' "$@"

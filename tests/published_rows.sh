# shellcheck shell=sh
# Read by tests over the published rows that the project may not ship: "$@" are files of rows. Leaves a folder $work,
# removed at the end, and all rows in one file $rows; says "skipped" and ends the test where there are none.
[ $# -gt 0 ] || set -- ../shared/data/measured.csv ../shared/data/added.csv
for file in "$@"; do
    if [ ! -r "$file" ]; then
        echo "$(basename "$0" .sh): skipped: no $file"
        exit 0
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rows=$work/rows.csv
awk 'NR == 1 || (FNR > 1 && !/^#/)' "$@" >"$rows"

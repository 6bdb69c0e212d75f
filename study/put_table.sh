#!/bin/sh
# Puts tables in Markdown between two marks of a page, or says whether they stand there.
# usage: sh study/put_table.sh PAGE BEGIN TABLES.md [--write|--check]
#   BEGIN: the line above them; `<!-- to here -->` is the line below. Nothing: print them; --write: and put them there;
#   --check: instead, exit 1 where the page has others
set -eu
page=$1
begin=$2
tables=$3
what=${4:-}
end='<!-- to here -->'
new=$(mktemp)
trap 'rm -f "$new"' EXIT
if [ -n "$what" ] && [ "$(grep -c -x -F -e "$begin" "$page")" -ne 1 ]; then
    echo "$page: expected one line '$begin'" >&2
    exit 2
fi
awk -v begin="$begin" -v end="$end" -v tables="$tables" '
    inside && $0 == end { inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; while ((getline line < tables) > 0) print line }
    END { exit inside }' "$page" >"$new" || {
    echo "$page: expected a line '$end' below '$begin'" >&2
    exit 2
}
case $what in
--write)
    cat "$tables"
    cmp -s "$new" "$page" || cp "$new" "$page"
    ;;
--check)
    diff -u "$page" "$new" || {
        echo "$page: its tables are not what epsim says now: make accuracy" >&2
        exit 1
    }
    ;;
*) cat "$tables" ;;
esac

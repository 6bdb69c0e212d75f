#!/bin/sh
# House rules that a program can check, over every file that git has or would take. Prints `file:line: what`; exit 1 when
# anything was printed. Needs awk and grep alone.
#   arrows      a room includes only rooms that it may
#   circles     no circle of includes between modules (x.c, x.h and x.cu of one folder are one module)
#   functions   of 60 lines at most
#   files       of 500 lines at most, those of tests/ of 800
#   names       no function name in two source files, static or not; tests/ and main aside
#   outside     no path outside the project, but in tests/ and the Makefile
#   costs       no code names a cost model but its folder, the dispatcher's default and tests; and no schedule, nor what
#               it is made of, includes engines
#   modules     base at most 18; model, sim, scenario and each folder of theirs at most 15
# usage: tests/guards.sh [-C FOLDER] [GUARD...]
# shellcheck disable=SC2016 # $1 and the like in quotes are awk's
set -u
LC_ALL=C
export LC_ALL
tools=$(cd "$(dirname "$0")" && pwd) || exit 2

FUNCTION_LINES=60
FILE_LINES=500
TEST_LINES=800

# A room, and those that it may include beside itself.
ARROWS='
cli       plots study sim scenario traces model base
plots     sim scenario traces model base
study     sim scenario traces model base
real      scenario traces model base
sim       traces model base
scenario  traces model base
traces    model base
model     base
base
'

# A folder, and the modules that it and each folder in it may have.
MODULES='
base      18
model     15
sim       15
scenario  15
'
export ARROWS MODULES

files() { # pattern...
    if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ]; then
        git ls-files -co --exclude-standard -- "$@"
    else
        for pattern in "$@"; do find . -name "$pattern" -type f ! -path './build/*' ! -path './.git/*'; done | sed 's|^\./||'
    fi | sort -u | while IFS= read -r file; do [ -f "$file" ] && echo "$file"; done
}

code() {
    files '*.c' '*.h' '*.cu' '*.cuh'
}

# The files on standard input as arguments. Names of the project's files have no blanks.
over() {
    xargs "$@" /dev/null
}

arrows() {
    code | over awk '
        BEGIN {
            lines = split(ENVIRON["ARROWS"], line, "\n")
            for (i = 1; i <= lines; i++) {
                words = split(line[i], word, " ")
                if (words)
                    rooms[word[1]] = allowed[word[1], word[1]] = 1
                for (w = 2; w <= words; w++)
                    allowed[word[1], word[w]] = 1
            }
        }
        FNR == 1 {
            split(FILENAME, part, "/")
            from = part[1]
        }
        from == "tests" || !/^[ \t]*#[ \t]*include[ \t]*"/ { next }
        {
            split($0, quoted, "\"")
            deep = split(quoted[2], part, "/")
            to = part[1]
            if (deep < 2 || quoted[2] ~ /\.\./)
                what = "expected a path from the root, as \"base/error.h\""
            else if (!(from in rooms))
                what = from "/ is no room: tests/guards.sh knows none of that name"
            else if (!((from, to) in allowed))
                what = from "/ may not include " to "/"
            else
                next
            printf "%s:%d: %s: %s\n", FILENAME, FNR, quoted[2], what
        }'
}

circles() {
    code | over awk -f "$tools/circles.awk"
}

functions() {
    code | over awk -f "$tools/functions.awk" | awk -F '\t' -v most=$FUNCTION_LINES '
        $4 > most { printf "%s:%d: %s has %d lines: expected %d at most\n", $1, $2, $3, $4, most }'
}

lines() {
    files '*.c' '*.h' '*.cu' '*.cuh' '*.sh' '*.awk' '*.py' '*.gp' | over awk -v most=$FILE_LINES -v tests=$TEST_LINES '
        function judge() {
            limit = file ~ /^tests\// ? tests : most
            if (count > limit)
                printf "%s:%d: the file has %d lines: expected %d at most\n", file, limit + 1, count, limit
        }
        FNR == 1 {
            judge()
            file = FILENAME
        }
        { count = FNR }
        END { judge() }'
}

names() {
    code | grep -v '^tests/' | over awk -f "$tools/functions.awk" | awk -F '\t' '
        $3 == "main" || ($3, $1) in seen { next }
        {
            seen[$3, $1] = 1
            here = $1 ":" $2
            if ($3 in first)
                printf "%s: %s: also in %s\n", here, $3, first[$3]
            else
                first[$3] = here
        }'
}

outside() {
    files '*' | grep -v -e '^tests/' -e '^Makefile$' | over grep -nIF '../shared' | sed 's/^\([^:]*:[0-9]*\):.*/\1: a path outside the project/'
}

costs() {
    models=$(code | grep '^model/costs/' | over grep -hoE '^const struct cost_model cost_[a-z0-9_]+' | awk '{ print $4 }')
    for model in $models; do
        code | grep -v -e '^model/costs/' -e '^model/dispatcher\.c$' -e '^tests/' | over grep -nw "$model" |
            sed "s|^\\([^:]*:[0-9]*\\):.*|\\1: $model: named outside model/costs/|"
    done
    code | grep '^model/[^/]*$' | over grep -n '#include "model/engine/' |
        sed 's|^\([^:]*:[0-9]*\):#include "\(.*\)"|\1: \2: engines read schedules, and not the other way|'
}

modules() {
    code | awk '
        BEGIN {
            lines = split(ENVIRON["MODULES"], line, "\n")
            for (i = 1; i <= lines; i++)
                if (split(line[i], word, " "))
                    limit[word[1]] = word[2]
        }
        {
            room = folder = module = $0
            sub(/\/.*/, "", room)
            sub(/\/[^\/]*$/, "", folder)
            sub(/\.[a-z]*$/, "", module)
            if (!(room in limit) || module in seen)
                next
            seen[module] = 1
            if (!count[folder]++)
                folders[++n] = folder
        }
        END {
            for (i = 1; i <= n; i++) {
                room = folders[i]
                sub(/\/.*/, "", room)
                if (count[folders[i]] > limit[room])
                    printf "%s:1: %d modules: expected %d at most\n", folders[i], count[folders[i]], limit[room]
            }
        }'
}

if [ "${1:-}" = -C ]; then
    cd "$2" || exit 2
    shift 2
fi
[ $# -gt 0 ] || set -- arrows circles functions files names outside costs modules
found=$(mktemp)
trap 'rm -f "$found"' EXIT
for guard in "$@"; do
    case $guard in
    arrows | circles | functions | names | outside | costs | modules) $guard ;;
    files) lines ;;
    *) echo "guards: no guard '$guard'" >&2; exit 2 ;;
    esac
done >"$found"
cat "$found"
[ ! -s "$found" ] || { echo "guards: $(wc -l <"$found") violations" >&2; exit 1; }

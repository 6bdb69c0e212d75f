#!/bin/sh
# Every guard of tests/guards.sh on a tiny tree where it must speak, with the line that it must print, and on one where it
# must not. usage: tests/guards_test.sh
set -u
guards=$(cd "$(dirname "$0")" && pwd)/guards.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
passed=0
failed=0

fresh() {
    rm -rf "$tree"
    mkdir -p "$tree"
}

put() { # file; its text on standard input
    mkdir -p "$(dirname "$tree/$1")"
    cat >"$tree/$1"
}

good() {
    passed=$((passed + 1))
}

bad() { # what
    failed=$((failed + 1))
    echo "guards_test: FAILED: $1"
    sed 's/^/    /' "$work/got"
}

says() { # guard, the lines that it must print and no others
    sh "$guards" -C "$tree" "$1" >"$work/got" 2>/dev/null
    code=$?
    printf '%s\n' "$2" >"$work/expected"
    if [ $code -eq 1 ] && cmp -s "$work/got" "$work/expected"; then good; else bad "$1: exit $code, expected: $2"; fi
}

silent() { # guard, or none: all
    sh "$guards" -C "$tree" "$@" >"$work/got" 2>&1
    code=$?
    if [ $code -eq 0 ] && [ ! -s "$work/got" ]; then good; else bad "${1:-all}: exit $code, expected nothing"; fi
}

body() { # lines of a function's body
    yes '    step();' | head -n "$1"
}

function_of() { # signature, lines from it to the closing brace
    printf '%s\n{\n' "$1"
    body $(($2 - 3))
    echo '}'
}

# ---- arrows ------------------------------------------------------------------------------------

fresh
put model/loads.c <<'END'
// Loads.
#include "model/loads.h"

#include "cli/cli.h"
#include "model/costs/cost.h"
#include "base/mem.h"
END
put sim/run.c <<'END'
#include "real/transport.h"
#  include "scenario/scenario.h"
#include "traces/trace.h"
END
put real/run.cu <<'END'
#include "sim/sim.h"
#include "scenario/scenario.h"
#include "kernels.h"
END
put study/study.h <<'END'
#include "plots/plot.h"
#include "scenario/scenario.h"
#include "../base/mem.h"
END
put base/mem.c <<'END'
#include "tests/scratch.h"
#include <model/model.h>
// #include "model/model.h"
END
put attic/old.c <<'END'
#include "base/mem.h"
END
put tests/test_all.c <<'END'
#include "cli/cli.h"
#include "real/transport.h"
END
says arrows 'attic/old.c:1: base/mem.h: attic/ is no room: tests/guards.sh knows none of that name
base/mem.c:1: tests/scratch.h: base/ may not include tests/
model/loads.c:4: cli/cli.h: model/ may not include cli/
real/run.cu:1: sim/sim.h: real/ may not include sim/
real/run.cu:3: kernels.h: expected a path from the root, as "base/error.h"
sim/run.c:1: real/transport.h: sim/ may not include real/
sim/run.c:2: scenario/scenario.h: sim/ may not include scenario/
study/study.h:1: plots/plot.h: study/ may not include plots/
study/study.h:3: ../base/mem.h: expected a path from the root, as "base/error.h"'

fresh
for line in 'cli plots study sim scenario traces model base' 'plots model base' 'study sim scenario traces model base' \
    'real scenario traces model base' 'sim model base' 'scenario traces model base' 'traces model base' 'model base' base; do
    room=${line%% *}
    for other in $line; do echo "#include \"$other/other.h\""; done | put "$room/$room.c"
done
silent arrows

# ---- circles -----------------------------------------------------------------------------------

fresh
put model/a.h <<'END'
#include "model/b.h"
END
put model/b.c <<'END'
#include "model/b.h"
#include "model/costs/c.h"
END
put model/costs/c.cu <<'END'

#include "model/a.h"
END
put sim/x.c <<'END'
#include "sim/y.h"
#include "model/a.h"
END
put sim/y.c <<'END'
#include "sim/x.h"
END
says circles 'model/a.h:1: circle: model/a -> model/b (model/a.h:1) -> model/costs/c (model/b.c:2) -> model/a (model/costs/c.cu:2)
sim/x.c:1: circle: sim/x -> sim/y (sim/x.c:1) -> sim/x (sim/y.c:1)'

fresh
put model/a.c <<'END'
#include "model/a.h"
#include "model/b.h"
#include "model/c.h"
END
put model/b.h <<'END'
#include "model/c.h"
END
put sim/b.c <<'END'
#include "model/a.h"
END
silent circles

# ---- functions ---------------------------------------------------------------------------------

fresh
{
    echo '#include "base/mem.h"'
    function_of 'static bool short_enough(int a)' 60
    echo
    function_of 'static struct table *too_long(const struct way *way,
                              uint32_t (*pick)(void))' 62
    echo 'static const struct row rows[] = {'
    body 70
    echo '};'
    # shellcheck disable=SC1003 # a macro of 71 lines
    echo '#define BODY() \'
    # shellcheck disable=SC1003
    yes '    step(); \' | head -n 70
    echo
} | put model/long.c
{
    echo 'START_TEST(counts_all)'
    echo '{'
    body 60
    echo '}'
    echo 'END_TEST'
} | put tests/test_long.c
function_of 'static inline int in_header(void)' 61 | put base/long.h
function_of 'template <typename T>
__global__ void __launch_bounds__(256) in_kernel(T *out)' 100 | put real/long.cu
says functions 'base/long.h:1: in_header has 61 lines: expected 60 at most
model/long.c:63: too_long has 63 lines: expected 60 at most
real/long.cu:1: in_kernel has 101 lines: expected 60 at most
tests/test_long.c:1: counts_all has 63 lines: expected 60 at most'

fresh
{
    function_of 'static bool short_enough(int a)' 60
    echo
    function_of 'int main(void)' 60
} | put model/short.c
silent functions

# ---- files -------------------------------------------------------------------------------------

fresh
body 501 | put sim/long.c
body 500 | put sim/short.c
body 801 | put tests/test_long.c
body 800 | put tests/long.py
body 501 | put real/fit.sh
body 501 | put real/results.tsv
says files 'real/fit.sh:501: the file has 501 lines: expected 500 at most
sim/long.c:501: the file has 501 lines: expected 500 at most
tests/test_long.c:801: the file has 801 lines: expected 800 at most'

fresh
body 500 | put sim/short.c
body 800 | put tests/test_short.c
silent files

# ---- names -------------------------------------------------------------------------------------

fresh
function_of 'static void add(struct table *table)' 4 | put base/a.c
{
    function_of 'static void rest(void)' 5
    function_of 'int add(const struct list *list)' 5
} | put model/b.c
echo 'static inline int add(int a) { return a; }' | put traces/c.h
function_of '__device__ static float add(float a)' 4 | put real/d.cu
says names 'model/b.c:6: add: also in base/a.c:1
real/d.cu:1: add: also in base/a.c:1
traces/c.h:1: add: also in base/a.c:1'

fresh
{
    echo 'bool add(int a);'
    echo 'void list_add(int a);'
} | put base/a.h
{
    function_of 'bool add(int a)' 4
    function_of 'int main(void)' 4
} | put base/a.c
{
    function_of 'void list_add(int a)' 4
    function_of 'int main(void)' 4
    echo 'static const int count = add(1);'
} | put model/b.c
function_of 'static void add(void)' 4 | put tests/test_add.c
silent names

# ---- outside -----------------------------------------------------------------------------------

fresh
printf 'name: x\nsource: see ../shared/data\n' | put model/presets/x.yaml
echo 'MEASURED ?= ../shared/data' | put Makefile
echo '../shared' | put tests/refit.sh
says outside 'model/presets/x.yaml:2: a path outside the project'
printf 'name: x\nsource: see shared/data\n' | put model/presets/x.yaml
silent outside

# ---- modules -----------------------------------------------------------------------------------

fill() { # folder, modules
    i=0
    while [ $i -lt "$2" ]; do
        i=$((i + 1))
        echo 'int x;' | put "$1/m$i.c"
        echo 'int x;' | put "$1/m$i.h"
    done
}

fresh
fill base 19
fill model 16
fill model/costs 16
fill scenario 15
fill sim 16
fill traces 40
says modules 'base:1: 19 modules: expected 18 at most
model/costs:1: 16 modules: expected 15 at most
model:1: 16 modules: expected 15 at most
sim:1: 16 modules: expected 15 at most'

fresh
fill base 18
fill model 15
fill model/costs 15
fill sim 15
fill scenario 15
silent modules
silent

# ---- costs -------------------------------------------------------------------------------------

fresh
put model/costs/stream.c <<'END'
const struct cost_model cost_stream = {.name = "stream"};
END
put model/dispatcher.c <<'END'
static const void *usual = &cost_stream;
END
put model/engine/check.c <<'END'
#include "model/engine/check.h"
END
silent costs
put study/reads.c <<'END'
static int is_stream(const struct cost_model *model)
{
    return model == &cost_stream;
}
END
put model/schedule.c <<'END'
#include "model/engine/check.h"
END
says costs 'study/reads.c:3: cost_stream: named outside model/costs/
model/schedule.c:1: model/engine/check.h: engines read schedules, and not the other way'

# What git is to ignore is not looked at; what it would take is.
fresh
(cd "$tree" && git init -q .)
echo '/build/' | put .gitignore
body 501 | put build/gen.c
silent files
body 501 | put sim/new.c
says files 'sim/new.c:501: the file has 501 lines: expected 500 at most'

echo "guards_test: $passed passed, $failed failed"
[ $failed -eq 0 ]

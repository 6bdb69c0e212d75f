# Every function that C or CUDA files define, a line each: file, line, name and lines, separated by tabs. A line is where the
# signature begins; lines go to the closing brace, both included. Reads code as clang-format leaves it: a signature begins at
# column 0, and a body ends with a brace there. Suites' START_TEST(name) is a function, name.
# usage: awk -f tests/functions.awk FILE...

function forget()
{
    signature = ""
}

# The word before the first parenthesis of a signature.
function named(text)
{
    gsub(/__(attribute|launch_bounds)__ *\([^)]*\)+/, "", text)
    sub(/^ *START_TEST\(/, "", text) || sub(/\(.*/, "", text)
    sub(/\).*/, "", text)
    sub(/^.*[^A-Za-z0-9_]/, "", text)
    return text
}

function found(last)
{
    printf "%s\t%d\t%s\t%d\n", FILENAME, first, named(signature), last - first + 1
    forget()
}

FNR == 1 {
    forget()
    inside = macro = comment = 0
}

# Macros and comments are no code.
{
    was_macro = macro
    macro = (/^#/ || macro) && /\\$/
}
was_macro || /^#/ { next }
/^\/\*/ { comment = 1 }
comment {
    if (/\*\//)
        comment = 0
    next
}

inside {
    if (/^}/) {
        inside = 0
        found(FNR)
    }
    next
}

/^(\/\/|extern "C"|namespace|})/ || /^[ \t]*$/ {
    forget()
    next
}

# `{` alone opens the body of what has parentheses; without them it is an initialiser's.
/^\{/ {
    if (signature ~ /\(/)
        inside = 1
    else
        forget()
    next
}

signature == "" && /^[ \t]/ { next }

{
    sub(/[ \t]*\/\/.*/, "")
    if (signature == "")
        first = FNR
    signature = signature " " $0
    head = signature
    sub(/\(.*/, "", head)
}

# An `=` before any parenthesis is an initialiser: nothing up to its end is a function.
head ~ /=/ || signature !~ /\(/ {
    if (/;$/)
        forget()
    next
}

/\) *\{.*\}$/ {
    found(FNR)
    next
}

/\) *\{$/ {
    inside = 1
    next
}

/;$/ { forget() }

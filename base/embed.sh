#!/bin/sh
# Prints a C file that holds the named files as bytes (C17 has no #embed, and string literals are
# limited to 4,095 characters): the table that base/embedded.h describes.
set -eu
echo '#include "base/embedded.h"'
i=0
for file in "$@"; do
    printf 'static const unsigned char bytes_%d[] = {' "$i"
    od -An -v -tu1 "$file" | tr -s ' \n' ',' | sed 's/^,//; s/,$//' | tr -d '\n'
    echo ',0};'
    i=$((i + 1))
done
echo 'const struct embedded embedded_files[] = {'
i=0
for file in "$@"; do
    printf '    {"%s", bytes_%d, sizeof bytes_%d - 1},\n' "$file" "$i" "$i"
    i=$((i + 1))
done
echo '};'
echo 'const size_t embedded_count = sizeof embedded_files / sizeof embedded_files[0];'

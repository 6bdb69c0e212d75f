#!/bin/sh
# The archive for hosts without a package index: real/one_arch.py by its own tests, then real/nccl_ep.sh and
# real/bundle.sh with tiny wheels and a tiny epsim-real. Needs no index, no CUDA and no GPU. usage: tests/bundle.sh
set -u
cd "$(dirname "$0")/.." || exit 2
CC=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
passed=0
failed=0

for tool in python3 readelf xz "$CC"; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "bundle: no $tool: skipped"
        echo "bundle: 0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done

good() {
    passed=$((passed + 1))
}

bad() { # what
    failed=$((failed + 1))
    echo "bundle: FAILED: $1"
    tail -20 "$work/log" | sed 's/^/    /'
}

holds() { # what, command that must succeed
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then good; else bad "$what"; fi
}

lacks() { # what, command that must find nothing
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then bad "$what"; else good; fi
}

# A program whose loader looks for a shared library of this name.
program_needing() { # library's name, program
    echo 'int main(void) { return 0; }' >"$work/main.c"
    $CC -shared -nostdlib -Wl,-soname,"$1" -o "$work/needed.so" -x c /dev/null
    $CC -o "$2" "$work/main.c" -Wl,--no-as-needed "$work/needed.so"
}

# Runs a script of real/, for which the folder $index stands for the package index.
script() { # script, its arguments
    name=$1
    shift
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$index SOURCE_DATE_EPOCH=1700000000 sh "$tree/real/$name.sh" "$@"
}

# Ends with this code and one line that has the words; what was in the folder `out` before is all that is there after.
refuses() { # code, words, script, arguments
    code=$1
    words=$2
    shift 2
    rm -rf "$out"
    mkdir "$out"
    echo before >"$out/x.tar.xz"
    script "$@" >"$work/log" 2>&1
    got=$?
    if [ $got -eq "$code" ] && [ "$(grep -c ': error: ' "$work/log")" -eq 1 ] && grep -q -e "$words" "$work/log" &&
        [ "$(find "$out" -type f)$(cat "$out/x.tar.xz")" = "$out/x.tar.xzbefore" ]; then
        good
    else
        echo "exit $got" >>"$work/log"
        bad "refusal: $*"
    fi
}

holds "one_arch" python3 tests/one_arch_test.py

# The scripts as they are, but for the hashes of the wheels.
tree=$work/tree
out=$work/out
mkdir -p "$tree/traces" "$work/index" "$work/empty"
cp -R real LICENSE "$tree"
cp -R traces/minimoe-256e "$tree/traces"
holds "tiny wheels" python3 -B tests/tiny_wheels.py "$work/index" "$tree/real/nccl_ep.sh"

index=$work/empty
refuses 3 'a package index is needed once' nccl_ep "$out/prefix"
refuses 2 'not made by real/nccl_ep.sh' nccl_ep "$out"
refuses 2 'expected FOLDER' nccl_ep
cp -R "$work/index" "$work/other"
for wheel in "$work/other"/nccl*; do
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "a").writestr("more", "")' "$wheel"
done
index=$work/other
refuses 4 'is not nccl_extensions.* of SHA-256' nccl_ep "$out/prefix"

# Made once; again it needs no index. Another version is made anew.
index=$work/index
holds "the prefix" script nccl_ep "$work/prefix"
index=$work/empty
holds "the prefix as it was" script nccl_ep "$work/prefix"
echo 'NCCL EP 0' >"$work/prefix/VERSIONS"
lacks "an index for another version" script nccl_ep "$work/prefix"
index=$work/index
holds "another version" script nccl_ep "$work/prefix"
holds "its version" grep '^NCCL EP 0\.' "$work/prefix/VERSIONS"
index=$work/empty

program_needing libnccl.so.2 "$work/real"
program_needing libm.so.6 "$work/no-cuda"
program_needing libgsl.so.27 "$work/shared"
refuses 2 'not there: make STATIC=1 real' bundle "$work/nowhere" "$out/x.tar.xz"
refuses 2 'expected a program' bundle "$tree/LICENSE" "$out/x.tar.xz"
refuses 2 'needs libgsl.so.27 of this machine' bundle "$work/shared" "$out/x.tar.xz"
refuses 2 'built without CUDA' bundle "$work/no-cuda" "$out/x.tar.xz"
refuses 2 "'sm_90': expected a number" bundle --arch sm_90 "$work/real" "$out/x.tar.xz"
refuses 2 'expected \[--arch N\]' bundle --archive 90 "$work/real" "$out/x.tar.xz"
refuses 2 'expected \[--arch N\]' bundle "$work/real" "$out/x.zip"
refuses 2 'no code for sm_70: it has code for sm_80 sm_90 sm_100' bundle --arch 70 --nccl-ep "$work/prefix" \
    "$work/real" "$out/x.tar.xz"
refuses 3 'a package index is needed once' bundle --nccl-ep "$out/prefix" "$work/real" "$out/x.tar.xz"

# A disk that takes no more: files of 4 KiB at most stand for it.
full() {
    failed=0
    ulimit -f 8
    trap '' XFSZ
    refuses 4 'is the disk full' bundle --without-nccl-ep "$work/real" "$out/x.tar.xz"
    exit $failed
}
if (full); then good; else failed=$((failed + 1)); fi

# Twice the same bytes, whatever was there before.
for folder in first second; do
    holds "the archive" script bundle --nccl-ep "$work/prefix" --arch 90 "$work/real" \
        "$work/$folder/epsim-real-sm_90.tar.xz"
done
holds "the same bytes" cmp "$work/first/epsim-real-sm_90.tar.xz" "$work/second/epsim-real-sm_90.tar.xz"

# Unpacked elsewhere, moved, and started through a link: what its binary is given, which a script stands for here.
mkdir -p "$work/un packed"
tar -C "$work/un packed" -xf "$work/first/epsim-real-sm_90.tar.xz"
home="$work/un packed/moved"
mv "$work/un packed/epsim-real-sm_90" "$home"
holds "the binary" cmp "$work/real" "$home/bin/epsim-real"
for file in lib/libnccl_ep.so.0 lib/libnccl.so.2 include/nccl.h include/nccl_ep.h include/nccl_ep/device/ll_ep.cuh \
    licences/nccl licences/nccl-ep licences/epsim VERSIONS real/multi_gpu.sh real/results/h100-shared/model.yaml; do
    holds "$file" test -s "$home/$file"
done
for library in "$home"/lib/*; do
    holds "code for sm_90" grep -q ninety00 "$library"
    lacks "code for sm_80" grep eighty00 "$library"
done
lacks "paths of this machine" grep -F "$work" "$home/README" "$home/epsim-real"
cat >"$home/bin/epsim-real" <<'END'
#!/bin/sh
echo "$LD_LIBRARY_PATH|$NCCL_HOME|$NCCL_EP_HOME|$*"
END
ln -s "$home/epsim-real" "$work/link"
got=$(CUDA_HOME=/cuda NCCL_HOME=/older LD_LIBRARY_PATH=/theirs "$work/link" --tokens '1 2')
echo "$got" >"$work/log"
if [ "$got" = "$home/lib:/theirs:/cuda/lib64|$home|$home|--tokens 1 2" ]; then good; else bad "the wrapper"; fi

# Without the libraries, no index.
holds "the smaller archive" script bundle --without-nccl-ep "$work/no-cuda" "$work/small/epsim-real.tar.xz"
tar -tf "$work/small/epsim-real.tar.xz" >"$work/names"
lacks "libraries" grep -E '/(lib|include)/' "$work/names"

echo "bundle: $passed passed, $failed failed"
[ $failed -eq 0 ]

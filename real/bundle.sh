#!/bin/sh
# Packs epsim-real for a GPU host that reaches no package index: the binary, NVIDIA's NCCL EP library and the NCCL that
# it needs (cut down to one GPU architecture), their headers, and the scripts that measure. Open MPI, the CUDA toolkit
# (NCCL EP runs nvcc) and the driver are the host's. nccl_ep.sh gets the libraries from a package index, once.
# usage: real/bundle.sh [--arch 90] [--nccl-ep FOLDER] [--without-nccl-ep] EPSIM_REAL OUT.tar.xz
# EPSIM_REAL: what `make STATIC=1 real` builds. --arch N: for GPUs of sm_N. FOLDER: what nccl_ep.sh made or is to make
# (build/nccl-ep). The same input gives the same bytes, and OUT is written whole or not at all.
# Exit codes: 2 wrong input, 3 a tool or the package index is absent, 4 a step failed.
set -eu
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

# What multi_gpu.sh and gpu_run.sh read, and what a run on such GPUs may take as its presets.
CARRIED="real/multi_gpu.sh real/gpu_run.sh real/srun_nccl.sh real/results/h100-shared/model.yaml
    real/results/h100-shared/presets real/results/hopper/presets real/results/models traces/minimoe-256e"

# Debian's names of the packages whose static libraries epsim-real has in it.
LINKED="libgsl-dev libopenblas-serial-dev libopenblas-pthread-dev libyaml-dev libjansson-dev libcsv-dev"

work=
told=

fail() { # exit code, what is wrong
    told=1
    echo "bundle: error: $2" >&2
    exit "$1"
}

# Tools say by themselves what they could not do; this says what it means.
finish() { # exit code
    [ -z "$work" ] || rm -rf "$work"
    [ "$1" -eq 0 ] || [ -n "$told" ] || {
        echo "bundle: error: not made: $out is as it was (is the disk full?)" >&2
        exit 4
    }
}

usage() {
    fail 2 "expected [--arch N] [--nccl-ep FOLDER] [--without-nccl-ep] EPSIM_REAL OUT.tar.xz"
}

read_arguments() {
    arch=90
    nccl_ep=$root/build/nccl-ep
    while [ $# -gt 0 ]; do
        case $1 in
        --arch) [ $# -gt 1 ] || usage; arch=$2; shift ;;
        --nccl-ep) [ $# -gt 1 ] || usage; nccl_ep=$2; shift ;;
        --without-nccl-ep) nccl_ep= ;;
        -*) usage ;;
        *) break ;;
        esac
        shift
    done
    [ $# -eq 2 ] || usage
    real=$1
    out=$2
    case $arch in '' | *[!0-9]*) fail 2 "--arch: '$arch': expected a number, as 90 for sm_90" ;; esac
    case $out in */.tar.xz | .tar.xz) usage ;; *.tar.xz) ;; *) usage ;; esac
    name=$(basename "$out" .tar.xz)
    into=$(dirname "$out")
}

check_tools() {
    for tool in readelf xz tar python3; do
        command -v $tool >/dev/null || fail 3 "$tool: not found"
    done
    tar --version 2>/dev/null | grep -q GNU || fail 3 "tar: expected GNU tar, which sorts what it packs"
}

# A binary that needs this machine's libraries would not start on another.
check_epsim_real() {
    [ -f "$real" ] || fail 2 "$real: not there: make STATIC=1 real builds it"
    needed=$(readelf -d "$real" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
    [ -n "$needed" ] || fail 2 "$real: expected a program"
    foreign=$(echo "$needed" | grep -E '^lib(gsl|gslcblas|openblas|yaml|jansson|csv)[-.0-9]' | tr '\n' ' ')
    [ -z "$foreign" ] || fail 2 "$real: needs ${foreign% } of this machine: make STATIC=1 real builds one that does not"
    [ -z "$nccl_ep" ] || check_for_nccl_ep
}

check_for_nccl_ep() {
    echo "$needed" | grep -q '^libnccl\.so' ||
        fail 2 "$real: built without CUDA, so NCCL EP is of no use to it: --without-nccl-ep leaves it out"
    grep -q 'libnccl_ep\.so' "$real" ||
        echo "bundle: notice: $real does not load NCCL EP: was $nccl_ep there when it was built?" >&2
}

# What a tool of ours has told by its own line, with its exit code, is not told again.
ours() { # command
    "$@" || {
        code=$?
        told=1
        exit $code
    }
}

one_arch() { # library
    ours python3 "$here/one_arch.py" --arch "$arch" "$nccl_ep/lib/$1" "$work/$name/lib/$1"
}

add_nccl_ep() {
    ours sh "$here/nccl_ep.sh" "$nccl_ep"
    mkdir "$work/$name/lib"
    one_arch libnccl_ep.so.0
    one_arch libnccl.so.2
    cp -R "$nccl_ep/include" "$nccl_ep/licences" "$nccl_ep/VERSIONS" "$work/$name"
}

add_epsim_real() {
    mkdir -p "$work/$name/bin" "$work/$name/licences"
    cp "$real" "$work/$name/bin/epsim-real"
    cp "$here/bundle_wrapper.sh" "$work/$name/epsim-real"
    chmod 755 "$work/$name/bin/epsim-real" "$work/$name/epsim-real"
    for file in $CARRIED; do
        mkdir -p "$work/$name/$(dirname "$file")"
        cp -R "$root/$file" "$work/$name/$file"
    done
    cp "$root/LICENSE" "$work/$name/licences/epsim"
    for package in $LINKED; do
        [ ! -f "/usr/share/doc/$package/copyright" ] ||
            cp "/usr/share/doc/$package/copyright" "$work/$name/licences/$package"
    done
}

version() {
    git -C "$root" describe --always --dirty --tags 2>/dev/null || echo unknown
}

# Libraries that the host must have: all but the C library's own, and NCCL where the bundle brings one.
from_host() {
    brought='^lib[cm]\.so'
    [ -z "$nccl_ep" ] || brought="$brought|^libnccl\.so"
    echo "$needed" | grep -Ev "$brought" | tr '\n' ' ' | sed 's/ $//'
}

describe() {
    echo "epsim-real $(version), built to run on other hosts."
    echo "From the host: the CUDA driver, $(newest_glibc) or newer, $(from_host)"
    [ -z "$nccl_ep" ] || cat <<END
Its NCCL EP and NCCL (VERSIONS) are for GPUs of sm_$arch alone. NCCL EP runs nvcc, which the host must have.
END
    cat <<END

    ./epsim-real --help                      finds its libraries beside itself, wherever it lies
    sh real/multi_gpu.sh ./epsim-real OUT    measures all GPUs of this host
    sbatch -N 4 real/srun_nccl.sh ./epsim-real OUT.csv

Licences of what is inside: licences/.
END
}

newest_glibc() {
    readelf -V "$real" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | sed 's/GLIBC_/glibc /'
}

# The time of every file is the commit's, so that one commit gives one archive.
stamp() {
    [ -n "${SOURCE_DATE_EPOCH:-}" ] || SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null) ||
        SOURCE_DATE_EPOCH=946684800
    echo "$SOURCE_DATE_EPOCH"
}

# xz gives the same bytes for any number of threads but one.
pack() {
    tar --create --file "$work/archive" --use-compress-program 'xz -T2' --format gnu --sort name --mtime "@$(stamp)" \
        --owner 0 --group 0 --numeric-owner --mode u=rwX,go=rX --directory "$work" "$name"
    mv "$work/archive" "$out"
}

trap 'finish $?' EXIT
trap 'told=1; exit 130' INT TERM HUP
read_arguments "$@"
check_tools
check_epsim_real
mkdir -p "$into"
work=$(mktemp -d "$into/bundle.XXXXXX") # beside OUT, which a rename then makes at once
add_epsim_real
[ -z "$nccl_ep" ] || add_nccl_ep
describe >"$work/$name/README"
pack
echo "$out: $(wc -c <"$out") bytes"

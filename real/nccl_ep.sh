#!/bin/sh
# NVIDIA's NCCL EP library and the NCCL that it needs, with their headers and licences, as one prefix: FOLDER/lib,
# FOLDER/include, FOLDER/licences. It serves as NCCL_EP_HOME and as NCCL_HOME. Both come from a package index, by pip.
# usage: real/nccl_ep.sh FOLDER
# Does nothing where FOLDER is that prefix already. Exit codes: 2 wrong input, 3 pip or the package index is absent,
# 4 a step failed; FOLDER is made whole or not at all.
set -eu
LC_ALL=C
export LC_ALL

EP_VERSION=0.1.0
EP_WHEEL=nccl_extensions-$EP_VERSION-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl
EP_SHA256=30d42d0218f46e394a21c5663f09ee9bb8a90caf4d69f0040e5a9eb2fef7b8ad
NCCL_VERSION=2.30.7
NCCL_WHEEL=nvidia_nccl_cu13-$NCCL_VERSION-py3-none-manylinux_2_18_x86_64.whl
NCCL_SHA256=cefa7fdb9710efd0f39c5f1be1d61ff6fc9a996c451265bd7fbdcf9455ed4b50

work=
told=

fail() { # exit code, what is wrong
    told=1
    echo "nccl_ep: error: $2" >&2
    exit "$1"
}

# Tools say by themselves what they could not do; this says what it means.
finish() { # exit code
    [ -z "$work" ] || rm -rf "$work"
    [ "$1" -eq 0 ] || [ -n "$told" ] || {
        echo "nccl_ep: error: $folder: not made (is the disk full?)" >&2
        exit 4
    }
}

versions() {
    echo "NCCL EP $EP_VERSION $EP_SHA256"
    echo "NCCL $NCCL_VERSION $NCCL_SHA256"
}

# The wheel of one platform, whatever Python runs here.
fetch() { # package, version, its wheel's name, the wheel's SHA-256
    echo "nccl_ep: downloading $1 $2" >&2
    said=$(python3 -m pip download -q --no-deps --only-binary=:all: --retries 1 --implementation cp \
        --python-version 3.11 --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_18_x86_64 \
        --dest "$work" "$1==$2" 2>&1) || fetch_failed "$1" "$2" "$said"
    echo "$4  $work/$3" | sha256sum -c --status 2>/dev/null ||
        fail 4 "$1 $2: what was downloaded is not $3 of SHA-256 $4"
    said=$(python3 -m zipfile -e "$work/$3" "$work/wheels" 2>&1) ||
        fail 4 "$3: not unpacked: $(echo "$said" | tail -1)"
    rm "$work/$3"
}

fetch_failed() { # package, version, what pip said
    case $3 in *"No space left"*) fail 4 "$1 $2: not downloaded: the disk is full" ;; esac
    why=$(echo "$3" | grep -v '^WARNING' | tail -1)
    fail 3 "$1 $2: pip got none: a package index is needed once, to make $folder (pip: $why)"
}

# The library's file has the name that loaders look for: its SONAME.
lay_out() {
    mkdir "$work/prefix" "$work/prefix/lib" "$work/prefix/include" "$work/prefix/licences"
    mv "$work/wheels/nccl/ep/lib/cu13/libnccl_ep.so" "$work/prefix/lib/libnccl_ep.so.0"
    mv "$work/wheels/nvidia/nccl/lib/libnccl.so.2" "$work/prefix/lib"
    cp -R "$work/wheels/nccl/ep/include/." "$work/wheels/nvidia/nccl/include/." "$work/prefix/include"
    cp "$work/wheels/nccl_extensions-$EP_VERSION.dist-info/licenses/LICENSE.txt" "$work/prefix/licences/nccl-ep"
    cp "$work/wheels/nvidia_nccl_cu13-$NCCL_VERSION.dist-info/licenses/License.txt" "$work/prefix/licences/nccl"
    versions >"$work/prefix/VERSIONS"
}

trap 'finish $?' EXIT
trap 'told=1; exit 130' INT TERM HUP
[ $# -eq 1 ] || fail 2 "expected FOLDER"
case $1 in '' | -*) fail 2 "'$1': expected FOLDER" ;; esac
folder=${1%/}
command -v python3 >/dev/null || fail 3 "python3: not found"
if [ -e "$folder" ]; then
    [ -f "$folder/VERSIONS" ] || fail 2 "$folder: there, and not made by real/nccl_ep.sh: move it away"
    if versions | cmp -s - "$folder/VERSIONS"; then exit 0; fi
fi
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX") # beside FOLDER, which a rename then makes at once
fetch nccl-extensions $EP_VERSION $EP_WHEEL $EP_SHA256
fetch nvidia-nccl-cu13 $NCCL_VERSION $NCCL_WHEEL $NCCL_SHA256
lay_out
rm -rf "$folder"
mv "$work/prefix" "$folder"

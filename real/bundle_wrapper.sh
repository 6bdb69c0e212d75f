#!/bin/sh
# epsim-real of a bundle that real/bundle.sh made, in whatever folder it was unpacked.
# usage: ./epsim-real ARGUMENTS, as bin/epsim-real takes them
set -eu
home=$(dirname "$(readlink -f "$0")")

# The bundle's NCCL goes before the host's. NCCL EP compiles kernels as it runs, so the headers must be those of the
# libraries that are loaded, whatever a module of the host has set.
if [ -e "$home/lib/libnccl_ep.so.0" ]; then
    LD_LIBRARY_PATH=$home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    NCCL_HOME=$home
    NCCL_EP_HOME=$home
    export NCCL_HOME NCCL_EP_HOME
fi

# cuBLAS and the CUDA runtime are the host's, and often not where the loader looks: nvcc's own come last.
cuda=${CUDA_HOME:-}
if [ -z "$cuda" ] && nvcc=$(command -v nvcc); then
    cuda=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
fi
if [ -n "$cuda" ]; then
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$cuda/lib64
fi
if [ -n "${LD_LIBRARY_PATH:-}" ]; then
    export LD_LIBRARY_PATH
fi
exec "$home/bin/epsim-real" "$@"

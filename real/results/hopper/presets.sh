#!/bin/sh
# Puts what fit.sh found into the built-in dispatchers that NCCL runs: their own starts, the kernels around them (whose
# launches other clusters count otherwise), the share of memory's rate, and what a message of nccl-calls-* costs.
# usage: sh real/results/h100-x4/presets.sh
set -eu
at=$(dirname "$0")
presets=$at/../../../model/presets/dispatchers

value() { # file, key: the number before its unit
    sed -n "s/^$2: {value: \([0-9.e-]*\).*/\1/p" "$1"
}

put() { # preset, key, value, what it is
    line="$2: {value: $3, source: \"half of the points of four H100 of one host: $4\"}"
    sed -i "s|^$2:.*|$line|" "$presets/$1.yaml"
}

# A cost of a message that the points cannot tell is not in the fitted file.
put_message() { # key
    us=$(value "$fitted" "$1")
    told="a message at the port"
    [ -n "$us" ] || told="they cannot tell what a message costs at the port"
    put "$name" "$1" "${us:-0}us" "$told"
}

launch=$(value "$at/fitted/clusters/h100-x4.yaml" kernel_launch)
for name in nccl-flat nccl-agrs nccl-two-stage nccl-calls-normal nccl-calls-ll ll-slots; do
    fitted=$at/fitted/dispatchers/$name.yaml
    for side in dispatch combine; do
        own=$(value "$fitted" ${side}_fixed)
        kernels=$(sed -n "s/^${side}_kernels: //p" "$fitted")
        all=$(awk "BEGIN { printf \"%.4g\", $own + $kernels * $launch }")
        put "$name" ${side}_fixed "${all}us" "$own us and $kernels kernels of $launch us around it"
        put "$name" ${side}_hbm_share "$(value "$fitted" ${side}_hbm_share)" "of packing and summing"
    done
    case $name in nccl-flat | nccl-two-stage | nccl-calls-normal)
        put "$name" notify "$(value "$fitted" notify)us" "host to host" ;;
    esac
    case $name in nccl-two-stage | nccl-calls-normal)
        for side in dispatch combine; do
            put "$name" ${side}_fixed_inter "$(value "$fitted" ${side}_fixed_inter)us" \
                "as two nodes of two: the second stage"
        done ;;
    esac
    case $name in nccl-calls-*)
        for side in dispatch combine; do put_message ${side}_per_message; done ;;
    esac
done

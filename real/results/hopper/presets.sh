#!/bin/sh
# Fits all points of four H100, two H200 and four H200 and puts what they say into the built-in presets: compute of H100
# and H200, the dispatchers of NCCL calls and of NCCL EP. Some minutes. usage: sh real/results/hopper/presets.sh [EPSIM]
set -eu
at=$(dirname "$0")
presets=$at/../../../model/presets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in h100-x4/points h200-x2/points h200-x2/ep h200-x4/points h200-x4/ep; do
    grep -vE ',epsim-real,(inter|intra),' "$at/../$file.csv" >"$work/$(echo "$file" | tr / -).csv"
done
"${1:-./epsim}" calibrate "$work"/*.csv --presets "$at/presets" --fit "$at/fit.yaml" --write "$work/fitted" --quiet ||
    [ $? -eq 1 ] # rows do not tell all constants
for cluster in h100-cx7 h100-nvl8 h200-efa h200-nvl8; do
    cp "$work/fitted/clusters/$cluster.yaml" "$presets/clusters/"
done
for dispatcher in nccl-flat nccl-agrs nccl-two-stage nccl-calls-normal nccl-calls-ll ll-slots; do
    cp "$work/fitted/dispatchers/$dispatcher.yaml" "$presets/dispatchers/"
done
cp "$work/fitted/dispatchers/nccl-ep-ll.yaml" "$work/fitted/dispatchers/nccl-ep-ht.yaml" "$presets/dispatchers/"
cp "$work/fitted/fits/fit.yaml" "$presets/fits/hopper.yaml"
grep -v nccl-ep-ht-8192 "$work/fitted/rows/fit.yaml" >"$presets/rows/hopper.yaml" # that preset is of these rows alone
# Launches in CUDA graphs: what these find is for h100-* and h200-* alike.
graphs=$at/../graphs
for gpus in 1 4; do
    {
        echo "# Of a host of eight H200, $gpus: the built-in h200-nvl8 with so many GPUs."
        sed -e '/^#/d' -e '/^graph_/d' -e "s/^gpus_per_node:.*/gpus_per_node: $gpus/" "$presets/clusters/h200-nvl8.yaml"
    } >"$graphs/presets/clusters/h200-x$gpus.yaml"
done
"${1:-./epsim}" calibrate "$at/../h200-x1/graph.csv" --presets "$graphs/presets" --fit "$graphs/fit.yaml" \
    --write "$work/graph" --quiet || [ $? -eq 1 ]
cp "$work/graph/fits/fit.yaml" "$presets/fits/graphs.yaml"
grep '^graph_' "$work/graph/clusters/h200-x1.yaml" >"$work/lines"
for cluster in h100-cx7 h100-nvl8 h200-efa h200-nvl8; do
    sed -i -e '/^graph_/d' "$presets/clusters/$cluster.yaml"
    cat "$work/lines" >>"$presets/clusters/$cluster.yaml"
done

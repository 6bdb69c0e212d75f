#!/bin/sh
# Fits all points of four H100 and two H200 and puts what they say into the built-in presets: compute of H100 and H200,
# the dispatchers of NCCL calls and of NCCL EP. Some minutes. usage: sh real/results/hopper/presets.sh [EPSIM]
set -eu
at=$(dirname "$0")
presets=$at/../../../model/presets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in h100-x4/points h200-x2/points h200-x2/ep; do
    grep -vE ',epsim-real,(inter|intra),' "$at/../$file.csv" >"$work/$(echo "$file" | tr / -).csv"
done
"${1:-./epsim}" calibrate "$work"/*.csv --presets "$at/presets" --fit "$at/fit.yaml" --write "$work/fitted" --quiet
for cluster in h100-cx7 h100-nvl8 h200-efa h200-nvl8; do
    cp "$work/fitted/clusters/$cluster.yaml" "$presets/clusters/"
done
for dispatcher in nccl-flat nccl-agrs nccl-two-stage nccl-calls-normal nccl-calls-ll ll-slots; do
    cp "$work/fitted/dispatchers/$dispatcher.yaml" "$work/fitted/dispatchers/$dispatcher@h200.yaml" "$presets/dispatchers/"
done
cp "$work/fitted/dispatchers/nccl-ep-ll.yaml" "$work/fitted/dispatchers/nccl-ep-ht.yaml" "$presets/dispatchers/"
cp "$work/fitted/fits/fit.yaml" "$presets/fits/hopper.yaml"
cp "$work/fitted/rows/fit.yaml" "$presets/rows/hopper.yaml"
# Launches in CUDA graphs: graph_launches of h100-* and h200-* is what this finds.
graph=$at/../h200-x1
{
    echo '# One H200 of a host of eight: the built-in h200-nvl8 with one GPU.'
    sed -e '/^#/d' -e '/^graph_launches:/d' -e 's/^gpus_per_node:.*/gpus_per_node: 1/' "$presets/clusters/h200-nvl8.yaml"
} >"$graph/presets/clusters/h200-x1.yaml"
"${1:-./epsim}" calibrate "$graph/graph.csv" --presets "$graph/presets" --fit "$graph/fit.yaml" --write "$work/graph" --quiet
cp "$work/graph/fits/fit.yaml" "$presets/fits/graphs.yaml"
line=$(grep '^graph_launches:' "$work/graph/clusters/h200-x1.yaml")
for cluster in h100-cx7 h100-nvl8 h200-efa h200-nvl8; do
    sed -i "s|^graph_launches:.*|$line|" "$presets/clusters/$cluster.yaml"
done

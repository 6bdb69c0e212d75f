#!/usr/bin/env python3
"""SGLang's expert distribution recorder (torch.save .pt) as a trace of epsim.

usage: python3 traces/sglang_pt.py FILE.pt... -o FOLDER [--model MODEL] [--topk K] [flags of trace import]

Takes what --expert-distribution-recorder-mode writes: stat and stat_approx (one file), per_pass and
per_token (one file a rank, all of one recording). Needs PyTorch and NumPy, which whoever recorded has;
nothing but plain data is unpickled (weights_only). Physical expert ids are mapped to logical ones by
the map in the file. per_token becomes the recorded choices; the others are counts, from which
`epsim trace import` draws tokens, and says so. Every further flag is handed to `epsim trace import`.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy
import torch


def fail(text):
    print(f"sglang_pt: error: {text}", file=sys.stderr)
    sys.exit(2)


def load(path):
    try:
        recorded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever it is, one line with the file
        fail(f"{path}: {str(error).splitlines()[0]}")
    if not isinstance(recorded, dict):
        fail(f"{path}: expected the dict of SGLang's recorder")
    return recorded


def tensor_of(path, holder, key, dims):
    value = holder.get(key)
    if not isinstance(value, torch.Tensor) or value.dim() != dims:
        fail(f"{path}: {key}: expected a tensor of {dims} dimensions")
    return value.to(torch.int64)


def to_logical_counts(path, counts, mapping):
    """[layers, physical] counts added up by logical expert."""
    if counts.shape != mapping.shape:
        fail(f"{path}: global_physical_count {tuple(counts.shape)}; expected {tuple(mapping.shape)}, "
             "as last_physical_to_logical_map")
    logical = torch.zeros(counts.shape[0], int(mapping.max()) + 1, dtype=torch.int64)
    return logical.scatter_add_(1, mapping, counts)


def to_logical_ids(path, ids, mapping):
    """[layers, tokens, k] physical ids as logical ones; -1 stays."""
    if ids.shape[0] != mapping.shape[0] or ids.numel() and int(ids.max()) >= mapping.shape[1]:
        fail(f"{path}: topk_ids_of_layer: ids that last_physical_to_logical_map has not")
    flat = ids.clamp(min=0).reshape(ids.shape[0], -1)
    logical = torch.gather(mapping, 1, flat).reshape(ids.shape)
    return torch.where(ids < 0, ids, logical)


def read_map(path, recorded):
    mapping = tensor_of(path, recorded, "last_physical_to_logical_map", 2)
    if not mapping.numel() or int(mapping.min()) < 0:
        fail(f"{path}: last_physical_to_logical_map: expected logical ids")
    return mapping


def stat_counts(path, recorded):
    counts = tensor_of(path, recorded, "logical_count", 3)
    return counts[counts.sum(dim=(1, 2)) > 0].numpy()


def pass_counts(files):
    """Ranks' counts of one forward pass added up."""
    passes = {}
    for path, recorded in files:
        mapping = read_map(path, recorded)
        for record in recorded["records"]:
            counts = to_logical_counts(path, tensor_of(path, record, "global_physical_count", 2), mapping)
            number = int(record["forward_pass_id"])
            passes[number] = passes[number] + counts if number in passes else counts
    return numpy.stack([passes[number].numpy() for number in sorted(passes)])


def token_choices(files, topk):
    """{rank: {"<pass>_<layer>": int32 [tokens, topk]}}, padding tokens left out, and the experts."""
    ranks, experts = {}, 0
    for path, recorded in files:
        mapping = read_map(path, recorded)
        experts = max(experts, int(mapping.max()) + 1)
        passes = {}
        for record in recorded["records"]:
            ids = tensor_of(path, record, "topk_ids_of_layer", 3)
            if topk > ids.shape[2]:
                fail(f"{path}: topk_ids_of_layer has {ids.shape[2]} a token; expected --topk {topk}")
            logical = to_logical_ids(path, ids[:, :, :topk], mapping)
            logical = logical[:, (logical >= 0).any(dim=2).any(dim=0)]
            passes.setdefault((int(record["rank"]), int(record["forward_pass_id"])), []).append(logical)
        for (rank, number), parts in passes.items():
            whole = torch.cat(parts, dim=1).to(torch.int32).numpy()
            own = ranks.setdefault(rank, {})
            for layer in range(whole.shape[0]):
                if f"{number}_{layer}" in own:
                    fail(f"{path}: rank {rank}, forward pass {number}: in two files")
                own[f"{number}_{layer}"] = numpy.ascontiguousarray(whole[layer])
    return ranks, experts


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "I32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            out.write(array.astype("<i4").tobytes())


def write_choices(folder, ranks, experts, topk):
    with open(os.path.join(folder, "meta_info.json"), "w", encoding="ascii") as out:
        json.dump({"num_experts": experts, "num_experts_per_token": topk}, out)
    if sorted(ranks) != list(range(len(ranks))):
        fail(f"ranks {sorted(ranks)}: expected the files of all ranks from 0")
    for rank, tensors in ranks.items():
        write_safetensors(os.path.join(folder, f"rank{rank}_raw.safetensors"), tensors)
    return folder


def convert(files, topk, folder):
    """Writes into folder what `epsim trace import` takes, and returns its path."""
    first_path, first = files[0]
    counts = os.path.join(folder, "counts.npy")
    if "logical_count" in first:
        if len(files) > 1:
            fail(f"{files[1][0]}: stat mode has one file a recording: expected one")
        numpy.save(counts, stat_counts(first_path, first))
        return counts
    for path, recorded in files:
        if not isinstance(recorded.get("records"), list) or not recorded["records"]:
            fail(f"{path}: neither logical_count nor records")
    if "topk_ids_of_layer" in first["records"][0]:
        return write_choices(folder, *token_choices(files, topk), topk)
    numpy.save(counts, pass_counts(files))
    return counts


def find_epsim():
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "epsim")
    return os.environ.get("EPSIM") or shutil.which("epsim") or own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.pt")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    parser.add_argument("--topk", type=int, default=8, help="experts a token takes (8, as SGLang stores them)")
    asked, others = parser.parse_known_args()
    files = [(path, load(path)) for path in asked.files]
    with tempfile.TemporaryDirectory() as folder:
        found = convert(files, asked.topk, folder)
        source = f"SGLang expert distribution recorder: {os.path.basename(asked.files[0])}"
        command = [find_epsim(), "trace", "import", found, "-o", asked.output, "--source", source, *others]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes the fixtures of tests/test_import.c, as serving engines write them.

usage: python3 tests/data/import/make.py [FOLDER]
The files in the tree were written by NumPy 2.4.6 (.npy, .npz), safetensors 0.8.0 (.safetensors) and
Python 3.11's json and base64; with --pt, SGLang's recorder files by PyTorch (those are not in the tree:
tests/sglang_pt.sh writes and reads them where PyTorch is).
"""
import base64
import json
import os
import sys

import numpy

EXPERTS, TOPK, LAYERS, DENSE, TOKENS = 8, 2, 5, 1, 6


def choice(token, layer, k):
    """Two distinct experts of two of the four groups, plain to compute by hand."""
    return (token + 2 * layer + 3 * k) % EXPERTS


def choices(tokens, shift=0):
    ids = numpy.zeros((tokens, LAYERS, TOPK), dtype=numpy.int64)
    for t in range(tokens):
        for layer in range(DENSE, LAYERS):
            for k in range(TOPK):
                ids[t, layer, k] = choice(t + shift, layer, k)
    return ids


def path(name):
    return os.path.join(FOLDER, name)


def write_arrays():
    for kind in ("u1", "u2", "i2", "i4"):
        numpy.save(path(f"vllm-{kind}.npy"), choices(TOKENS).astype("<" + kind))
    numpy.save(path("moe-layers.npy"), choices(TOKENS).astype("u1")[:, DENSE:])
    numpy.save(path("second.npy"), choices(3, 1).astype("u1"))
    ids = choices(TOKENS).astype("u1")
    numpy.savez(path("stored.npz"), request_id=numpy.array(7), prompt_token_ids=numpy.arange(4), routed_experts=ids)
    numpy.savez_compressed(path("deflated.npz"), request_id=numpy.array(7), routed_experts=ids)
    counts = numpy.stack([numpy.stack([numpy.bincount(choices(TOKENS, s)[:, layer].ravel(), minlength=EXPERTS)
                                       * (layer >= DENSE) for layer in range(LAYERS)]) for s in range(2)])
    numpy.save(path("counts.npy"), counts)
    return counts


def write_text(counts):
    with open(path("vllm-u1.npy"), "rb") as npy:
        vllm = base64.b64encode(npy.read()).decode()
    sglang = base64.b64encode(choices(TOKENS).astype("<i4").tobytes()).decode()
    for name, text in (("vllm.b64", vllm), ("sglang.b64", sglang)):
        with open(path(name), "w", encoding="ascii") as out:
            out.write(text + "\n")
    choices(TOKENS).astype("<i4").tofile(path("sglang.i32"))
    write_json("vllm.json", {"id": "cmpl-1", "choices": [{"index": 0, "routed_experts": vllm}]})
    write_json("vllm-lists.json", {"choices": [{"prompt_routed_experts": choices(4).tolist(),
                                                "routed_experts": choices(2, 4).tolist()}]})
    write_json("sglang.json", [{"text": "a", "meta_info": {"id": "1", "routed_experts": sglang}}])
    write_json("logical-count.json", {"logical_count": counts[0].tolist()})
    write_json("load-history.json", {"load_history": [{"logical_expert_load": c[DENSE:].tolist()} for c in counts]})
    steps = [{str(layer): choices(4)[:, layer].tolist() if layer >= DENSE else None for layer in range(LAYERS)}]
    for t in (4, 5):
        steps.append({str(layer): choices(1, t)[:, layer].tolist() if layer >= DENSE else None for layer in range(LAYERS)})
    write_json("per-request.json", steps)


def write_json(name, value):
    with open(path(name), "w", encoding="ascii") as out:
        json.dump(value, out)
        out.write("\n")


def write_trtllm():
    from safetensors.numpy import save_file
    for folder in ("trtllm", "trtllm-raw"):
        os.makedirs(path(folder), exist_ok=True)
        write_json(f"{folder}/meta_info.json", {"num_experts": EXPERTS, "num_experts_per_token": TOPK})
    for rank in range(2):
        counts, raw = {}, {}
        for iteration in (100, 101):
            ids = choices(3 + rank, iteration + rank)
            for layer in range(DENSE, LAYERS):
                counts[f"{iteration}_{layer}"] = numpy.bincount(ids[:, layer].ravel(), minlength=EXPERTS).astype("<i8")
                raw[f"{iteration}_{layer}"] = numpy.ascontiguousarray(ids[:, layer]).astype("<i4")
        save_file(counts, path(f"trtllm/rank{rank}.safetensors"))
        save_file(raw, path(f"trtllm-raw/rank{rank}_raw.safetensors"))


def physical_map():
    """Ten physical experts for eight: experts 0 and 1 stand twice."""
    return [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1]] * LAYERS


def write_pt():
    import torch
    mapping = torch.tensor(physical_map())
    counts = torch.from_numpy(numpy.load(path("counts.npy"))).to(torch.int32)
    torch.save({"rank": 0, "logical_count": counts, "average_utilization_rate_over_window": None}, path("stat.pt"))
    for rank in range(2):
        passes, tokens = [], []
        for number in (7, 8):
            ids = torch.from_numpy(choices(3 + rank, number + rank)).permute(1, 0, 2).to(torch.int32).contiguous()
            physical = torch.where(ids == 0, torch.tensor(8, dtype=torch.int32), ids)  # the other copy of expert 0
            physical[:DENSE] = -1
            padded = torch.full((LAYERS, 3 + rank + 1, 8), -1, dtype=torch.int32)  # a padding token, and 8 columns
            padded[:, :3 + rank, :TOPK] = physical
            count = torch.stack([torch.bincount(row[row >= 0].flatten(), minlength=10) for row in physical]).to(torch.int32)
            record = {"forward_pass_id": number, "rank": rank, "gatherer_key": "primary", "global_physical_count": count}
            passes.append(dict(record))
            tokens.append({**record, "input_ids": [1, 2], "positions": [0, 1], "extend_seq_lens": None,
                           "forward_mode": 2, "topk_ids_of_layer": padded, "misc_objects": []})
        for name, records in (("per_pass", passes), ("per_token", tokens)):
            torch.save({"records": records, "last_physical_to_logical_map": mapping}, path(f"{name}_{rank}.pt"))


FOLDER = next((word for word in sys.argv[1:] if word != "--pt"), os.path.dirname(os.path.abspath(__file__)))
COUNTS = write_arrays()
if "--pt" in sys.argv:
    write_pt()
else:
    write_text(COUNTS)
    write_trtllm()

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


def write_lines(name, records):
    with open(path(name), "w", encoding="ascii") as out:
        for record in records:
            out.write(json.dumps(record) + "\n")


def slot_loads(counts):
    """Counts of experts as those of the ten slots of physical_map(), of MoE layers alone."""
    slots = numpy.concatenate([counts, numpy.zeros((LAYERS, 2), dtype=counts.dtype)], axis=1)
    for expert in range(2):
        slots[:, EXPERTS + expert] = slots[:, expert] // 2
        slots[:, expert] -= slots[:, EXPERTS + expert]
    return slots[DENSE:].tolist()


def write_logs(counts):
    ids = choices(TOKENS)
    places = [(t, layer) for t in range(TOKENS) for layer in range(DENSE, LAYERS)]
    write_lines("log.jsonl", [{"type": "meta", "model_id": "tiny", "top_k": TOPK, "num_experts": EXPERTS}] + [
        {"type": "route", "req_id": f"r{t // 4}", "token_idx": t % 4, "layer": layer, "topk_ids": ids[t, layer].tolist(),
         "topk_weights": [0.75, 0.25]} for t, layer in reversed(places) if t < 4] + [
        {"type": "route", "req_id": f"r{t // 4}", "token_idx": t % 4, "layer": layer, "topk_ids": ids[t, layer].tolist(),
         "topk_weights": [0.75, 0.25]} for t, layer in places if t >= 4])
    write_lines("batches.jsonl", [{"layer_name": f"model.layers.{layer}.mlp.experts", "topk_ids": ids[:, layer].tolist()}
                                  for layer in range(DENSE, LAYERS)])
    write_lines("answers.jsonl", [{"choices": [{"routed_experts": ids[:4].tolist()}]},
                                  {"choices": [{"routed_experts": ids[4:].tolist()}]}])
    with open(path("tokens.csv"), "w", encoding="ascii") as out:
        out.write("token,layer_id,expert_0,expert_1,score\n")
        for t, layer in places:
            out.write(f"{t},{layer},{ids[t, layer, 0]},{ids[t, layer, 1]},0.5\n")
    with open(path("lists.csv"), "w", encoding="ascii") as out:
        out.write("request_id;position;layer;topk_ids\n")
        for t, layer in places:
            out.write(f"only;{t};{layer};\"[{ids[t, layer, 0]}, {ids[t, layer, 1]}]\"\n")
    with open(path("counts.csv"), "w", encoding="ascii") as out:
        out.write("step,layer_id,expert_id,count\n")
        for step, layer, expert in numpy.ndindex(counts.shape):
            if counts[step, layer, expert]:
                out.write(f"{step},{layer},{expert},{counts[step, layer, expert]}\n")
    write_lines("layer-counts.jsonl", [{"step": step, "layer": layer, "expert_counts": counts[step, layer].tolist()}
                                       for step in range(len(counts)) for layer in range(DENSE, LAYERS)])
    write_json("counts-floats.json", {"logical_count": counts[0].astype("f4").tolist()})
    numpy.save(path("layers-first.npy"), numpy.ascontiguousarray(counts.transpose(1, 0, 2)).astype("<f4"))
    write_lines("eplb-stats.jsonl", [{"record_type": "eplb_load_meta", "version": 1, "num_ranks": 3, "num_layers": LAYERS - DENSE,
                                      "num_redundant_experts": 2}] + [
        {"record_type": "eplb_load_stats", "version": 1, "step": 1, "expert_load": slot_loads(of_step),
         "p2l_map": physical_map()[DENSE:]} for of_step in counts])
    write_lines("eplb-keys.jsonl", [{"eplb_load_meta": {"num_ranks": 3}}] + [
        {"eplb_load_stats": {"step": step, "expert_load": slot_loads(of_step), "p2l_map": physical_map()[DENSE:]}}
        for step, of_step in enumerate(counts)])


def write_megatron():
    """As its ExpertLoadRecorder writes: rows behind forward_counts are not filled."""
    for rank in range(2):
        loads = numpy.full((LAYERS - DENSE, 3, EXPERTS), 999, dtype=numpy.int32)
        for step in range(2):
            ids = choices(3 + rank, 100 + step + rank)
            for layer in range(DENSE, LAYERS):
                loads[layer - DENSE, step] = numpy.bincount(ids[:, layer].ravel(), minlength=EXPERTS)
        numpy.savez(path(f"megatron-{rank}.npz"), dump_version=numpy.asarray("mcore_ep_load_dump_v1"), loads=loads,
                    layer_numbers=numpy.arange(DENSE + 1, LAYERS + 1, dtype=numpy.int32),
                    forward_counts=numpy.asarray([3, 2, 2, 2], dtype=numpy.int32),
                    ep_group_ranks=numpy.asarray([0, 1], dtype=numpy.int32), ep_rank=numpy.int32(rank),
                    ep_size=numpy.int32(2), global_rank=numpy.int32(rank),
                    num_global_physical_experts=numpy.int32(EXPERTS), num_local_physical_experts=numpy.int32(EXPERTS // 2))


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
    write_logs(COUNTS)
    write_megatron()
    write_trtllm()

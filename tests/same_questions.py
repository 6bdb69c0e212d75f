"""Random questions for tests/same_answers.py: command lines of every command and verb, small enough to run in less than
a second each, right ones and wrong ones. A question is a list of command lines that run in one folder, in which
traces/, tests/, study/, real/ and model/ are the tree's own. The same seed asks the same questions."""

import random
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRACE = "traces/minimoe-256e"
SMALL = "tests/data/measured-small.csv"
LAYOUT = "tests/data/layout/trtllm-ep32.yaml"
WORK = 8192  # tokens of all ranks together, at most
FIGURES = ["ranks", "traffic", "compare", "accuracy-rows", "replay", "replay-ranks"]
COMMANDS = [
    "simulate", "estimate", "compare", "replay", "accuracy", "diagnose", "calibrate", "trace info", "trace make",
    "trace import", "trace export", "layout", "plot"
]


@dataclass
class Question:
    """Command lines without the program's name, and the files that they find in their folder."""

    label: str
    lines: list
    files: dict = field(default_factory=dict)
    timeline: str = ""


def presets(kind):
    found = sorted(p.stem for p in (ROOT / "model/presets" / kind).glob("*.yaml") if "@" not in p.stem)
    if not found:
        raise SystemExit(f"same_questions: no presets in model/presets/{kind}")
    return found


MODELS, CLUSTERS, DISPATCHERS, RECIPES = (presets(k) for k in ("models", "clusters", "dispatchers", "recipes"))
OF_MATRICES = [d for d in DISPATCHERS if d in ("raw", "nccl-alltoall")]
OF_LAYERS = [d for d in DISPATCHERS if d not in OF_MATRICES]


def rows(text):
    """A table of words: a row a line."""
    return [line.split() for line in text.replace("\\\n", " ").strip().splitlines()]


def maybe(rng, chance, *flags):
    return [str(f) for f in flags] if rng.random() < chance else []


def rate(rng, low, high):
    return rng.choice([f"{rng.randint(low, high)}GB/s", f"{rng.randint(low, high) * 8}Gbps"])


def changed_keys(rng):
    keys = [
        f"nic={rate(rng, 20, 100)}", f"nvlink={rate(rng, 100, 900)}", f"nic_latency={rng.randint(1, 9)}us",
        f"spine_oversubscription={rng.randint(1, 8)}", f"hbm={rng.randint(1, 8)}TB/s",
        f"gemm_efficiency=0.{rng.randint(3, 9)}", "rails=false", "inside=nic", f"kernel_launch={rng.randint(1, 9)}us",
        f"nics_per_node={rng.choice([1, 2, 4, 8])}", f"select={rng.randint(0, 9)}us"
    ]
    return ",".join(rng.sample(keys, rng.randint(1, 3)))


def cluster(rng):
    """Flags, and how many ranks they ask for."""
    ep = rng.choice([1, 2, 4, 8, 8, 16, 16, 24, 32, 32, 64]) if rng.random() < 0.95 else rng.randint(1, 64)
    shape = rng.random()
    if shape < 0.3:
        return ["--ep", str(ep)], ep
    if shape < 0.5:
        nodes, gpus = rng.choice([(1, 4), (1, 8), (2, 2), (2, 4), (2, 8), (3, 4), (4, 8), (8, 8)])
        extra = "," + changed_keys(rng).split("nic=")[0].rstrip(",") if rng.random() < 0.4 else ""
        line = f"{nodes}x{gpus}:nvlink={rate(rng, 100, 900)},nic={rate(rng, 20, 100)}{extra}".rstrip(",")
        return ["--cluster", line], nodes * gpus
    name = rng.choice(CLUSTERS)
    if "nvl" in name and rng.random() < 0.9:  # one node, no NIC
        ep = min(ep, 64 if "72" in name else 8)
    if shape < 0.6:
        name = f"model/presets/clusters/{name}.yaml"
    elif shape < 0.75:
        name = f"{name}:{changed_keys(rng)}"
    return ["--cluster", name, "--ep", str(ep)], ep


def slow(rng, ranks):
    part = f"gpu={rng.randrange(ranks + 1)}" if rng.random() < 0.7 else f"node={rng.randrange((ranks + 7) // 8)}"
    what = rng.sample([
        f"nic=0.{rng.randint(1, 9)}", f"nvlink=0.{rng.randint(1, 9)}", f"compute=0.{rng.randint(1, 9)}",
        f"late={rng.randint(1, 400)}us"
    ], rng.randint(1, 2))
    return part + ":" + ":".join(what)


def tokens(rng, ranks):
    return max(1, min(4096, int(WORK / max(ranks, 1) * rng.random()**2)))


def workload(rng, drawn=True):
    """Model, cluster, dispatcher and what else every command that runs a layer takes; and the number of ranks."""
    place, ranks = cluster(rng)
    flags = (place + maybe(rng, 0.75, "--dispatcher", rng.choice(OF_LAYERS)) +
             maybe(rng, 0.2, "--sms", rng.randint(1, 64)))
    flags += maybe(rng, 0.3, "--seed", rng.randint(0, 99)) + maybe(rng, 0.2, "--slow", slow(rng, ranks))
    flags += maybe(rng, 0.15, "--skew-us", rng.randint(1, 200))
    flags += maybe(rng, 0.2, "--overlap", rng.choice(["none", "dispatch", "combine"]))
    if drawn:
        flags += maybe(rng, 0.3, "--model", rng.choice(MODELS))
        flags += maybe(rng, 0.3, "--routing", rng.choice(["uniform", "deepep", "v3", "balanced"]))
    if ranks == 32 and rng.random() < 0.2:
        flags += ["--layout", LAYOUT]
    else:
        flags += maybe(rng, 0.2, "--layout", rng.choice(["contiguous", "round-robin"]))
    return flags, ranks


def output(rng, kinds, chance=0.6):
    flags = maybe(rng, chance, *rng.choice([["--json"]] + [["--tsv", kind] for kind in kinds]))
    return flags + maybe(rng, 0.2, "-o", "out.txt") + maybe(rng, 0.3, "-q")


def from_trace(rng, layers="one"):
    flags = ["--trace", TRACE]
    if layers == "one":
        return flags + maybe(rng, 0.6, "--layer", rng.randrange(6)) + maybe(rng, 0.5, "--step", rng.randrange(4))
    first = rng.randrange(5)
    flags += ["--layer", rng.choice([str(first), f"{first},5", f"{first}..{first + 1}"])]
    return flags + ["--step", rng.choice(["0", "0..2", "1,3", "0..6:3"])]


def traffic(rng):
    if rng.random() < 0.25:
        return [
            "--traffic", *rng.choice([("tests/data/traffic/incast-8.txt", "--cluster", "1x8:nvlink_effective=160GB/s"),
                                      ("tests/data/traffic/uneven-32.txt", "--cluster", "h800-cx7:nodes=4")])
        ]
    size = rng.choice(["4KiB", "64KiB", "1MiB", "3MB", "16MiB"])
    pattern = rng.choice(["uniform:", "ring:", "inside:", "between:", "distance:", f"pair:0:{rng.randrange(8)}:"])
    return [
        "--traffic", pattern + size, *cluster(rng)[0], *maybe(rng, 0.6, "--dispatcher", rng.choice(OF_MATRICES)),
        *maybe(rng, 0.2, "--slow", slow(rng, 8))
    ]


def layer_question(rng, command, timeline=False):
    kind = rng.random()
    if kind < 0.2:
        flags = traffic(rng)
    elif kind < 0.4:
        flags, ranks = workload(rng, drawn=False)
        flags += (from_trace(rng) + ["--tokens", str(min(64, tokens(rng, ranks)))] +
                  maybe(rng, 0.5, "--model", "deepseek-v3"))
    else:
        flags, ranks = workload(rng)
        flags += ["--tokens", str(tokens(rng, ranks))] + maybe(rng, 0.1, "--layer", rng.randrange(58))
        if command == "estimate":
            flags += maybe(rng, 0.3, "--loads", rng.choice(["counted", "expected", "auto"]))
    flags += maybe(rng, 0.15, "--aligned") + ["--timeline", "timeline.json"] * timeline
    if not timeline and rng.random() < 0.06:
        flags += ["--show", rng.choice(["model", "cluster", "dispatcher", "all"])]
        return Question(command, [[command, *flags]])
    imbalance = maybe(rng, 0.25, "--imbalance")
    flags += maybe(rng, 0.3, "--check") + maybe(rng, 0.25, "--interval", rng.choice([50, 90, 99])) + imbalance
    flags += output(
        rng, ["imbalance"] if imbalance else ["phases", "ranks", "ports", "links", "traffic", "path", "imbalance"])
    return Question(command, [[command, *flags]], timeline="timeline.json" if timeline else "")


def compare(rng):
    if rng.random() < 0.4:
        flags = ["--trace", TRACE, "--ep", "8", "--tokens", rng.choice(["8", "32"])]
        flags += maybe(rng, 0.6, "--measured", "tests/data/measured-steps.csv")
        flags += maybe(rng, 0.5, *from_trace(rng, "list")[2:])
        kinds = ["steps"]
    else:
        flags, _ = workload(rng)
        flags += ["--tokens", rng.choice(["16", "16,64", "1..16:log", "32,256"])]
        flags += maybe(rng, 0.5, "--measured", SMALL)
        kinds = ["compare"]
    flags += maybe(rng, 0.2, "--tolerance-pct", rng.choice([1, 10, 100])) + maybe(rng, 0.3, "--interval", 90)
    return Question("compare", [["compare", *flags, *output(rng, kinds)]])


def replay(rng, timeline=False):
    flags, ranks = workload(rng, drawn=False)
    flags += from_trace(rng, "list") + ["--tokens", str(min(32, tokens(rng, ranks)))]
    flags += maybe(rng, 0.5, "--engine", rng.choice(["simulate", "estimate"])) + maybe(rng, 0.2, "--aligned")
    flags += maybe(rng, 0.3, "--model", "deepseek-v3") + ["--timeline", "timeline.json"] * timeline
    flags += output(rng, ["replay", "replay-layers", "replay-ranks", "replay-steps"])
    return Question("replay", [["replay", *flags]], timeline="timeline.json" if timeline else "")


# Measured rows, and flags that go with them.
JUDGED = rows("""
tests/data/measured-small.csv
study/measured/h800-cx7.csv
study/measured/published.csv
real/results/h100-x4/points.csv --presets real/results/hopper/presets
real/results/h100-x4/probe.tsv --cluster 1x4:name=mine,nvlink_effective=300GB/s,nic_effective=45GB/s
tests/data/nccl-tests/alltoall-1x8.txt --cluster 1x8:name=mine,nvlink_effective=330GB/s,nic_effective=44GB/s
tests/data/nccl-tests/alltoall-2x8.txt tests/data/nccl-tests/sendrecv-2x8.txt --cluster 2x8:nvlink_effective=330GB/s,nic_effective=44GB/s
""")

CALIBRATED = rows("""
tests/data/measured-small.csv --fit study/fits/h800-cx7.yaml
study/measured/h800-cx7.csv --fit study/fits/h800-cx7.yaml
real/results/h100-x4/probe.tsv --fit study/fits/probe.yaml --cluster 1x4:name=mine,nvlink_effective=300GB/s,nic_effective=45GB/s
tests/data/nccl-tests/alltoall-1x8.txt --fit study/fits/nccl-tests.yaml \
  --cluster 1x8:name=mine,nvlink_effective=300GB/s,nic_effective=45GB/s
tests/data/nccl-tests/alltoall-1x8.txt tests/data/nccl-tests/alltoall-2x8.txt --fit study/fits/nccl-tests.yaml \
  --cluster 2x8:name=mine,nvlink_effective=300GB/s,nic_effective=45GB/s
tests/data/nccl-tests/alltoall-2x8.txt tests/data/nccl-tests/sendrecv-2x8.txt --fit study/fits/nccl-tests.yaml \
  --cluster 2x8:name=mine,nvlink_effective=300GB/s,nic_effective=45GB/s
""")


def diagnose(rng):
    cluster = rng.choice(["h20-cx7:nics_per_node=4", "h100-cx7", "h800-cx7:nic=800Gbps"])
    files = [f"tests/data/diagnose/{rng.choice(['h20-one-port', 'h20-one-nic', 'h100-half-rate', 'noise'])}.csv"]
    flags = maybe(rng, 0.5, "--cluster", cluster) + maybe(rng, 0.3, "--interval", rng.choice([50, 99]))
    return Question("diagnose", [["diagnose", *files, *flags, *output(rng, ["diagnose", "diagnose-causes"])]])


def accuracy(rng):
    files = rng.choice(JUDGED) + maybe(rng, 0.2, "--from-us", rng.choice([50, 100]))
    files += maybe(rng, 0.2, rng.choice(["--only", "--except"]), f"{rng.randint(1, 2)}/2")
    engines = (["simulate", "estimate,naive", "simulate,estimate,naive"]
               if files[0] == SMALL else ["estimate", "naive,estimate"])
    columns = ["family", "cluster", "dispatcher", "nodes", "phase", "stage", "tokens", "sms", "dtype"]
    flags = ["--engine", rng.choice(engines)]
    flags += maybe(rng, 0.4, rng.choice(["--by", "--each"]), ",".join(rng.sample(columns, rng.randint(1, 3))))
    grouped = bool(flags[2:])
    flags += maybe(rng, 0.05 if grouped else 0.4, "--worst", rng.randint(1, 9)) + maybe(
        rng, 0.3, "--interval", rng.choice([50, 90]))
    flags += maybe(rng, 0.2, "--tolerance-pct", 20) + maybe(rng, 0.2, "--median-pct", 5)
    return Question("accuracy", [[
        "accuracy", *files, *flags,
        *output(rng, ["accuracy-rows"] if "--worst" in flags else ["accuracy", "accuracy-rows"])
    ]])


def calibrate(rng):
    flags = maybe(rng, 0.25, "--leave-out") + maybe(rng, 0.1, "--between") + maybe(rng, 0.2, "--from-us", 50)
    kinds = ["left-out" if "--leave-out" in flags else "calibrate"]
    flags += maybe(rng, 0.6, "--write", "fitted")
    return Question("calibrate", [["calibrate", *rng.choice(CALIBRATED), *flags, *output(rng, kinds)]])


def trace_info(rng):
    flags = cluster(rng)[0] + maybe(rng, 0.3, "--layout", "round-robin") + output(rng, ["trace", "lags"])
    return Question("trace info", [["trace", "info", TRACE, *flags]])


def trace_make(rng):
    recipe = rng.choice(RECIPES)
    change = maybe(
        rng, 0.4, ":" + rng.choice([
            "alpha=1.2", "skew=0.5", "drift=0.1,drift_tokens=64", "kappa=100", "hot_share=0.1",
            "top_eighth_share=0.3,expert_max_mean=5", "requests=4,chunk_tokens=8"
        ]))
    flags = ["--layer", rng.choice(["0", "1,3", "0..1"]), "--tokens", rng.choice(["256", "2x8x16", "3x4x8"])]
    flags += maybe(rng, 0.3, "--model", rng.choice(MODELS)) + maybe(rng, 0.5, "--seed", rng.randint(1, 99))
    make = ["trace", "make", recipe + "".join(change), *flags]
    if rng.random() < 0.25:
        return Question("trace make", [[*make, "--show"]])
    then = rng.choice(
        [["trace", "info", "made", "--ep", "8"],
         ["simulate", "--trace", "made", "--ep", "8", "--tokens", "8", "--json"],
         ["trace", "export", "made", "--matrix", "dispatch", "--ep", "8", *["--tokens", "8"] * ("256" in flags)],
         ["layout", "make", "eplb", "--trace", "made", "--ep", "8", "--redundant", "8"]])
    return Question("trace make", [[*make, "-o", "made"], then])


IMPORTED = rows("""
vllm-u1.npy
vllm-u2.npy
vllm-i2.npy
vllm-i4.npy
vllm-u1.npy second.npy
vllm.json
vllm-lists.json
vllm.b64
sglang.json
sglang.b64
sglang.i32
stored.npz
deflated.npz
moe-layers.npy
per-request.json
counts.npy
logical-count.json
load-history.json
trtllm
trtllm-raw
""")


def trace_import(rng):
    data = "tests/data/import/"
    files = rng.choice(IMPORTED)
    counts = any(word in files[0] for word in ("counts", "count.", "load", "trtllm"))
    flags = maybe(rng, 0.85, "--model", data + "model.yaml") + maybe(rng, 0.4, "--order", "positions", "--ep",
                                                                     rng.choice([2, 4]))
    flags += maybe(rng, 0.6 if counts else 0.03, "--tokens", rng.choice([4, 16])) + maybe(rng, 0.2, "--seed", 5)
    flags += maybe(rng, 0.8 if files[0].startswith("sglang.") else 0.03, "--shape",
                   rng.choice(["4,2", "5,4,2", "15,4,2", "3,2"]))
    flags += maybe(rng, 0.2, "--source", "someone's own") + maybe(rng, 0.2, "--licence", "CC0")
    line = ["trace", "import", *(data + i for i in files), *flags, "-o", "imported"]
    return Question("trace import", [line, ["trace", "info", "imported", "--ep", "2", "--json"]])


def trace_export(rng):
    cut = ["--ep", str(rng.choice([4, 8])), "--tokens", str(rng.choice([8, 16]))]
    if rng.random() < 0.5:
        flags = maybe(rng, 0.6, "--layer", rng.randrange(6)) + maybe(rng, 0.4, "--step", rng.randrange(4))
        flags += ["--matrix", rng.choice(["dispatch", "combine"]), *cut]
        flags += maybe(rng, 0.6, "--dispatcher", rng.choice(OF_LAYERS)) + maybe(rng, 0.4, "--model", "deepseek-v3")
        then = ["estimate", "--traffic", "part", "--ep", cut[1]]
    else:
        flags = maybe(rng, 0.6, "--layer", rng.choice(["1", "1,4", "0..2"])) + maybe(rng, 0.3, "--rows", "0..255")
        flags += maybe(rng, 0.4, "--step", rng.choice(["0", "2,3"]), *cut)
        then = ["trace", "info", "part"]
    return Question("trace export", [["trace", "export", TRACE, *flags, "-o", "part"], then])


def layout(rng):
    verb = rng.choice(["make", "make", "compare", "compare", "inspect", "import", "export"])
    ep = str(rng.choice([4, 8, 16, 32]))
    common = [
        "--trace", TRACE, "--ep", ep, "--layer",
        rng.choice(["1", "1,3"]), "--search-steps", "200", *maybe(rng, 0.6, "--redundant", rng.choice([8, 16, 32])),
        *maybe(rng, 0.4, "--model", "deepseek-v3"), *maybe(rng, 0.3, "--plan-on", rng.choice(["0..0.5", "0.2..0.7"])),
        *maybe(rng, 0.3, "--seed", 4), *maybe(rng, 0.3, "--dispatcher", rng.choice(OF_LAYERS))
    ]
    rules = ["contiguous", "random", "greedy", "eplb", "eplb-global", "search"]
    if verb == "make":
        make = [
            "layout", "make",
            rng.choice(rules), *common, *maybe(rng, 0.3, "--format", "sglang"), "-o", "made.yaml"
        ]
        then = rng.choice([["layout", "inspect", "made.yaml", "--ep", ep],
                           ["layout", "export", "made.yaml", "--ep", ep],
                           ["simulate", "--layout", "made.yaml", "--ep", ep, "--tokens", "16"]])
        return Question("layout make", [make, then])
    if verb == "compare":
        flags = (maybe(rng, 0.8, "--engine", "estimate") + ["--tokens", str(rng.choice([4, 8]))] +
                 output(rng, ["layouts"]))
        return Question("layout compare",
                        [["layout", "compare", *rng.sample(rules, rng.choice([0, 2, 3])), *common, *flags]])
    flags = ["--ep", rng.choice(["32", "32", "16", "8"])] + maybe(rng, 0.3, "--model", "deepseek-v3")
    flags += (output(rng, ["layout"]) if verb == "inspect" else maybe(rng, 0.5, "--format",
                                                                      rng.choice(["trtllm", "sglang"])))
    return Question(f"layout {verb}", [["layout", verb, LAYOUT, *flags]])


def plot(rng):
    figure = rng.choice(FIGURES)
    flags = ["--tsv", figure, "-o", "rows.tsv"]
    if figure in ("ranks", "traffic"):
        first = [
            rng.choice(["simulate", "estimate"]), "--ep",
            str(rng.choice([2, 8, 16])), "--tokens",
            str(rng.randint(1, 64))
        ]
    elif figure == "compare":
        first = ["compare", "--ep", "8", "--tokens", rng.choice(["16,64", "1..64:log"]), "--measured", SMALL]
    elif figure == "accuracy-rows":
        first = ["accuracy", rng.choice([SMALL, "study/measured/h800-cx7.csv"]), "--engine", "estimate"]
    else:
        first = ["replay", *from_trace(rng, "list"), "--ep", "8", "--tokens", "16", "--engine", "estimate"]
    return Question(
        "plot", [[*first, *flags], ["plot", "rows.tsv", "-o",
                                    rng.choice(["figure.svg", "figure.svg", "figure.png"])]])


def show(rng):
    part = rng.choice(["model", "cluster", "dispatcher", "dispatcher", "all", "all"])
    flags = [
        "--dispatcher",
        rng.choice(DISPATCHERS), "--cluster",
        rng.choice(CLUSTERS), "--model",
        rng.choice(MODELS)
    ]
    command = rng.choice(["simulate", "simulate", "estimate", "compare", "replay"])
    if command == "replay":
        flags = flags[:4] + ["--trace", TRACE]
    if flags[1] in OF_MATRICES:
        command = "estimate"
        flags = flags[:4] + ["--traffic", "ring:1MiB"]
    line = [command, *flags, "--ep", "8", "--show", part]
    if part != "dispatcher" or command == "replay" or rng.random() < 0.5:
        return Question("show", [line])
    # What it shows is a file that says the same.
    return Question("show", [[*line, "-q", "-o", "shown.yaml"],
                             ["estimate", *flags[2:], "--dispatcher", "shown.yaml", "--ep", "8", "--json"]])


def help_page(rng):
    command = rng.choice(COMMANDS)
    return Question("help", [rng.choice([["help", *command.split()], [*command.split(), "--help"]])])


# ---- wrong ones --------------------------------------------------------------------------------


def wrong_line(rng):
    """A right command line with one thing broken."""
    base = rng.choice([
        lambda r: layer_question(r, "simulate"), lambda r: layer_question(r, "estimate"), compare, replay, accuracy,
        trace_export, layout, trace_make
    ])(rng)
    line = list(base.lines[0])
    at = rng.randrange(1, len(line))
    word = line[at]
    breakage = rng.randrange(6)
    if breakage == 0:
        line[at] = word[:-1]
    elif breakage == 1:
        line[at] = word + rng.choice(["x", "0", ":", ",", "=1"])
    elif breakage == 2:
        line[at] = rng.choice(
            ["", "-1", "0", "1e99", "nan", "no-such-thing", "1..", "64KiB", "--", "./x", "\x1b[1m"])
    elif breakage == 3:
        del line[at]
    elif breakage == 4:
        line.insert(
            at,
            rng.choice(["--ep", "--measured", "--json", "--tsv", "--between", "--rows", "--show", "--xyzzy", "more"]))
    else:
        i = rng.randrange(max(1, len(word)))
        line[at] = word[:i] + rng.choice("abz-9") + word[i + 1:]
    return Question("wrong line", [line])


# What is spoilt, its name in the folder, and the command line that reads it there.
WRONG_FILES = rows("""
model/presets/models/deepseek-v3.yaml x.yaml simulate --ep 8 --tokens 8 --model x.yaml
tests/data/config/deepseek-v3.json x.json simulate --ep 8 --tokens 8 --model x.json
model/presets/clusters/h800-cx7.yaml x.yaml estimate --ep 8 --tokens 8 --cluster x.yaml
model/presets/dispatchers/deepep-ll.yaml x.yaml estimate --ep 8 --tokens 8 --dispatcher x.yaml
model/presets/dispatchers/deepep-normal.yaml p/dispatchers/deepep-normal.yaml estimate --ep 8 --tokens 300 --presets p
model/presets/recipes/zipf.yaml x.yaml trace make x.yaml --layer 0 --tokens 64 -o made
tests/data/measured-small.csv x.csv accuracy x.csv --engine estimate
tests/data/measured-steps.csv x.csv compare --ep 8 --trace traces/minimoe-256e --tokens 32 --measured x.csv
tests/data/nccl-tests/alltoall-1x8.txt x.txt accuracy x.txt --cluster 1x8:nvlink_effective=330GB/s --engine estimate \
  --tsv accuracy-rows
real/results/h100-x4/probe.tsv x.tsv accuracy x.tsv --cluster 1x4:nvlink_effective=330GB/s --engine estimate --tsv accuracy-rows
tests/data/traffic/incast-8.txt x.txt simulate --traffic x.txt --cluster 1x8:nvlink_effective=160GB/s
tests/data/layout/trtllm-ep32.yaml x.yaml layout inspect x.yaml --ep 32
study/fits/nccl-tests.yaml x.yaml calibrate tests/data/nccl-tests/alltoall-1x8.txt --fit x.yaml \
  --cluster 1x8:name=mine,nvlink_effective=330GB/s,nic_effective=44GB/s
tests/data/import/vllm.json x.json trace import x.json --model tests/data/import/model.yaml -o imported
tests/data/import/load-history.json x.json trace import x.json --model tests/data/import/model.yaml --ep 2 -o imported
tests/data/import/vllm-u1.npy x.npy trace import x.npy --model tests/data/import/model.yaml -o imported
tests/data/import/stored.npz x.npz trace import x.npz --model tests/data/import/model.yaml -o imported
tests/data/import/trtllm/meta_info.json x/meta_info.json trace import x -o imported
""")


def spoil(rng, data):
    """The same bytes with one line, number or byte wrong."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    breakage = rng.randrange(6)
    if breakage == 0:
        return b"".join(lines[:at] + lines[at + 1:])
    if breakage == 1:
        return b"".join(lines[:at + 1] + lines[at:])
    if breakage == 2:
        return data[:rng.randrange(len(data))]
    i = rng.randrange(len(lines[at]))
    if breakage == 3:
        spoilt = lines[at][:i] + bytes([rng.choice(b"x-9.,:{[#\"\t \x00\xff")]) + lines[at][i:]
    elif breakage == 4:
        spoilt = lines[at][:i] + lines[at][i + 1:]
    else:
        spoilt = bytes(
            rng.choice(b"0123456789") if c in b"0123456789" and rng.random() < 0.5 else c for c in lines[at])
    return b"".join(lines[:at] + [spoilt] + lines[at + 1:])


def wrong_file(rng):
    source, name, *line = rng.choice(WRONG_FILES)
    return Question("wrong file", [line], {name: spoil(rng, (ROOT / source).read_bytes())})


WEIGHTS = [(8, lambda r: layer_question(r, "simulate")), (6, lambda r: layer_question(r, "estimate")), (4, compare),
           (4, replay), (4, accuracy), (2, diagnose), (3, calibrate), (2, trace_info), (3, trace_make), (4, trace_import),
           (3, trace_export), (5, layout), (2, plot), (4, show), (2, help_page), (5, wrong_line), (6, wrong_file)]


def questions(count, seed):
    """`count` of them, a sixth with --timeline (50 of 300), in an order that has all kinds early."""
    rng = random.Random(seed)
    makers = [maker for _, maker in WEIGHTS]
    weights = [weight for weight, _ in WEIGHTS]
    asked = []
    for i in range(count):
        if i % 6 == 5:
            asked.append(replay(rng, True) if i % 24 == 23 else layer_question(rng, "simulate", True))
        elif i < len(makers):
            asked.append(makers[i](rng))
        else:
            asked.append(rng.choices(makers, weights)[0](rng))
    return asked


def every_preset():
    """What --show prints of each built-in file, those of one GPU or cluster alone (NAME@CLUSTER) on it."""
    asked = [["estimate", "--model", name, "--ep", "8", "--show", "model"] for name in MODELS]
    for name in CLUSTERS:
        asked.append(["estimate", "--cluster", name, "--ep", "8", "--show", "cluster"])
    asked += [["trace", "make", name, "--show"] for name in RECIPES]
    machines = {
        "h800": "h800-cx7", "h200": "h200-nvl8", "a100": "a100-nvl8", "b200": "b200-nvl8", "b300": "b300-nvl8",
        "gb200": "gb200-nvl8"
    }
    for path in sorted((ROOT / "model/presets/dispatchers").glob("*.yaml")):
        name, _, place = path.stem.partition("@")
        asked.append([
            "estimate", "--dispatcher", name, "--cluster",
            machines.get(place, place) or "h100-cx7", "--ep", "8",
            *["--traffic", "ring:1MiB"] * (name in OF_MATRICES), "--show", "dispatcher"
        ])
    return [Question("show", [line]) for line in asked]


def real_questions(count, seed):
    """(ranks, arguments) of epsim-real over MPI, a few ranks each."""
    rng = random.Random(seed)
    asked = []
    for i in range(count):
        nodes, gpus = rng.choice([(1, 2), (1, 4), (2, 2), (2, 4), (3, 2)])
        place = ["--transport", "mpi", "--cluster", f"{nodes}x{gpus}:nvlink_effective=1GB/s,nic_effective=1GB/s"]
        if i % 8 == 7:
            asked.append((nodes * gpus, [
                "probe", *place, "--warmup", "0", "--iterations", "1", "--most", "64KiB", *maybe(rng, 0.3, "--json"),
                "-o",
                rng.choice(["rows.tsv", "rows.csv"])
            ]))
            continue
        flags = [
            "--model", "tests/data/real/tiny.yaml", "--warmup", "0", "--iterations", "1", "--dispatcher",
            rng.choice(["nccl-flat", "nccl-two-stage", "nccl-agrs", "nccl-calls-normal", "nccl-calls-ll", "ll-slots"])
        ]
        flags += ["--tokens", rng.choice(["8", "16,4", "9/0/4", "1..8:log"])] + maybe(
            rng, 0.3, "--seed", rng.randint(1, 9))
        flags += maybe(rng, 0.3, "--trace", TRACE, "--layer", rng.choice(["1", "1,4"]), "--step", "0")
        flags += maybe(rng, 0.2, "--routing", "uniform") + maybe(rng, 0.2, "--layout", "round-robin")
        flags += maybe(rng, 0.2, "--write-trace", "trace") + maybe(rng, 0.3, "--timeline", "timeline.json")
        flags += maybe(rng, 0.1, rng.choice(["--tolerance", "--ep", "--step"]), "1e-12")
        asked.append((nodes * gpus, [*place, *flags, *maybe(rng, 0.6, "--json"), "-o",
                                     rng.choice(["rows.csv", "-"])]))
    return asked

#!/usr/bin/env python3
"""Whether two builds of epsim give the same bytes. A developer's tool, outside make test: it needs Python 3.9.

usage: tests/same_answers.py OLD NEW [-n 300] [--seed 1] [--real OLD_REAL NEW_REAL [--real-n 24]] [--tree DIR] [--list]

Asks both programs the same random questions (tests/same_questions.py), all of tests/golden/*.cmd and every preset, each
in a scratch folder of its own, and compares standard output, standard error, exit code and every file written. The
version, the program's path and the folder's path are replaced by constants first; a timeline is compared event by
event. epsim-real runs over MPI: names, bytes and choices must agree; times do not. Exit 1: there is a difference."""

import argparse
import collections
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import same_questions

ROOT = Path(__file__).resolve().parent.parent
LINKS = ["traces", "tests", "study", "real", "model", "plots"]  # what questions read, by these names
LIMIT_S = 120
SHOWN = 8  # differences of a command that are printed in full

# What may differ, and why. Everything else is a difference.
EXCEPTIONS = {
    "source": "a `source:` text that --show prints: where provenance is written down, its words may change",
    "key": "a key that --show dispatcher (or all), or config.dispatcher of JSON, had and no longer has: its cost model "
           "does not use it",
    "fit": "a fitted value's provenance in files that calibrate --write makes: "
           "{value, fit, rows, stderr_pct} for prose; and the comment above it"
}


class Program:
    """A binary, and the words in its answers that differ from another's by right."""

    def __init__(self, path, version=None):
        self.path = str(Path(path).resolve())
        self.version = (version or subprocess.run([self.path, "--version"], capture_output=True, text=True,
                                                  check=True).stdout.split()[1])

    def plain(self, data, folder):
        for mine, constant in ((self.path, "PROGRAM"), (str(folder), "FOLDER")):
            data = data.replace(mine.encode(), constant.encode())
        # Only where a version stands: that of a build without git is `unknown`.
        return re.sub(rb'((?:epsim|version)"?:? "?)' + re.escape(self.version.removesuffix("-dirty").encode()) +
                      rb"(?:-dirty)?", rb"\1VERSION", data)


def environment(program):
    return {
        **os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C", "EPSIM": program.path, "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"
    }


def answer(program, lines, files):
    """What the command lines print and write: {what: bytes}, in a folder made for them."""
    with tempfile.TemporaryDirectory(prefix="epsim-") as name:
        folder = Path(name).resolve()
        for link in LINKS:
            (folder / link).symlink_to(ROOT / link)
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        said = {}
        for i, line in enumerate(lines):
            step = f"line {i + 1}: " if len(lines) > 1 else ""
            try:
                run = subprocess.run(line, cwd=folder, env=environment(program), capture_output=True,
                                     stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
                said[step + "exit code"] = str(run.returncode).encode()
                said[step + "stdout"] = program.plain(run.stdout, folder)
                said[step + "stderr"] = program.plain(run.stderr, folder)
            except subprocess.TimeoutExpired:
                said[step + "exit code"] = f"none within {LIMIT_S} s".encode()
        for path in sorted(folder.rglob("*")):
            if not path.is_symlink() and path.is_file() and str(path.relative_to(folder)) not in files:
                said[f"file {path.relative_to(folder)}"] = program.plain(path.read_bytes(), folder)
        return said


# ---- what --show prints, but for the exceptions ------------------------------------------------

SOURCED = re.compile(rb'^(\w+): (?:\{value: (.*?)(?:, source: "((?:[^"\\]|\\.)*)")?\}|(.*))$')


def shown_parts(data):
    """Per line: (section, key, value, source), or (section, None, line, None) of another one."""
    section = b""
    for line in data.splitlines():
        match = SOURCED.match(line)
        if line.startswith(b"# ") and not line.startswith(b"# ----"):
            section = line[2:]
        if match and section:
            key, value, source, bare = match.groups()
            yield section, key, bare if value is None else value, source or b""
        else:
            yield section, None, line, None


def without_exceptions(old, new, excused):
    """Both texts as lists of (section, key, value) that must be equal; adds to `excused` what may differ."""
    old_parts, new_parts = list(shown_parts(old)), list(shown_parts(new))
    sources = {(s, k): source for s, k, _, source in old_parts if k}
    for section, key, _, source in new_parts:
        if key and sources.get((section, key), source) != source:
            before = sources[section, key].decode(errors="replace")
            changed = f"{key.decode()}: '{before}' -> '{source.decode(errors='replace')}'"
            excused["source"][changed] = excused["source"].get(changed, 0) + 1
    stay = {(s, k) for s, k, _, _ in new_parts if k}
    law = next((v.decode() for s, k, v, _ in old_parts if s == b"dispatcher" and k == b"law"), "?")
    kept = []
    for section, key, value, _ in old_parts:
        if key and section == b"dispatcher" and (section, key) not in stay:
            gone = f"{key.decode()} (law {law})"
            excused["key"][gone] = excused["key"].get(gone, 0) + 1
        else:
            kept.append((section, key, value))
    return kept, [part[:3] for part in new_parts]


# ---- JSON, but for keys of config.dispatcher ---------------------------------------------------

MEMBER = re.compile(rb'^   "(\w+)": (.*?),?$')


def dispatcher_members(lines):
    """(first, end) of the lines between the braces of config.dispatcher; (0, 0) where there is none."""
    for config, line in enumerate(lines):
        if line == b' "config": {':
            end = next((i for i in range(config, len(lines)) if lines[i] in (b" }", b" },")), len(lines))
            if b'  "dispatcher": {' in lines[config:end]:
                first = lines.index(b'  "dispatcher": {', config, end) + 1
                last = next((i for i in range(first, end) if not MEMBER.match(lines[i])), first)
                return first, last
    return 0, 0


def without_gone_members(old, new, excused):
    """Both documents as lines, those members of the old config.dispatcher left out that the new one has not; adds to
    `excused` which. Commas between members do not count."""
    (old_first, old_end), (new_first, new_end) = dispatcher_members(old), dispatcher_members(new)
    if not old_first or not new_first:
        return old, new
    old_members, new_members = ([MEMBER.match(line).groups() for line in lines[first:end]]
                                for lines, first, end in ((old, old_first, old_end), (new, new_first, new_end)))
    stay = {key for key, _ in new_members}
    law = dict(old_members).get(b"law", b"?").decode()
    kept = []
    for key, value in old_members:
        if key in stay:
            kept.append((key, value))
        else:
            gone = f"{key.decode()} (law {law.strip(chr(34))}, JSON, was {value.decode()})"
            excused["key"][gone] = excused["key"].get(gone, 0) + 1
    return old[:old_first] + kept + old[old_end:], new[:new_first] + new_members + new[new_end:]


# ---- files of calibrate --write, but for the form of provenance --------------------------------

FITTED_PROSE = re.compile(rb'^(\w+: )\{value: (.*?), source: "fitted to (\d+) rows?: epsim calibrate .*; '
                          rb'(?:standard error (\S+) %|((?:loose|at bound): [^;"]*))"\}$')
FITTED_DATA = re.compile(rb'^(\w+: )\{value: (.*?), fit: ".*?", rows: (\d+)(?:, stderr_pct: ([^\s,}]+))?'
                         rb'(?:, only: "?[^,}]*)?(?:, seed: \d+)?(?:, from_us: [^,}]*)?(?:, source: "([^"]*)")?\}$')
FITTED_BY = re.compile(rb'^source: "epsim calibrate .*"$')


def fitted_parts(data, prose):
    """Lines, provenance of fitted values as (key, value, rows, standard error, remark) in both forms."""
    parts = []
    for line in data.split(b"\n"):
        match = (FITTED_PROSE if prose else FITTED_DATA).match(line)
        if line.startswith(b"# What a fit found"):
            parts.append(b"ABOUT")
        elif prose and FITTED_BY.match(line):
            parts.append(b"DATA")
        elif not prose and line.startswith(b'data: "'):
            parts.append(b"DATA")
        elif not prose and parts and parts[-1] == b"DATA" and re.match(rb"(only|seed|from_us): ", line):
            pass
        else:
            parts.append(match.groups() if match else line)
    return parts


# ---- comparing ---------------------------------------------------------------------------------


def first_difference(old, new):
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b:
            return f"{i + 1}: old: {a!r}\n      {' ' * len(str(i + 1))}  new: {b!r}"
    return f"old has {len(old)} lines or events, new {len(new)}"


def events(data):
    return json.loads(data)["traceEvents"]


def is_shown(lines, what):
    """Whether that output is what --show printed."""
    number = int(what.split(":")[0][5:]) - 1 if what.startswith("line ") else 0
    return ("--show" in lines[number] and "trace" not in lines[number][1:2] and
            (what.endswith("stdout") or what in ("file shown.yaml", "file out.txt")))


def differences(question, old, new, excused):
    found = []
    for what in sorted(old.keys() | new.keys()):
        a, b = old.get(what), new.get(what)
        if a == b:
            continue
        if a is None or b is None:
            found.append(f"{what}: only from {'new' if a is None else 'old'}")
        elif question.timeline and what == f"file {question.timeline}":
            found.append(f"{what}: event {first_difference(events(a), events(b))}")
        elif is_shown(question.lines, what):
            a, b = without_exceptions(a, b, excused)
            if a != b:
                found.append(f"{what}: {first_difference(a, b)}")
        elif question.label == "calibrate" and re.match(r"file .*\.yaml$", what):
            a, b = fitted_parts(a, True), fitted_parts(b, False)
            excused["fit"]["files"] = excused["fit"].get("files", 0) + 1
            if a != b:
                found.append(f"{what}: {first_difference(a, b)}")
        else:
            a, b = a.split(b"\n"), b.split(b"\n")
            if a[0] == b"{":
                a, b = without_gone_members(a, b, excused)
            if a != b:
                found.append(f"{what}: {first_difference(a, b)}")
    return found


# ---- epsim-real: all but the times -------------------------------------------------------------

TIMED = re.compile(r".*_us$|^(GBps|GFLOPS|ts|dur)$")


def timeless_json(value):
    if isinstance(value, dict):
        return {k: "TIME" if TIMED.match(k) else timeless_json(v) for k, v in value.items()}
    return [timeless_json(v) for v in value] if isinstance(value, list) else value


def timeless(data):
    """Text without times: columns of a table by their names, members of a JSON document by theirs."""
    try:
        return json.dumps(timeless_json(json.loads(data)), indent=1).splitlines()
    except ValueError:
        pass
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return data
    head = next((line for line in lines if not line.startswith("#") and re.search(r"_us\b", line)), "")
    rows = [line.split() for line in lines]
    for mark in "\t,":
        if mark in head:
            rows = list(csv.reader(lines, delimiter=mark))
    timed = next(([bool(TIMED.match(name)) for name in row] for row, line in zip(rows, lines) if line == head), [])
    return [["TIME" if len(row) == len(timed) and timed[i] else cell for i, cell in enumerate(row)] for row in rows]


def real_differences(old, new):
    found = []
    for what in sorted(old.keys() | new.keys()):
        a, b = (timeless(said.get(what, b"absent")) for said in (old, new))
        if a != b:
            lists = isinstance(a, list) and isinstance(b, list)
            found.append(f"{what}: {first_difference(a, b) if lists else f'old: {a!r} new: {b!r}'}")
    return found


def mpirun(program, ranks, arguments):
    return [
        "mpirun", "-q", "--oversubscribe", "--mca", "btl", "self,vader", "-n",
        str(ranks), program.path, *arguments
    ]


# ---- all of it ---------------------------------------------------------------------------------


class Report:
    """Counts by command, and the differences as they are found."""

    def __init__(self):
        self.asked = collections.Counter()
        self.exits = collections.defaultdict(collections.Counter)
        self.different = collections.Counter()
        self.excused = {name: {} for name in EXCEPTIONS}

    def add(self, label, lines, old, found):
        self.asked[label] += 1
        self.exits[label].update(v.decode() for k, v in old.items() if k.endswith("exit code"))
        if not found:
            return
        self.different[label] += 1
        if self.different[label] <= SHOWN:
            print(f"DIFFERS ({label}): " + " && ".join(shlex.join(line) for line in lines))
            for text in found:
                print("    " + text)
            sys.stdout.flush()

    def summary(self):
        print("\ncommand          questions  differ  exit codes (times)")
        for label in sorted(self.asked):
            codes = ", ".join(f"{code} ({n})" for code, n in sorted(self.exits[label].items()))
            print(f"{label:<16} {self.asked[label]:9}  {self.different[label]:6}  {codes}")
        for name, why in EXCEPTIONS.items():
            print(f"\nexcepted, {why}: {len(self.excused[name])}")
            for text, times in sorted(self.excused[name].items()):
                print(f"    {text} ({times} times)")
        total = sum(self.different.values())
        print(f"\n{sum(self.asked.values())} questions, {total} differ")
        return total


def ask_all(programs, asked, report):
    for question in asked:
        old, new = (answer(p, [[p.path, *line] for line in question.lines], question.files) for p in programs)
        report.add(question.label, [["epsim", *line] for line in question.lines], old,
                   differences(question, old, new, report.excused))


def ask_golden(programs, report):
    for path in sorted((ROOT / "tests/golden").glob("*.cmd")):
        words = path.read_text().split()
        question = same_questions.Question("golden", [["sh", str(path)]])
        old, new = (answer(p, question.lines, {}) for p in programs)
        # --show stands in the file.
        question.lines = [words[1:] if "--show" in words else question.lines[0]]
        report.add("golden", [["sh", f"tests/golden/{path.name}"]], old,
                   differences(question, old, new, report.excused))


def ask_real(programs, asked, report):
    for ranks, arguments in asked:
        old, new = (answer(p, [mpirun(p, ranks, arguments)], {}) for p in programs)
        report.add("epsim-real", [["mpirun", "-n", str(ranks), "epsim-real", *arguments]], old,
                   real_differences(old, new))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("-n", type=int, default=300, help="random questions [300]")
    parser.add_argument("--seed", type=int, default=1, help="of the questions [1]")
    parser.add_argument("--real", nargs=2, metavar=("OLD_REAL", "NEW_REAL"), help="epsim-real's two builds")
    parser.add_argument("--real-n", type=int, default=24, help="runs of epsim-real [24]")
    parser.add_argument("--tree", type=Path, help="where the questions' files are [this tree]")
    parser.add_argument("--list", action="store_true", help="print the questions and ask none")
    options = parser.parse_args()
    if options.tree:
        global ROOT
        ROOT = same_questions.ROOT = options.tree.resolve()
    asked = same_questions.questions(options.n, options.seed)
    if options.list:
        for question in asked:
            print(f"{question.label:<15}", " && ".join(shlex.join(["epsim", *line]) for line in question.lines))
        return 0
    report = Report()
    programs = [Program(options.old), Program(options.new)]
    ask_golden(programs, report)
    ask_all(programs, same_questions.every_preset() + asked, report)
    sys.stdout.flush()
    if options.real:
        # Of the same builds as the two beside them.
        reals = [Program(path, beside.version) for path, beside in zip(options.real, programs)]
        ask_real(reals, same_questions.real_questions(options.real_n, options.seed), report)
    return 1 if report.summary() else 0


if __name__ == "__main__":
    sys.exit(main())

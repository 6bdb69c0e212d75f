#!/usr/bin/env python3
"""A shared library whose fat binaries hold device code for one GPU architecture alone.

usage: python3 real/one_arch.py --arch 90 LIBRARY OUT     writes OUT, of the same size, with the rest as zeros
       python3 real/one_arch.py --list LIBRARY            says what there is, by architecture

Libraries of CUDA hold the same kernels for every GPU. Whoever sends one to a host whose GPUs are known can leave out
the rest: zeros compress to nothing. Payloads alone are zeroed. Headers stay, so the driver walks the containers as
before and takes the entry for its GPU, which is untouched.

The sections SECTIONS hold containers, one after the other (little-endian, as fatbinary writes them):
    u32 magic 0xBA55ED50, u16 version 1, u16 size of this header, u64 size of the entries that follow
and each entry, whose payload may be compressed:
    u16 kind (1 PTX, 2 SASS), u16 version, u32 size of this header, u64 size of the payload, 12 bytes,
    u32 architecture (90: sm_90), 8 bytes, u64 flags, ...
"""
import argparse
import collections
import os
import shutil
import struct
import sys

SECTIONS = (b".nv_fatbin", b"__nv_relfatbin")
MAGIC = 0xBA55ED50
CONTAINER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ12xI8xQ")
PTX, SASS = 1, 2
EXACT = 1 << 20  # of flags: sm_100a and the like, which runs on that very architecture

Entry = collections.namedtuple("Entry", "kind arch flags begin size")


class Refused(Exception):
    """What was given is not as expected: one line."""


def section_ranges(library):
    """(offset, size) of the sections with fat binaries in a 64-bit little-endian ELF file."""
    if library[:6] != b"\x7fELF\x02\x01":
        raise Refused("expected a shared library, ELF of 64 bits")
    table, = struct.unpack_from("<Q", library, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", library, 0x3A)
    if table + count * entry_size > len(library):
        raise Refused("cut short: its table of sections lies behind its end")
    headers = [struct.unpack_from("<IIQQQQ", library, table + i * entry_size) for i in range(count)]
    names = headers[names_index][4] if headers else 0
    for name, _, _, _, offset, size in headers:
        text = bytes(library[names + name:library.index(b"\0", names + name)])
        if text in SECTIONS:
            yield offset, size


def entries_of(library, begin, end):
    """The entries of one container between two offsets."""
    while begin < end:
        kind, _, header, size, arch, flags = ENTRY.unpack_from(library, begin)
        if header < ENTRY.size or begin + header + size > end:
            raise Refused(f"byte {begin}: an entry of a fat binary leaves its container")
        yield Entry(kind, arch, flags, begin + header, size)
        begin += header + size


def containers(library):
    """A list of entries for each container."""
    for offset, size in section_ranges(library):
        end = offset + size
        while offset < end:
            magic, version, header, entries = CONTAINER.unpack_from(library, offset)
            first = offset + header
            if (magic, version) != (MAGIC, 1) or header < CONTAINER.size or first + entries > end:
                raise Refused(f"byte {offset}: expected a fat binary of version 1")
            yield list(entries_of(library, first, first + entries))
            offset = first + entries


def runs_on(entry, arch):
    """Whether a GPU of arch runs this SASS: its own, or of the same major architecture and older."""
    older = entry.arch < arch and entry.arch // 10 == arch // 10 and not entry.flags & EXACT
    return entry.kind == SASS and (entry.arch == arch or older)


def is_needed(entry, container, arch):
    """Whether the driver may take this entry on a GPU of arch. PTX is compiled where no SASS is the GPU's own."""
    if entry.kind == SASS:
        return runs_on(entry, arch)
    if entry.kind == PTX:
        return entry.arch <= arch and not any(other.kind == SASS and other.arch == arch for other in container)
    return True  # a kind that this does not know is kept


def zero_others(library, arch):
    """Zeroes in place what a GPU of arch does not need. Returns entries and bytes, kept and in all."""
    found = list(containers(library))
    every = [entry for container in found for entry in container]
    if not any(runs_on(entry, arch) for entry in every):
        there = sorted({entry.arch for entry in every if entry.kind == SASS})
        if not there:
            raise Refused("no device code in it")
        raise Refused(f"no code for sm_{arch}: it has code for {' '.join(f'sm_{a}' for a in there)}")
    kept = []
    for container in found:
        for entry in container:
            if is_needed(entry, container, arch):
                kept.append(entry)
            else:
                library[entry.begin:entry.begin + entry.size] = bytes(entry.size)
    return [(len(entries), sum(entry.size for entry in entries)) for entries in (kept, every)]


def read(path):
    with open(path, "rb") as file:
        return bytearray(file.read())


def write(path, library, mode_from):
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(library)
        shutil.copymode(mode_from, temporary)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def print_list(library):
    totals = {}
    for container in containers(library):
        for entry in container:
            kind = {PTX: "compute", SASS: "sm"}.get(entry.kind, f"kind{entry.kind}")
            key = entry.arch, f"{kind}_{entry.arch}{'a' if entry.flags & EXACT else ''}"
            entries, size = totals.get(key, (0, 0))
            totals[key] = entries + 1, size + entry.size
    for (_, name), (entries, size) in sorted(totals.items()):
        print(f"{name}\t{entries} entries\t{size} bytes")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="one_arch", description=__doc__.splitlines()[0])
    parser.add_argument("--arch", type=int, metavar="N", help="keep what runs on sm_N")
    parser.add_argument("--list", action="store_true", help="say what there is, by architecture")
    parser.add_argument("library")
    parser.add_argument("out", nargs="?")
    given = parser.parse_args(arguments)
    if given.list == (given.arch is not None) or given.list == (given.out is not None):
        parser.error("expected --arch N LIBRARY OUT, or --list LIBRARY")
    try:
        library = read(given.library)
        if given.list:
            print_list(library)
            return 0
        (kept, kept_bytes), (every, every_bytes) = zero_others(library, given.arch)
        write(given.out, library, given.library)
    except (Refused, struct.error, ValueError, IndexError) as error:
        what = error if isinstance(error, Refused) else f"damaged: {error}"
        print(f"one_arch: error: {given.library}: {what}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"one_arch: error: {error.filename or given.out}: {error.strerror}", file=sys.stderr)
        return 4 if error.filename != given.library else 2
    print(f"{os.path.basename(given.out)}: sm_{given.arch}: {kept} of {every} entries kept, "
          f"{kept_bytes / 1e6:.1f} of {every_bytes / 1e6:.1f} MB of device code")
    return 0


if __name__ == "__main__":
    sys.exit(main())

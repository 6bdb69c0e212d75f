#!/usr/bin/env python3
"""real/one_arch.py on tiny libraries: what it keeps, what it zeroes, and what it refuses.

usage: python3 tests/one_arch_test.py
"""
import contextlib
import importlib.util
import io
import os
import struct
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
spec = importlib.util.spec_from_file_location("one_arch", os.path.join(ROOT, "real", "one_arch.py"))
one_arch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(one_arch)

PTX, SASS, OTHER = 1, 2, 8
EXACT = 1 << 20


def entry(kind, arch, payload, flags=0x11, header=64):
    head = struct.pack("<HHIQ12xI8xQ", kind, 0x101, header, len(payload), arch, flags)
    return head.ljust(header, b"\1") + payload


def container(*entries):
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(**sections):
    """An ELF file of these sections alone; a dot of a section's name is written as DOT."""
    names = b"\0"
    body = b""
    headers = [bytes(64)]
    for name, data in list(sections.items()) + [("DOTshstrtab", b"")]:
        at = len(names)
        names += name.replace("DOT", ".").encode() + b"\0"
        data = data or names
        headers.append(struct.pack("<IIQQQQ24x", at, 1, 0, 0, 64 + len(body), len(data)))
        body += data
    head = b"\x7fELF\2\1\1".ljust(0x28, b"\0") + struct.pack("<Q", 64 + len(body))
    head = head.ljust(0x3A, b"\0") + struct.pack("<HHH", 64, len(headers), len(headers) - 1)
    return head + body + b"".join(headers)


A_LIBRARY = library(
    DOTtext=b"\x50\xed\x55\xba" * 8,  # the magic as code has it: no container
    DOTnv_fatbin=container(entry(SASS, 80, b"eighty00"), entry(SASS, 90, b"ninety00"), entry(PTX, 120, b"later000"))
    + container(entry(SASS, 100, b"hundred0", header=112), entry(SASS, 90, b"ninety01")),
    __nv_relfatbin=container(entry(SASS, 90, b"ninety02"), entry(PTX, 90, b"source00")),
)


class Pruner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.given = os.path.join(folder.name, "lib.so")
        self.out = os.path.join(folder.name, "out.so")

    def run_it(self, data, *arguments):
        """Exit code, standard output and standard error of the program on a library."""
        with open(self.given, "wb") as file:
            file.write(data)
        said, wrong = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            code = one_arch.main(list(arguments))
        return code, said.getvalue(), wrong.getvalue()

    def pruned(self, data, arch):
        code, _, wrong = self.run_it(data, "--arch", str(arch), self.given, self.out)
        self.assertEqual((code, wrong), (0, ""))
        with open(self.out, "rb") as file:
            return file.read()

    def check_gone(self, data, arch, gone):
        """That these payloads, and nothing else, are zeros after."""
        wanted = data
        for payload in gone:
            self.assertEqual(data.count(payload), 1)
            wanted = wanted.replace(payload, bytes(len(payload)))
        self.assertEqual(self.pruned(data, arch), wanted)

    def test_payloads_of_others_are_zeroed(self):
        self.check_gone(A_LIBRARY, 90, [b"eighty00", b"later000", b"hundred0", b"source00"])

    def test_own_sass_needs_no_ptx(self):
        data = library(DOTnv_fatbin=container(entry(SASS, 90, b"ninety00"), entry(PTX, 90, b"source00")))
        self.check_gone(data, 90, [b"source00"])

    def test_ptx_stays_where_no_sass_is_its_own(self):
        data = library(DOTnv_fatbin=container(entry(SASS, 90, b"ninety00"))
                       + container(entry(SASS, 80, b"eighty00"), entry(PTX, 80, b"source00")))
        self.check_gone(data, 90, [b"eighty00"])
        data = library(DOTnv_fatbin=container(entry(SASS, 80, b"eighty00"), entry(PTX, 80, b"source00")))
        self.check_gone(data, 86, [])

    def test_older_sass_of_the_same_major_stays(self):
        data = library(DOTnv_fatbin=container(
            entry(SASS, 100, b"hundred0"), entry(SASS, 100, b"hundredA", flags=EXACT), entry(SASS, 103, b"family30"),
            entry(SASS, 110, b"hundred1"), entry(SASS, 90, b"ninety00")))
        self.check_gone(data, 103, [b"hundredA", b"hundred1", b"ninety00"])
        self.check_gone(data, 100, [b"family30", b"hundred1", b"ninety00"])

    def test_unknown_kinds_stay(self):
        data = library(DOTnv_fatbin=container(entry(OTHER, 80, b"intermed"), entry(SASS, 90, b"ninety00")))
        self.check_gone(data, 90, [])

    def test_an_absent_architecture_is_one_line(self):
        code, said, wrong = self.run_it(A_LIBRARY, "--arch", "70", self.given, self.out)
        self.assertEqual((code, said), (2, ""))
        self.assertEqual(wrong, f"one_arch: error: {self.given}: no code for sm_70: "
                                "it has code for sm_80 sm_90 sm_100\n")
        self.assertEqual(os.listdir(os.path.dirname(self.out)), ["lib.so"])

    def test_foreign_files_are_refused(self):
        for data, words in ((b"", "expected a shared library"), (b"text", "expected a shared library"),
                            (library(DOTtext=b"code"), "no device code"),
                            (library(DOTnv_fatbin=b"no container, 16 bytes and more"), "expected a fat binary")):
            code, _, wrong = self.run_it(data, "--arch", "90", self.given, self.out)
            self.assertEqual((code, wrong.count("\n")), (2, 1))
            self.assertIn(words, wrong)

    def test_entries_must_stay_in_their_container(self):
        for size in (9, 1 << 40, (1 << 64) - 64):
            broken = bytearray(container(entry(SASS, 90, b"ninety00")))
            struct.pack_into("<Q", broken, 16 + 8, size)
            code, _, wrong = self.run_it(library(DOTnv_fatbin=bytes(broken)), "--arch", "90", self.given, self.out)
            self.assertEqual((code, wrong.count("\n")), (2, 1))
            self.assertIn("leaves its container", wrong)

    def test_cut_files_are_refused(self):
        for length in range(len(A_LIBRARY)):
            code, _, wrong = self.run_it(A_LIBRARY[:length], "--arch", "90", self.given, self.out)
            self.assertEqual((code, wrong.count("\n")), (2, 1), f"cut at {length}")
        self.assertFalse(os.path.exists(self.out))

    def test_list(self):
        code, said, _ = self.run_it(A_LIBRARY, "--list", self.given)
        self.assertEqual(code, 0)
        self.assertEqual(said, "sm_80\t1 entries\t8 bytes\ncompute_90\t1 entries\t8 bytes\nsm_90\t3 entries\t24 bytes\n"
                               "sm_100\t1 entries\t8 bytes\ncompute_120\t1 entries\t8 bytes\n")

    def test_what_cannot_be_written_is_one_line(self):
        code, _, wrong = self.run_it(A_LIBRARY, "--arch", "90", self.given, os.path.join(self.out, "deep.so"))
        self.assertEqual((code, wrong.count("\n")), (4, 1))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Wheels as real/nccl_ep.sh takes them from an index, with tiny libraries; a copy of the script gets their hashes.

usage: python3 tests/tiny_wheels.py FOLDER COPY_OF_NCCL_EP_SH
"""
import hashlib
import os
import re
import sys
import zipfile

from one_arch_test import A_LIBRARY

# The prefix of the constants of a wheel: its package's name, its licence's file, and what it holds.
WHEELS = {
    "EP": ("nccl_extensions", "LICENSE.txt", {
        "nccl/ep/lib/cu13/libnccl_ep.so": A_LIBRARY,
        "nccl/ep/include/nccl_ep.h": b"// of NCCL EP\n",
        "nccl/ep/include/nccl_ep/device/ll_ep.cuh": b"// compiled as it runs\n",
    }),
    "NCCL": ("nvidia_nccl_cu13", "License.txt", {
        "nvidia/nccl/lib/libnccl.so.2": A_LIBRARY,
        "nvidia/nccl/include/nccl.h": b"// of NCCL\n",
    }),
}


def constant(script, name):
    return re.search(rf"^{name}=(.*)$", script, re.MULTILINE).group(1)


def write_wheel(path, package, version, files):
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        about = f"{package}-{version}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\n")


def main():
    folder, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        script = file.read()
    for which, (package, licence, files) in WHEELS.items():
        version = constant(script, f"{which}_VERSION")
        wheel = os.path.join(folder, constant(script, f"{which}_WHEEL").replace(f"${which}_VERSION", version))
        licence_file = f"{package}-{version}.dist-info/licenses/{licence}"
        write_wheel(wheel, package, version, {**files, licence_file: b"the licence\n"})
        with open(wheel, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        script = script.replace(constant(script, f"{which}_SHA256"), digest)
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)


if __name__ == "__main__":
    main()

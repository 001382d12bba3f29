#!/usr/bin/env python3
"""Looks into the objects of src/cpu/isa, each compiled for one instruction set.

1. Symbols: an object may define and need nothing outside its own namespace but other parts of mossrt::cpu and memory
   primitives. A weak std:: function compiled for AVX-512 could be the copy that baseline code gets from the linker.
2. Hot loops: the innermost loop of a register tile that multiplies must not touch the stack (spilled accumulators). For
   integers that is the loop within a group: from group to group the largest tiles do keep their chains on the stack, once
   for 32 and more k. The scalar level, which every processor with vectors passes over, is not judged.

usage: check_isa_objects.py --nm NM --objdump OBJDUMP object...
"""

import argparse
import pathlib
import re
import subprocess
import sys

ALLOWED_CALLS = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}
# The register tiles and their products: floats and bf16 pairs; integers; integers of pairs of rows.
HOT_TILES = (
    (
        re.compile(r"::Tile<.*(F32Weights|F16Weights|Bf16Weights|PairWeights), \d+, \d+>"),
        re.compile(r"\b(vfmadd\w*ps|vdpbf16ps|fmla)\b"),
    ),
    (
        re.compile(r"::Int(Tile|Row)<"),
        re.compile(r"\b(vpdpbusd|vpmaddubsw|vpmaddwd|[us]dot|usdot|smlal2?|smull2?)\b"),
    ),
    (
        re.compile(r"::IntPairTile<"),
        re.compile(r"\busmmla\b"),
    ),
)
# What a level has, if not the first two.
ONLY = {"avx512_vnni": [1], "avx512_bf16": [0], "neon_dotprod": [1], "neon_i8mm": [1, 2]}
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")


def level_of(path):
    return pathlib.Path(path).name.split(".")[0]


def output(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def bad_symbols(nm, path):
    own = f"mossrt::cpu::{level_of(path)}::"
    for line in output([nm, "-C", path]).splitlines():
        match = re.match(r"^[0-9a-f ]*\s([A-Za-z]) (.*)$", line)
        if not match:
            continue
        kind, name = match.groups()
        if kind == "U":
            if name not in ALLOWED_CALLS and not name.startswith("mossrt::cpu::"):
                yield f"{path}: needs {name}"
        elif kind in "WVuBDTCR" and own not in name:
            yield f"{path}: defines {name} ({kind}) outside {own}"


def functions(objdump, path):
    name, body = None, []
    for line in output([objdump, "-d", "-C", "--no-show-raw-insn", path]).splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            if name:
                yield name, body
            name, body = head.group(1), []
            continue
        match = INSTRUCTION.match(line)
        if match:
            body.append((int(match.group(1), 16), match.group(2), match.group(3)))
    if name:
        yield name, body


def hot_loops(body, product):
    """Bodies of innermost loops that multiply: from the target of a backward jump to the jump."""
    loops = []
    for index, (address, operation, operands) in enumerate(body):
        if not re.match(r"^(j|b\.|cbn?z|tbn?z|b$)", operation):
            continue
        target = re.search(r"(?:^|[\s,])(?:0x)?([0-9a-f]+) <", operands)  # llvm-objdump: 0x
        if target and int(target.group(1), 16) <= address:
            start = int(target.group(1), 16)
            loop = [i for i in body[: index + 1] if i[0] >= start]
            if any(product.search(i[1]) for i in loop):
                loops.append(loop)
    return [
        loop
        for loop in loops
        if not any(
            o is not loop and loop[0][0] <= o[0][0] and o[-1][0] <= loop[-1][0] for o in loops
        )
    ]


def spills(objdump, path):
    if level_of(path) == "scalar":
        return
    found = [0] * len(HOT_TILES)
    for name, body in functions(objdump, path):
        for kind, (tile, product) in enumerate(HOT_TILES):
            if not tile.search(name):
                continue
            for loop in hot_loops(body, product):
                found[kind] += 1
                for address, operation, operands in loop:
                    if re.search(r"\(%rsp|\[sp", operands):
                        yield f"{path}: {name} touches the stack in its loop: {address:x} {operation} {operands}"
    for kind in ONLY.get(level_of(path), [0, 1]):
        if found[kind] == 0:
            yield f"{path}: no loop of {HOT_TILES[kind][0].pattern} was found; has its name changed?"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", required=True)
    parser.add_argument("--objdump", required=True)
    parser.add_argument("objects", nargs="+")
    arguments = parser.parse_args()
    objects = [o for o in arguments.objects if "/isa/" in o]
    errors = [] if objects else ["no object of src/cpu/isa was given"]
    for path in objects:
        errors += bad_symbols(arguments.nm, path)
        errors += spills(arguments.objdump, path)
    print("\n".join(errors) if errors else f"{len(objects)} objects are clean")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

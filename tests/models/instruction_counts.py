#!/usr/bin/env python3
"""Instructions of decoding and of reading a prompt, per format, against those that were counted before.

A regression shows here without a clock. Counts are differences of two runs of different lengths, so loading is not in
them. After a change that is meant to change them: instruction_counts.py PROGRAM MODEL COUNTS --write

usage: instruction_counts.py PROGRAM MODEL_DIRECTORY COUNTS.json [--write]
"""

import json
import pathlib
import sys

from callgrind import instructions, require_valgrind

# Compilers of one version and the C library's choice of memcpy differ by less.
TOLERANCE = 0.05
FORMATS = ("float32", "bfloat16", "int8", "int4")
RUNS = {"decode": (2, 6), "prefill": (1, 2)}


def main() -> int:
    program, model, counts_file = sys.argv[1:4]
    require_valgrind()
    counted = {}
    for work, (short, long) in RUNS.items():
        for name in FORMATS:
            few, _ = instructions(program, model, name, work, str(short))
            many, _ = instructions(program, model, name, work, str(long))
            counted[f"{work} {name}"] = round((many - few) / (long - short))
    path = pathlib.Path(counts_file)
    if "--write" in sys.argv:
        path.write_text(json.dumps(counted, indent=2) + "\n")
        return 0
    known = json.loads(path.read_text())
    wrong = 0
    for key, count in counted.items():
        change = count / known[key] - 1
        verdict = "" if abs(change) <= TOLERANCE else "  <- more than the tolerance"
        wrong += bool(verdict)
        print(f"{key:20} {count:12} instructions, {100 * change:+.2f} %{verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""An unused hook costs less than 0.1 % of the instructions of decoding, counted by callgrind.

usage: hook_cost.py PROGRAM MODEL_DIRECTORY

Instructions per token are the difference of two runs of different lengths, so loading is not in them.
Exit code 77: there is no valgrind, or it cannot run this machine's level of instructions.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SHORT, LONG = 8, 40
LIMIT = 1e-3
SKIP = 77


def instructions(program: str, model: str, mode: str, tokens: int) -> tuple[int, int]:
    """Instructions of one run, and how often the hook was called."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={folder}/out",
            program,
            model,
            mode,
            str(tokens),
        ]
        environment = dict(os.environ, MOSSRT_ISA="avx2")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "avx2" in done.stderr and "cannot run" in done.stderr:
        print(f"skipped: {done.stderr.strip().splitlines()[-1]}")
        sys.exit(SKIP)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return int(found.group(1)), int(done.stdout)


def main() -> int:
    program, model = sys.argv[1:]
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed (Debian: apt-get install valgrind)")
        return SKIP
    per_token = {}
    for mode in ("none", "empty", "unused", "used"):
        short, _ = instructions(program, model, mode, SHORT)
        long, calls = instructions(program, model, mode, LONG)
        per_token[mode] = (long - short) / (LONG - SHORT)
        cost = per_token[mode] / per_token["none"] - 1
        print(
            f"{mode:7} {per_token[mode]:12.1f} instructions a token, {100 * cost:+.4f} %, {calls} calls"
        )
        if (calls > 0) != (mode == "used"):
            sys.exit(f"{mode}: the hook was called {calls} times")
        if mode in ("empty", "unused") and cost >= LIMIT:
            sys.exit(
                f"{mode}: costs {100 * cost:.4f} % of decoding, expected less than {100 * LIMIT} %"
            )
    if per_token["used"] <= per_token["none"]:
        sys.exit("a hook that is called costs nothing: the measurement sees nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())

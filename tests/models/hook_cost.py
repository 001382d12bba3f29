#!/usr/bin/env python3
"""An unused hook costs less than 0.1 % of the instructions of decoding, counted by callgrind.

usage: hook_cost.py PROGRAM MODEL_DIRECTORY

Instructions per token are the difference of two runs of different lengths, so loading is not in them.
Exit code 77: there is no valgrind, or it cannot run this machine's level of instructions.
"""

import sys

from callgrind import instructions, require_valgrind

SHORT, LONG = 8, 40
LIMIT = 1e-3


def main() -> int:
    program, model = sys.argv[1:]
    require_valgrind()
    per_token = {}
    for mode in ("none", "empty", "unused", "used"):
        short, _ = instructions(program, model, mode, str(SHORT))
        long, printed = instructions(program, model, mode, str(LONG))
        calls = int(printed)
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

"""One engine in a process of its own.

    python worker.py convert ENGINE VARIANT CHECKPOINT OUT
    python worker.py serve   ENGINE VARIANT ARTIFACT THREADS

`serve` prints one JSON line when the model is loaded, and one for every request on standard input:
a JSON list of a method of the engine and its arguments.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from engines import Run


def own_peak_gib() -> float:
    """High-water mark of this process, mapped files included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status")


def peak_gib(engine: Any) -> float:
    return float(getattr(engine, "peak_rss_gib", None) or own_peak_gib())


def explain(error: Exception) -> dict[str, str]:
    return {"error": f"{type(error).__name__}: {error}"}


def serve(module: Any, run: Run, artifact: Path, threads: int, replies: TextIO) -> None:
    def reply(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=replies, flush=True)

    begin = time.perf_counter()
    try:
        engine = module.Engine(artifact, run.format.options, threads)
    except Exception as error:
        reply(explain(error))
        return
    load_s = getattr(engine, "load_s", time.perf_counter() - begin)
    reply({"load_s": load_s, "rss_gib": peak_gib(engine)})
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            seconds = getattr(engine, method)(*arguments)
            reply({"seconds": seconds, "rss_gib": peak_gib(engine)})
        except Exception as error:
            reply(explain(error))
    if hasattr(engine, "close"):
        engine.close()


def main() -> None:
    mode, engine, variant, source, target = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    run = Run(engine, variant)
    module = importlib.import_module(f"engines.{engine}")
    if mode == "convert":
        module.convert(Path(source), Path(target), run.format.options)
    else:
        serve(module, run, Path(source), int(target), replies)


if __name__ == "__main__":
    main()

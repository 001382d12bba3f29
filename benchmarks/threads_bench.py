"""Decoding where the cores are not one's own: beside a busy process, two models, a quota, too many threads.

Usage: threads_bench.py MODEL [--dtype T] [--rounds N] [--seconds S]

Prints the median speed of each situation and what share that is of the speed it is held against,
round by round. The quota needs permission to make a CPU cgroup; without it that line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import mossrt

CGROUPS = Path("/sys/fs/cgroup")
PERIOD = 100_000  # us


def decode(model: mossrt.Model, seconds: float) -> float:
    """Tokens a second, one at a time, from an empty cache on."""
    with model.session() as session:
        for _ in range(4):
            session.eval(np.array([1]))
        count, start = 0, time.monotonic()
        while (took := time.monotonic() - start) < seconds:
            session.eval(np.array([1]))
            count += 1
    return count / took


def decode_side_by_side(models: list[mossrt.Model], seconds: float) -> float:
    """The slower one's tokens a second."""
    speeds: list[float] = []
    threads = [
        threading.Thread(target=lambda model=model: speeds.append(decode(model, seconds)))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return min(speeds)


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """A process that keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            time.sleep(0.2)
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def quota(cores: float) -> Iterator[None]:
    """This process in a CPU cgroup of its own. Errors: OSError: not allowed here."""
    old = (CGROUPS / "cpu").is_dir()  # version 1
    group = (CGROUPS / "cpu" if old else CGROUPS) / f"threads_bench.{os.getpid()}"
    microseconds = int(cores * PERIOD)
    group.mkdir()
    try:
        if old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(microseconds))
        else:
            (group / "cpu.max").write_text(f"{microseconds} {PERIOD}")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--dtype", default="int4-g64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    counts = {"one": 1, "all": cores, "many": 4 * cores}
    models = {
        name: mossrt.Model.from_pretrained(given.model, dtype=given.dtype, threads=threads)
        for name, threads in counts.items()
    }
    second = mossrt.Model.from_pretrained(given.model, dtype=given.dtype, threads=cores)
    # A title, what it is held against, how it is measured.
    alone, single = f"{cores} threads", "1 thread"

    def beside() -> float:
        with neighbour():
            return decode(models["all"], given.seconds)

    def half() -> float:
        with quota(0.5):
            return decode(models["one"], given.seconds)

    situations: dict[str, tuple[str, Callable[[], float]]] = {
        single: (single, lambda: decode(models["one"], given.seconds)),
        alone: (alone, lambda: decode(models["all"], given.seconds)),
        f"{alone} beside a busy process": (alone, beside),
        "each of two models": (
            alone,
            lambda: decode_side_by_side([models["all"], second], given.seconds),
        ),
        "1 thread, quota of half a core": (single, half),
        f"{counts['many']} threads": (alone, lambda: decode(models["many"], given.seconds)),
    }
    speeds: dict[str, list[float]] = {title: [] for title in situations}
    for _ in range(given.rounds):
        for title, (_, measure) in situations.items():
            try:
                speeds[title].append(measure())
            except OSError as error:
                print(f"{title}: {error}", file=sys.stderr)
    print(f"{given.dtype}, {given.rounds} rounds of {given.seconds:g} s")
    for title, (against, _) in situations.items():
        shares = [a / b for a, b in zip(speeds[title], speeds[against], strict=False)]
        if shares:
            print(
                f"{title:<36} {statistics.median(speeds[title]):8.2f} tokens/s  "
                f"{100 * statistics.median(shares):4.0f} % "
                f"({100 * min(shares):.0f}-{100 * max(shares):.0f}) of {against}"
            )


if __name__ == "__main__":
    main()

"""Rounds in which engines take turns, every sample between two probes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from engines import Run
from environment import Folders
from processes import Probe, Worker
from shapes import SHAPES, Shape

Record = dict[str, Any]

PREFILL = [100 + 37 * i % 20000 for i in range(512)]
METRICS: dict[str, tuple[str, list[Any]]] = {  # method and arguments
    "decode": ("decode", [64]),
    "batch8": ("batch_decode", [8, 16]),
    "prefill512": ("prefill", [PREFILL]),
}


def memory_estimate(run: Run, shape: Shape) -> float:
    """Bytes that an engine may hold at its peak; some keep a packed copy beside the file."""
    weights = shape.layer_weights * run.format.bits + shape.head_weights * (run.format.head + 16)
    copies = 1.1 if run.engine == "mossrt" else 2.2
    return weights / 8 * copies + 1e9


def groups(runs: list[Run], shape: Shape, available: float) -> list[list[Run]]:
    """Runs that are loaded together: of one family, as many as memory allows.

    Ours are in every group of their family, so that each rival has had its turns beside them.
    """
    found = []
    for family in dict.fromkeys(run.format.family for run in runs):
        members = [run for run in runs if run.format.family == family]
        ours = [run for run in members if run.engine == "mossrt"]
        rivals = [run for run in members if run.engine != "mossrt"]
        group = list(ours)
        for run in rivals:
            needed = sum(memory_estimate(member, shape) for member in [*group, run])
            if needed > available and len(group) > len(ours):
                found.append(group)
                group = list(ours)
            group.append(run)
        found.append(group)
    return found


def available_memory() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024.0
    raise RuntimeError("no MemAvailable in /proc/meminfo")


def raise_priority() -> None:
    """As root, a session of its own that the scheduler favours."""
    try:
        os.setsid()
        Path("/proc/self/autogroup").write_text("-19")
    except OSError as error:
        print(f"priority left as it is: {error}", file=sys.stderr)


class Bench:
    """Writes records of samples, loads and failures."""

    def __init__(self, folders: Folders, out: TextIO, rounds: int, threads: int) -> None:
        self.folders = folders
        self.out = out
        self.rounds = rounds
        self.threads = threads

    def emit(self, run: Run, shape: str, metric: str, values: dict[str, Any]) -> None:
        record = {"shape": shape, "engine": run.engine, "variant": run.variant, "metric": metric}
        print(json.dumps({**record, "threads": self.threads, **values}), file=self.out, flush=True)

    def fail(self, run: Run, shape: str, stage: str, reason: object) -> None:
        print(f"{run} {shape}: {stage} failed: {reason}", file=sys.stderr)
        self.emit(run, shape, "failed", {"stage": stage, "reason": str(reason)})

    def attempt(self, run: Run, shape: str, stage: str, work: Callable[[], object]) -> bool:
        """Whether `work` did not fail; if it did, that is on record."""
        try:
            work()
        except Exception as error:  # whatever a rival throws: the others go on
            self.fail(run, shape, stage, error)
            return False
        return True

    def _load(self, run: Run, shape: str) -> Worker | None:
        """An engine that has run everything once, so that every weight and kernel was touched."""
        workers: list[Worker] = []

        def warm() -> None:
            workers.append(Worker(self.folders, run, shape, self.threads))
            for method, arguments in METRICS.values():
                workers[0].measure(method, arguments)

        if self.attempt(run, shape, "loading and warming up", warm):
            self.emit(run, shape, "load", workers[0].loaded)
            return workers[0]
        for worker in workers:
            worker.close()
        return None

    def measure(self, runs: list[Run], shape: str) -> None:
        """All rounds of one group."""
        loaded = [self._load(run, shape) for run in runs]
        workers = [worker for worker in loaded if worker]
        probe = Probe()
        before = probe.take()
        for number in range(self.rounds):
            for worker in list(workers if number % 2 == 0 else reversed(workers)):
                for metric, (method, arguments) in METRICS.items():
                    try:
                        sample = worker.measure(method, arguments)
                    except RuntimeError as error:
                        self.fail(worker.run, shape, f"{metric}, round {number}", error)
                        workers.remove(worker)
                        worker.close()
                        break
                    after = probe.take()
                    values = {"round": number, **sample, "before": before, "after": after}
                    self.emit(worker.run, shape, metric, values)
                    before = after
        for process in [*workers, probe]:
            process.close()

    def run(self, runs: list[Run], shape: str) -> None:
        """Every family, group by group."""
        for group in groups(runs, SHAPES[shape], available_memory()):
            print(f"{shape}: {', '.join(map(str, group))}", file=sys.stderr)
            self.measure(group, shape)

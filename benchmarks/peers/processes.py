"""The probe and the engines, each in a process that answers every line with a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engines import Run
from environment import HERE, SOURCE, Folders

SETTLE_S = 0.3  # lets spinning thread pools go to sleep before the probe
PINNED = {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}  # two spinning threads on two cores


class LineProcess:
    """A child that answers every line on its standard input with one line of JSON."""

    def __init__(self, command: list[str | Path], log: Path | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("a") if log else None,
            text=True,
            bufsize=1,
            env={**os.environ, **PINNED},
        )

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with exit status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise RuntimeError(
                f"the process ended with exit status {self.process.wait()}"
            ) from None
        return self.read()

    def close(self) -> None:
        """Ends the child, by force if it does not end by itself."""
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Probe(LineProcess):
    """What the machine gives at this moment."""

    def __init__(self) -> None:
        super().__init__([SOURCE / "build/release/benchmarks/peers_probe"])

    def take(self) -> dict[str, float]:
        time.sleep(SETTLE_S)
        return self.ask("")


def processor_seconds(pid: int) -> float:
    """Of a process and its children."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


class Worker(LineProcess):
    """An engine with a model of one shape."""

    def __init__(self, folders: Folders, run: Run, shape: str, threads: int) -> None:
        self.run = run
        python = folders.python(run.spec.environment) if run.spec.packages else sys.executable
        command: list[str | Path] = [python, HERE / "worker.py", "serve", run.engine, run.variant]
        log = folders.root / "logs" / f"serve-{run.engine}-{shape}-{run.variant}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        super().__init__([*command, folders.artifact(run, shape), str(threads)], log)
        try:
            self.loaded = self.read()
        except RuntimeError:
            self.close()
            raise

    def _foreign(self) -> float:
        """Processor seconds so far of everything but this worker."""
        busy = Path("/proc/stat").read_text().split("\n")[0].split()[1:4]  # user, nice, system
        everything = sum(map(int, busy)) / os.sysconf("SC_CLK_TCK")
        return everything - processor_seconds(self.process.pid)

    def measure(self, method: str, arguments: list[Any]) -> dict[str, float]:
        """Seconds, peak memory, and the share of the cores that other processes used."""
        foreign, begin = self._foreign(), time.perf_counter()
        reply = self.ask(json.dumps([method, *arguments]))
        elapsed = (time.perf_counter() - begin) * (os.cpu_count() or 1)
        return {**reply, "foreign": (self._foreign() - foreign) / elapsed}

"""mossrt, through `model_bench --json`: Python has no call yet that evaluates several sequences."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from engines import Options

PROGRAM = Path(__file__).resolve().parents[3] / "build/release/benchmarks/model_bench"


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    """Nothing to do: checkpoints are loaded, and quantised meanwhile, as they are."""
    out.symlink_to(checkpoint.resolve())


class Engine:
    """A child process that holds the model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        program = Path(os.environ.get("MOSSRT_MODEL_BENCH", PROGRAM))
        if not program.exists():
            raise FileNotFoundError(
                f"{program} is not there; build it with `cmake --preset release && cmake --build "
                "build/release --target model_bench`"
            )
        self._child = subprocess.Popen(
            [program, artifact, "--json", "--dtype", options["dtype"], "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.loaded = self._read()
        self.load_s = float(self.loaded["load_s"])

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"model_bench ended with exit status {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        self.peak_rss_gib = answer["peak_rss"] / 2**30
        return answer

    def _seconds(self, request: str) -> float:
        print(request, file=self._child.stdin, flush=True)
        return float(self._read()["seconds"])

    def close(self) -> None:
        """Ends the child."""
        self._child.communicate()

    def prefill(self, ids: list[int]) -> float:
        return self._seconds(f"prefill {len(ids)}")

    def decode(self, n: int) -> float:
        return self._seconds(f"decode {n}")

    def batch_decode(self, b: int, n: int) -> float:
        return self._seconds(f"batch {b} {n}")

"""CTranslate2. Tokens are greedy; `CT2_USE_MKL=1` in the environment swaps oneDNN for MKL."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ctranslate2

from engines import PROMPT, Options


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    converter = ctranslate2.converters.TransformersConverter(
        str(checkpoint), low_cpu_mem_usage=True
    )
    converter.convert(str(out), quantization=options["quantization"], force=True)


class Engine:
    """A loaded model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        self.generator = ctranslate2.Generator(
            str(artifact), compute_type=options["quantization"], intra_threads=threads
        )

    def _generate(self, prompts: list[list[str]], n: int) -> list[float]:
        """Forces n new tokens per prompt; returns the start time and the time of each step's end."""
        times = [time.perf_counter()]

        def on_token(step: Any) -> bool:
            if step.batch_id == 0:
                times.append(time.perf_counter())
            return False

        self.generator.generate_batch(
            prompts, max_length=n, min_length=n, include_prompt_in_result=False, callback=on_token
        )
        return times

    def prefill(self, ids: list[int]) -> float:
        times = self._generate([[f"t{i}" for i in ids]], 1)
        return times[1] - times[0]

    def decode(self, n: int) -> float:
        return self.batch_decode(1, n)

    def batch_decode(self, b: int, n: int) -> float:
        times = self._generate([[f"t{i + k}" for i in PROMPT] for k in range(b)], n + 1)
        return times[n + 1] - times[1]

"""ONNX Runtime GenAI with the files of its own model builder (greedy tokens)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime_genai as og

from engines import PROMPT, Options


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            str(checkpoint),
            "-o",
            str(out),
            "-p",
            options["precision"],
            "-e",
            "cpu",
            "-c",
            str(out.parent / "cache"),
            "--extra_options",
            f"int4_accuracy_level={options['accuracy_level']}",
        ],
        check=True,
    )


class Engine:
    """A loaded model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        config_path = artifact / "genai_config.json"
        config = json.loads(config_path.read_text())
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
        config_path.write_text(json.dumps(config, indent=2))
        self.model = og.Model(str(artifact))

    def _generator(self, batch: int) -> og.Generator:
        params = og.GeneratorParams(self.model)
        params.set_search_options(
            max_length=1024, min_length=1024, batch_size=batch, do_sample=False
        )
        return og.Generator(self.model, params)

    def prefill(self, ids: list[int]) -> float:
        generator = self._generator(1)
        begin = time.perf_counter()
        generator.append_tokens([ids])
        generator.generate_next_token()
        return time.perf_counter() - begin

    def decode(self, n: int) -> float:
        return self.batch_decode(1, n)

    def batch_decode(self, b: int, n: int) -> float:
        generator = self._generator(b)
        generator.append_tokens([[i + k for i in PROMPT] for k in range(b)])
        generator.generate_next_token()
        begin = time.perf_counter()
        for _ in range(n):
            generator.generate_next_token()
        return time.perf_counter() - begin

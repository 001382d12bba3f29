"""OpenVINO GenAI's LLMPipeline on IR exported with optimum-intel (greedy tokens)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import openvino
import openvino_genai

from engines import PROMPT, Options


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    config = json.loads((checkpoint / "config.json").read_text())
    hidden = config.get("hidden_size") or config["n_embd"]
    by_bits: dict[int, Options] = {
        4: dict(bits=4, sym=False, ratio=1.0, group_size=128 if hidden % 128 == 0 else 64),
        8: dict(bits=8),
    }
    quantization = by_bits.get(options["bits"])
    model = OVModelForCausalLM.from_pretrained(
        checkpoint,
        export=True,
        compile=False,
        load_in_8bit=False,
        quantization_config=OVWeightQuantizationConfig(**quantization) if quantization else None,
    )
    model.save_pretrained(out)


class Engine:
    """A loaded model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": options["precision"],
        }
        self.pipeline = openvino_genai.LLMPipeline(str(artifact), "CPU", **properties)

    def _generate(self, prompts: list[list[int]], n: int) -> list[float]:
        """Forces n new tokens per prompt; returns the time at each step's end in seconds."""
        config = openvino_genai.GenerationConfig(
            max_new_tokens=n, ignore_eos=True, do_sample=False, apply_chat_template=False
        )
        ids = np.array(prompts, dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        result = self.pipeline.generate(inputs, config)
        if any(len(tokens) != n for tokens in result.tokens):
            raise RuntimeError("generation stopped early")
        return [ms / 1e3 for ms in result.perf_metrics.raw_metrics.m_new_token_times]

    def prefill(self, ids: list[int]) -> float:
        begin = time.perf_counter()
        self._generate([ids], 1)
        return time.perf_counter() - begin

    def decode(self, n: int) -> float:
        return self.batch_decode(1, n)

    def batch_decode(self, b: int, n: int) -> float:
        times = self._generate([[i + k for i in PROMPT] for k in range(b)], n + 1)
        return times[n] - times[0]

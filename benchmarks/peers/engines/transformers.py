"""PyTorch and Hugging Face transformers in eager mode (forced tokens, dynamic cache)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import transformers

from engines import PROMPT, Options


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    out.symlink_to(checkpoint.resolve())


class Engine:
    """A loaded model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            artifact, dtype=getattr(torch, options["dtype"])
        )
        for parameter in self.model.parameters():
            parameter.data = parameter.data.clone()  # out of the file mapping, resident

    def _step(self, ids: torch.Tensor, cache: Any) -> Any:
        return self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)

    def prefill(self, ids: list[int]) -> float:
        begin = time.perf_counter()
        self._step(torch.tensor([ids]), None)
        return time.perf_counter() - begin

    def decode(self, n: int) -> float:
        return self.batch_decode(1, n)

    def batch_decode(self, b: int, n: int) -> float:
        cache = self._step(torch.tensor([PROMPT] * b), None).past_key_values
        begin = time.perf_counter()
        for i in range(n):
            cache = self._step(torch.full((b, 1), 100 + i), cache).past_key_values
        return time.perf_counter() - begin

"""llama.cpp through llama-cpp-python's low-level interface (forced tokens, no sampling)."""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from engines import PROMPT, Options

CONTEXT = 1024
ARCHITECTURES = {
    "llama": ("llama", gguf.MODEL_ARCH.LLAMA),
    "phi": ("phi2", gguf.MODEL_ARCH.PHI2),
}


def read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, float32 array) of a bfloat16 file, which NumPy cannot name."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header_size = int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8 : 8 + header_size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + header_size + offset for offset in entry["data_offsets"])
        bits = np.frombuffer(data, np.uint16, (end - begin) // 2, begin).astype(np.uint32) << 16
        yield name, bits.view(np.float32).reshape(entry["shape"])


def permute_heads(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rotary pairs: halves (Hugging Face) -> neighbours (GGUF's llama)."""
    rows, columns = weight.shape
    return (
        weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def write_gguf(checkpoint: Path, out: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    arch_name, arch = ARCHITECTURES[config["model_type"]]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config["hidden_size"] // heads
    writer = gguf.GGUFWriter(out, arch_name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(
        int(head_dim * (config.get("rope_parameters") or {}).get("partial_rotary_factor", 1.0))
    )
    writer.add_layer_norm_eps(1e-5)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for name, weight in read_safetensors(checkpoint / "model.safetensors"):
        if arch_name == "llama" and ".q_proj." in name:
            weight = permute_heads(weight, heads)
        if arch_name == "llama" and ".k_proj." in name:
            weight = permute_heads(weight, kv_heads)
        kind = gguf.GGMLQuantizationType.BF16 if weight.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(
            names.get_name(name, try_suffixes=(".weight", ".bias")),
            gguf.quants.quantize(weight, kind),
            raw_dtype=kind,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(checkpoint: Path, out: Path, options: Options) -> None:
    master = out.parent / "master-bf16.gguf"
    if not master.exists():
        write_gguf(checkpoint, master)
    out.mkdir(parents=True, exist_ok=True)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, options["ftype"])
    params.pure = True  # every matrix in the one format, so that bits per weight are known
    params.nthread = 2
    if (
        llama_cpp.llama_model_quantize(
            str(master).encode(), str(out / "model.gguf").encode(), params
        )
        != 0
    ):
        raise RuntimeError(f"llama_model_quantize failed for {options['ftype']}")


class Engine:
    """A loaded model."""

    def __init__(self, artifact: Path, options: Options, threads: int) -> None:
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(
            str(artifact / "model.gguf").encode(), model_params
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = CONTEXT
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = 8
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.model or not self.context:
            raise RuntimeError(f"cannot load {artifact}")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def _step(self, tokens: list[tuple[int, int, int, bool]]) -> None:
        """Runs (token, position, sequence, wants logits) entries as one batch."""
        self.batch.n_tokens = len(tokens)
        for i, (token, position, sequence, logits) in enumerate(tokens):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = logits
        if llama_cpp.llama_decode(self.context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self.context)

    def prefill(self, ids: list[int]) -> float:
        llama_cpp.llama_memory_clear(self.memory, True)
        begin = time.perf_counter()
        self._step([(token, i, 0, i == len(ids) - 1) for i, token in enumerate(ids)])
        return time.perf_counter() - begin

    def decode(self, n: int) -> float:
        return self.batch_decode(1, n)

    def batch_decode(self, b: int, n: int) -> float:
        llama_cpp.llama_memory_clear(self.memory, True)
        for sequence in range(b):
            self._step([(token, i, sequence, False) for i, token in enumerate(PROMPT)])
        begin = time.perf_counter()
        for i in range(n):
            self._step([(100 + i + k, len(PROMPT) + i, k, True) for k in range(b)])
        return time.perf_counter() - begin

"""Writes tiny GPTQ checkpoints of tests/data/models in the published layouts, and their answers.

    python tests/references/make_gptq.py [folder]

The packing follows the published description: qweight holds inputs along K, lowest bits first;
qzeros holds zero points less one along N; g_idx gives each input its group. What the files stand
for is worked out from the packed words by `dequantise` alone, which shares no code with `pack`, and
the logits come from forward64 and transformers on these values.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import forward64
import torch_models
from make_models import (
    DEFAULT_FOLDER,
    Draw,
    Kind,
    LlamaShape,
    MossShape,
    State,
    llama_config,
    llama_state,
    moss_family_config,
    moss_state,
    write_json,
    write_safetensors,
    write_single,
)

TOKENS = 160
ROWS = (0, 1, 2, 15, 16, 17, 31, 32, 63, 64, 100, 127, 128, 150, 158, 159)
WHOLE = "out_proj", "o_proj"  # stored value by value; the others by checksums


@dataclass
class Recipe:
    """One quantised model."""

    kind: Kind
    bits: int
    group_size: int  # below 0: one group
    seed: int
    act_order: bool = False
    g_idx: torch.dtype | None = torch.int32  # None: an old file, without one
    scale_dtype: torch.dtype = torch.float16
    config: dict[str, object] = field(default_factory=dict)
    quantize_config: dict[str, object] = field(default_factory=dict)
    biases: bool = False  # zeros where the model has none
    safetensors: bool = False


MOSS = Kind("moss")
RECIPES = {
    # moss-moon-003-sft-int4, in groups of 32 with a tail, since the model is so small.
    "moss-gptq-int4": Recipe(MOSS, 4, 32, 21, act_order=True, config={"wbits": 4, "groupsize": 32}),
    # moss-moon-003-sft-plugin-int8 as it was first published: 8 bits, and wbits says 4.
    "moss-gptq-int8": Recipe(MOSS, 8, 128, 22, config={"wbits": 4, "groupsize": 128}),
    # An old file: its tail of 16 inputs can only be told with "groupsize".
    "moss-gptq-int2": Recipe(MOSS, 2, 64, 23, g_idx=None, config={"wbits": 2, "groupsize": 64}),
    # What AutoGPTQ writes.
    "llama-gptq": Recipe(
        Kind("llama"),
        4,
        64,
        24,
        act_order=True,
        g_idx=torch.int64,
        scale_dtype=torch.bfloat16,
        quantize_config={
            "bits": 4,
            "group_size": 64,
            "damp_percent": 0.01,
            "desc_act": True,
            "static_groups": False,
            "sym": False,
            "true_sequential": True,
            "model_name_or_path": None,
            "model_file_base_name": None,
        },
        biases=True,
        safetensors=True,
    ),
}

Words = NDArray[np.uint32]


def pack(fields: NDArray[np.int64], bits: int, axis: int) -> torch.Tensor:
    """Fields side by side along `axis`, the first in the lowest bits, as int32 words."""
    per_word = 32 // bits
    moved = np.moveaxis(fields, axis, 0).astype(np.uint32)
    words: Words = np.zeros((moved.shape[0] // per_word, *moved.shape[1:]), np.uint32)
    for place in range(per_word):
        words |= moved[place::per_word] << np.uint32(bits * place)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(words, 0, axis)).view(np.int32))


def group_index(recipe: Recipe, inputs: int, random: np.random.Generator) -> NDArray[np.int64]:
    size = inputs if recipe.group_size < 0 else recipe.group_size
    order = random.permutation(inputs) if recipe.act_order else np.arange(inputs)
    index: NDArray[np.int64] = np.empty(inputs, np.int64)
    index[order] = np.arange(inputs) // size
    return index


def quantise(name: str, weight: torch.Tensor, recipe: Recipe, state: State) -> None:
    """Puts the GPTQ tensors of `weight` [N, K] into `state`.

    Rounded to nearest, not by GPTQ: a reader sees no difference. Every seventh group has the zero
    point 2^bits (which GPTQ writers store as all ones), every eleventh has 1.
    """
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) + recipe.seed))
    outputs, inputs = weight.shape
    index = group_index(recipe, inputs, random)
    groups = int(index.max()) + 1
    top = 2**recipe.bits
    values = weight.to(torch.float64).numpy().T  # [K, N]
    zeros = random.integers(top * 3 // 8, top * 5 // 8 + 1, (groups, outputs))
    flat = zeros.reshape(-1)
    flat[::7] = top
    flat[::11] = 1
    # Weights that such a group can hold at all: none above, or few below zero.
    zero_of = zeros[index]
    values = np.where(zero_of == top, -np.abs(values), values)
    values = np.where(zero_of == 1, np.abs(values), values)
    scales = np.empty((groups, outputs))
    for group in range(groups):
        largest = np.abs(values[index == group]).max(axis=0)
        scales[group] = largest / np.maximum(zeros[group], top - 1 - zeros[group])
    rounded = torch.from_numpy(scales).to(recipe.scale_dtype)
    steps = rounded.to(torch.float64).numpy()[index]
    fields = np.clip(np.rint(values / steps) + zero_of, 0, top - 1).astype(np.int64)
    state[name + ".qweight"] = pack(fields, recipe.bits, 0)
    state[name + ".qzeros"] = pack((zeros - 1) % top, recipe.bits, 1)
    state[name + ".scales"] = rounded
    if recipe.g_idx is not None:
        state[name + ".g_idx"] = torch.from_numpy(index).to(recipe.g_idx)
    if recipe.biases:
        state[name + ".bias"] = torch.zeros(outputs, dtype=torch.float16)


def quantise_model(plain: State, recipe: Recipe) -> State:
    state: State = {}
    for name, tensor in plain.items():
        linear = tensor.ndim == 2 and name.endswith(".weight")
        if linear and ".h." not in name and ".layers." not in name:
            linear = False  # embedding and head
        if linear:
            quantise(name.removesuffix(".weight"), tensor, recipe, state)
        else:
            state[name] = tensor
    return state


@dataclass
class Integers:
    """What the words of one matrix hold."""

    q: NDArray[np.uint8]  # [N, K]
    scales: NDArray[np.float16]  # [N, groups]
    zeros: NDArray[np.uint16]  # [N, groups]
    index: NDArray[np.int64]  # [K]

    def values(self) -> NDArray[np.float64]:
        """(q - zero) * scale, [N, K]."""
        zero = self.zeros[:, self.index].astype(np.float64)
        return (self.q - zero) * self.scales[:, self.index].astype(np.float64)


def dequantise(state: State, base: str, bits: int, group_size: int) -> Integers:
    """Field by field from the words."""
    words = state[base + ".qweight"].numpy().view(np.uint32)
    packed_zeros = state[base + ".qzeros"].numpy().view(np.uint32)
    scales = state[base + ".scales"]
    outputs = words.shape[1]
    inputs = words.shape[0] * 32 // bits
    mask = 2**bits - 1
    q = np.empty((outputs, inputs), np.uint8)
    for k in range(inputs):
        q[:, k] = (words[k * bits // 32] >> (k * bits % 32)) & mask
    zeros = np.empty((outputs, packed_zeros.shape[0]), np.uint16)
    for n in range(outputs):
        zeros[n] = ((packed_zeros[:, n * bits // 32] >> (n * bits % 32)) & mask) + 1
    half = scales.to(torch.float16)
    assert torch.equal(half.to(torch.float32), scales.to(torch.float32))
    if base + ".g_idx" in state:
        index = state[base + ".g_idx"].numpy().astype(np.int64)
    else:
        index = np.arange(inputs) // group_size
    return Integers(q, np.ascontiguousarray(half.numpy().T), zeros, index)


def checksum(values: np.ndarray) -> int:
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return zlib.crc32(little.tobytes())


def make_plain(recipe: Recipe) -> tuple[State, dict[str, object]]:
    draw = Draw(recipe.seed, torch.float16)
    if recipe.kind.family == "llama":
        llama = LlamaShape(hidden=80, inner=168, heads=8, kv_heads=4, layers=2, rows=192)
        config = llama_config(llama) | {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "num_key_value_heads": llama.kv_heads,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
        }
        return llama_state(draw, llama, tied=False, frequencies=False), config
    moss = MossShape(hidden=80, inner=320, heads=8, layers=2, rows=336)
    config = moss_family_config(moss, rotary_dim=6) | {
        "architectures": ["MossForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "model_type": "moss",
        "torch_dtype": "float16",
        "transformers_version": "4.25.1",
    }
    return moss_state(draw, moss, torch.uint8), config


def make_one(folder: Path, name: str, recipe: Recipe) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plain, config = make_plain(recipe)
    state = quantise_model(plain, recipe)
    write_json(folder / "config.json", config | recipe.config)
    if recipe.quantize_config:
        write_json(folder / "quantize_config.json", recipe.quantize_config)
    if recipe.safetensors:
        stem = f"gptq_model-{recipe.bits}bit-{recipe.group_size}g"
        write_safetensors(folder / f"{stem}.safetensors", state)
    else:
        write_single(folder, state)
    make_reference(folder, name, recipe, state)


def make_reference(folder: Path, name: str, recipe: Recipe, state: State) -> None:
    out = folder / "reference"
    out.mkdir(exist_ok=True)
    parts = (".qweight", ".qzeros", ".scales", ".g_idx")
    exact = {key: tensor for key, tensor in state.items() if not key.endswith(parts)}
    matrices: dict[str, dict[str, object]] = {}
    for key in [key for key in state if key.endswith(".qweight")]:
        base = key.removesuffix(".qweight")
        if recipe.biases:
            exact.pop(base + ".bias")
        integers = dequantise(state, base, recipe.bits, recipe.group_size)
        values = integers.values()
        narrow = values.astype(np.float32)
        assert np.array_equal(narrow.astype(np.float64), values), "float32 holds every value"
        exact[base + ".weight"] = torch.from_numpy(narrow)
        counts = np.bincount(integers.index)
        matrices[base] = {
            "bits": recipe.bits,
            "groups": len(counts),
            "group_size": int(counts.max()),
            "shape": list(narrow.shape),
            "q": checksum(integers.q),
            "scales": checksum(integers.scales.view(np.uint16)),
            "zeros": checksum(integers.zeros),
            "group_of": checksum(integers.index.astype(np.int32)),
            "values": checksum(narrow),
            "largest_zero": int(integers.zeros.max()),
        }
        if base.endswith(WHOLE) and ".0." in base:
            narrow.astype("<f4").tofile(out / "values.bin")
            matrices[base]["file"] = "values.bin"

    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    random = np.random.Generator(np.random.PCG64(recipe.seed))
    ids = [int(token) for token in random.integers(8, rows, TOKENS)]
    with tempfile.TemporaryDirectory() as temporary:
        twin = Path(temporary)
        (twin / "config.json").write_text((folder / "config.json").read_text())
        write_single(twin, exact)
        judge = forward64.load(twin, recipe.kind.family, recipe.kind.mp_num)
        logits = forward64.forward(judge, ids, rows=ROWS).logits
        torch_logits = torch_models.logits(torch_models.load(twin, recipe.kind), ids, ROWS)
    error = float(np.max(np.abs(torch_logits.astype(np.float64) - logits)))
    assert error < 5e-4, f"{name}: transformers and forward64 differ by {error:g}"
    logits.astype("<f8").tofile(out / "logits_f64.bin")
    reference = {
        "rows": ROWS,
        "torch_f32_error": {"logits_f64": error},
        "arrays": {
            "logits_f64": {
                "file": "logits_f64.bin",
                "dtype": "float64",
                "shape": list(logits.shape),
            }
        },
        "matrices": matrices,
        "ids": ids,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in reference.items())
    (out / "reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name}: torch float32 is within {error:.3g} of float64, {np.max(np.abs(logits)):.3g}")


def make(root: Path) -> None:
    for name, recipe in RECIPES.items():
        make_one(root / name, name, recipe)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER)

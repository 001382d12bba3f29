"""Forward passes in float64, the judge of every logit that mossrt computes.

Written from the published descriptions (MOSS and CodeGen: parallel residual, fused "qvk" blocks,
interleaved rotary; LLaMA: RMSNorm, half-split rotary, SwiGLU, grouped heads; GPT-NeoX: two norms,
per-head "qkv", partial rotary), not from any implementation. Weights are what the file holds,
widened exactly; everything else is float64, with one exception that the originals force on us:
rotary frequencies and angles are rounded to float32 step by step (see `rotary_angles`).

Points that can be captured, all [tokens, width]:
    embed       rows of the embedding                       norm1     the attention's input
    q, k        after rotary, in the checkpoint's order     v         the values
    attn_out    the heads' outputs side by side, before the output projection
    mlp_in      what the MLP reads, after its norm
    mlp_act     what the last MLP matrix reads: after the activation, after gating
    mlp_out     the MLP's output with its bias              resid     the layer's output
    final_norm  after the last norm                         logits
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAYER_POINTS = ("norm1", "q", "k", "v", "attn_out", "mlp_in", "mlp_act", "mlp_out", "resid")
GLOBAL_POINTS = ("embed", "final_norm", "logits")


def read_tensors(folder: Path) -> dict[str, Array]:
    """All floating tensors of a checkpoint, widened to float64 without rounding."""
    import torch
    from safetensors.torch import load_file

    tensors: dict[str, Array] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(str(path)).items():
            tensors[name] = tensor.to(torch.float64).numpy()
    for path in sorted(folder.glob("*.bin")):
        for name, tensor in torch.load(path, weights_only=True).items():
            tensors[name] = tensor.to(torch.float64).numpy()
    if not tensors:
        raise FileNotFoundError(f"{folder}: no .safetensors and no .bin file")
    return tensors


@dataclass
class Norm:
    weight: Array
    bias: Array | None  # None: RMSNorm, which neither centres nor shifts
    eps: float

    def __call__(self, x: Array) -> Array:
        if self.bias is None:
            scaled: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps)
            return scaled * self.weight
        centred = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + self.eps)
        return scaled * self.weight + self.bias


@dataclass
class Linear:
    weight: Array  # [out, in]
    bias: Array | None = None

    def __call__(self, x: Array) -> Array:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


@dataclass
class Layer:
    norm1: Norm
    norm2: Norm | None  # None: the MLP reads norm1's output
    q: Linear
    k: Linear
    v: Linear
    out: Linear
    up: Linear
    gate: Linear | None
    down: Linear


@dataclass
class Model:
    embed: Array
    layers: list[Layer]
    final_norm: Norm
    head: Linear
    heads: int
    kv_heads: int
    head_dim: int
    rotary_dim: int
    rotary_base: float
    interleaved: bool
    parallel: bool
    activation: Callable[[Array], Array]


@dataclass
class Result:
    logits: Array  # [rows, vocab]
    points: dict[tuple[str, int], Array] = field(default_factory=dict)  # layer -1: no layer


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x: Array) -> Array:
    erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2.0)), dtype=np.float64)
    return 0.5 * x * (1.0 + erf)


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def rotary_angles(positions: int, dim: int, base: float) -> Array:
    """[positions, dim / 2] angles as the originals have them.

    They compute 1 / base ** (i / dim) in float32, so that the exponent, the power, its reciprocal
    and the product with the position are each rounded. Rounding once from the exact value gives
    frequencies up to 3 ulp away, 1e-4 rad at position 2047: far above float32's error elsewhere.
    """
    exponent = np.arange(0, dim, 2).astype(np.float32) / np.float32(dim)
    power = (base ** exponent.astype(np.float64)).astype(np.float32)
    frequency = np.float32(1.0) / power
    angle = np.arange(positions).astype(np.float32)[:, None] * frequency[None, :]
    assert angle.dtype == np.float32
    return angle.astype(np.float64)


def rotate(x: Array, angles: Array, interleaved: bool) -> Array:
    """x [tokens, heads, head_dim]; only the first 2 * angles.shape[1] dimensions turn."""
    half = angles.shape[1]
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    turned = x.copy()
    turned[..., first] = x[..., first] * cos - x[..., second] * sin
    turned[..., second] = x[..., second] * cos + x[..., first] * sin
    return turned


def attend(model: Model, q: Array, k: Array, v: Array) -> Array:
    """Causal softmax attention, head by head: [tokens, heads, head_dim]."""
    tokens = q.shape[0]
    hidden = np.triu(np.ones((tokens, tokens), dtype=bool), 1)
    out = np.empty_like(q)
    for head in range(model.heads):
        kv = head // (model.heads // model.kv_heads)
        scores = q[:, head] @ k[:, kv].T / math.sqrt(model.head_dim)
        scores[hidden] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        out[:, head] = (scores / scores.sum(axis=-1, keepdims=True)) @ v[:, kv]
    return out


def forward(
    model: Model,
    ids: Sequence[int],
    *,
    rows: Sequence[int] | None = None,
    capture: Sequence[int] = (),
    zero_head: tuple[int, int] | None = None,
) -> Result:
    """Runs `ids` from position 0.

    `rows`: which logits are wanted (all by default). `capture`: layers whose points are kept, with
    the points that belong to no layer. `zero_head`: (layer, head) silenced at attn_out.
    """
    points: dict[tuple[str, int], Array] = {}
    tokens = len(ids)
    angles = rotary_angles(tokens, model.rotary_dim, model.rotary_base)
    x = model.embed[np.asarray(ids)]
    if capture:
        points["embed", -1] = x
    for index, layer in enumerate(model.layers):
        norm1 = layer.norm1(x)
        q = layer.q(norm1).reshape(tokens, model.heads, model.head_dim)
        k = layer.k(norm1).reshape(tokens, model.kv_heads, model.head_dim)
        v = layer.v(norm1).reshape(tokens, model.kv_heads, model.head_dim)
        q = rotate(q, angles, model.interleaved)
        k = rotate(k, angles, model.interleaved)
        attended = attend(model, q, k, v)
        if zero_head is not None and zero_head[0] == index:
            attended[:, zero_head[1]] = 0.0
        attn_out = attended.reshape(tokens, -1)
        attn = layer.out(attn_out)
        if model.parallel:
            mlp_input = norm1 if layer.norm2 is None else layer.norm2(x)
        else:
            assert layer.norm2 is not None
            mlp_input = layer.norm2(x + attn)
        mlp_act = layer.up(mlp_input)
        if layer.gate is None:
            mlp_act = model.activation(mlp_act)
        else:
            mlp_act = model.activation(layer.gate(mlp_input)) * mlp_act
        mlp_out = layer.down(mlp_act)
        x = x + attn + mlp_out
        if index in capture:
            values = (norm1, q, k, v, attn_out, mlp_input, mlp_act, mlp_out, x)
            for name, value in zip(LAYER_POINTS, values, strict=True):
                points[name, index] = value.reshape(tokens, -1)
    final = model.final_norm(x)
    logits = model.head(final if rows is None else final[np.asarray(rows)])
    if capture:
        points["final_norm", -1] = final
        points["logits", -1] = logits
    return Result(logits, points)


def load(folder: Path, family: str, mp_num: int = 4) -> Model:
    """Reads a checkpoint folder as `family`: moss, codegen, llama or gpt-neox.

    `mp_num` is the number of fused blocks of moss and codegen; no file states it (codegen2: 8).
    """
    config = json.loads((folder / "config.json").read_text())
    tensors = read_tensors(folder)
    if family in ("moss", "codegen"):
        return _load_moss(config, tensors, mp_num)
    if family == "llama":
        return _load_llama(config, tensors)
    if family == "gpt-neox":
        return _load_neox(config, tensors)
    raise ValueError(f"unknown family {family!r}")


def _linear(tensors: dict[str, Array], name: str) -> Linear:
    return Linear(tensors[name + ".weight"], tensors.get(name + ".bias"))


def _norm(tensors: dict[str, Array], name: str, eps: float) -> Norm:
    return Norm(tensors[name + ".weight"], tensors.get(name + ".bias"), eps)


def _load_moss(config: dict[str, Any], tensors: dict[str, Array], mp_num: int) -> Model:
    hidden, heads = config["n_embd"], config["n_head"]
    eps = config["layer_norm_epsilon"]
    layers = []
    for index in range(config["n_layer"]):
        name = f"transformer.h.{index}."
        # Rows are [block, part, heads of the block x head_dim] with the parts q, v, k.
        fused = tensors[name + "attn.qkv_proj.weight"].reshape(mp_num, 3, -1, hidden)
        q, v, k = (Linear(fused[:, part].reshape(hidden, hidden)) for part in range(3))
        layers.append(
            Layer(
                norm1=_norm(tensors, name + "ln_1", eps),
                norm2=None,
                q=q,
                k=k,
                v=v,
                out=_linear(tensors, name + "attn.out_proj"),
                up=_linear(tensors, name + "mlp.fc_in"),
                gate=None,
                down=_linear(tensors, name + "mlp.fc_out"),
            )
        )
    return Model(
        embed=tensors["transformer.wte.weight"],
        layers=layers,
        final_norm=_norm(tensors, "transformer.ln_f", eps),
        head=_linear(tensors, "lm_head"),
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        rotary_dim=config["rotary_dim"],
        rotary_base=10000.0,
        interleaved=True,
        parallel=True,
        activation=gelu_tanh,
    )


def _load_llama(config: dict[str, Any], tensors: dict[str, Array]) -> Model:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    eps = config["rms_norm_eps"]
    layers = []
    for index in range(config["num_hidden_layers"]):
        name = f"model.layers.{index}."
        layers.append(
            Layer(
                norm1=_norm(tensors, name + "input_layernorm", eps),
                norm2=_norm(tensors, name + "post_attention_layernorm", eps),
                q=_linear(tensors, name + "self_attn.q_proj"),
                k=_linear(tensors, name + "self_attn.k_proj"),
                v=_linear(tensors, name + "self_attn.v_proj"),
                out=_linear(tensors, name + "self_attn.o_proj"),
                up=_linear(tensors, name + "mlp.up_proj"),
                gate=_linear(tensors, name + "mlp.gate_proj"),
                down=_linear(tensors, name + "mlp.down_proj"),
            )
        )
    embed = tensors["model.embed_tokens.weight"]
    return Model(
        embed=embed,
        layers=layers,
        final_norm=_norm(tensors, "model.norm", eps),
        head=Linear(embed) if config["tie_word_embeddings"] else _linear(tensors, "lm_head"),
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_dim=hidden // heads,
        rotary_dim=hidden // heads,
        rotary_base=config.get("rope_theta", 10000.0),
        interleaved=False,
        parallel=False,
        activation=silu,
    )


def _load_neox(config: dict[str, Any], tensors: dict[str, Array]) -> Model:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim, eps = hidden // heads, config["layer_norm_eps"]
    layers = []
    for index in range(config["num_hidden_layers"]):
        name = f"gpt_neox.layers.{index}."
        # Rows are [head, part, head_dim] with the parts q, k, v.
        weight = tensors[name + "attention.query_key_value.weight"]
        bias = tensors[name + "attention.query_key_value.bias"].reshape(heads, 3, head_dim)
        fused = weight.reshape(heads, 3, head_dim, hidden)
        q, k, v = (
            Linear(fused[:, part].reshape(hidden, hidden), bias[:, part].reshape(hidden))
            for part in range(3)
        )
        layers.append(
            Layer(
                norm1=_norm(tensors, name + "input_layernorm", eps),
                norm2=_norm(tensors, name + "post_attention_layernorm", eps),
                q=q,
                k=k,
                v=v,
                out=_linear(tensors, name + "attention.dense"),
                up=_linear(tensors, name + "mlp.dense_h_to_4h"),
                gate=None,
                down=_linear(tensors, name + "mlp.dense_4h_to_h"),
            )
        )
    return Model(
        embed=tensors["gpt_neox.embed_in.weight"],
        layers=layers,
        final_norm=_norm(tensors, "gpt_neox.final_layer_norm", eps),
        head=_linear(tensors, "embed_out"),
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        rotary_dim=int(head_dim * config["rotary_pct"]),
        rotary_base=config["rotary_emb_base"],
        interleaved=False,
        parallel=config["use_parallel_residual"],
        activation=gelu_erf,
    )

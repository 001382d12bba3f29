"""Writes a random checkpoint of a stated shape as safetensors: speed and memory do not ask what the weights say.

    python benchmarks/make_synthetic.py llama-1.1b /tmp/llama --dtype bfloat16

Needs NumPy only. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import numpy as np

SHAPES: dict[str, dict[str, int]] = {
    "llama-1.1b": {
        "hidden": 2048,
        "layers": 22,
        "heads": 32,
        "kv_heads": 4,
        "inner": 5632,
        "vocab": 32000,
    },
    "llama-135m": {
        "hidden": 576,
        "layers": 30,
        "heads": 9,
        "kv_heads": 3,
        "inner": 1536,
        "vocab": 49152,
    },
    "moss-1b": {
        "hidden": 4096,
        "layers": 4,
        "heads": 16,
        "kv_heads": 16,
        "inner": 16384,
        "vocab": 32000,
    },
    "moss-slice": {
        "hidden": 6144,
        "layers": 4,
        "heads": 24,
        "kv_heads": 24,
        "inner": 24576,
        "vocab": 51200,
    },
    "moss-300m": {
        "hidden": 2048,
        "layers": 4,
        "heads": 16,
        "kv_heads": 16,
        "inner": 8192,
        "vocab": 32000,
    },
}
POSITIONS = 2048


def tensors(name: str) -> dict[str, list[int]]:
    s = SHAPES[name]
    hidden, inner, vocab = s["hidden"], s["inner"], s["vocab"]
    kv = hidden // s["heads"] * s["kv_heads"]
    found: dict[str, list[int]] = {}
    for layer in range(s["layers"]):
        if name.startswith("llama"):
            base = f"model.layers.{layer}."
            found |= {
                base + "input_layernorm.weight": [hidden],
                base + "post_attention_layernorm.weight": [hidden],
                base + "self_attn.q_proj.weight": [hidden, hidden],
                base + "self_attn.k_proj.weight": [kv, hidden],
                base + "self_attn.v_proj.weight": [kv, hidden],
                base + "self_attn.o_proj.weight": [hidden, hidden],
                base + "mlp.gate_proj.weight": [inner, hidden],
                base + "mlp.up_proj.weight": [inner, hidden],
                base + "mlp.down_proj.weight": [hidden, inner],
            }
        else:
            base = f"transformer.h.{layer}."
            found |= {
                base + "ln_1.weight": [hidden],
                base + "ln_1.bias": [hidden],
                base + "attn.qkv_proj.weight": [3 * hidden, hidden],
                base + "attn.out_proj.weight": [hidden, hidden],
                base + "mlp.fc_in.weight": [inner, hidden],
                base + "mlp.fc_in.bias": [inner],
                base + "mlp.fc_out.weight": [hidden, inner],
                base + "mlp.fc_out.bias": [hidden],
            }
    if name.startswith("llama"):
        found |= {
            "model.embed_tokens.weight": [vocab, hidden],
            "model.norm.weight": [hidden],
            "lm_head.weight": [vocab, hidden],
        }
    else:
        found |= {
            "transformer.wte.weight": [vocab, hidden],
            "transformer.ln_f.weight": [hidden],
            "transformer.ln_f.bias": [hidden],
            "lm_head.weight": [vocab, hidden],
            "lm_head.bias": [vocab],
        }
    return found


def config(name: str, dtype: str) -> dict[str, object]:
    s = SHAPES[name]
    if name.startswith("llama"):
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": s["hidden"],
            "num_hidden_layers": s["layers"],
            "num_attention_heads": s["heads"],
            "num_key_value_heads": s["kv_heads"],
            "intermediate_size": s["inner"],
            "vocab_size": s["vocab"],
            "max_position_embeddings": POSITIONS,
            "rms_norm_eps": 1e-5,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "torch_dtype": dtype,
        }
    return {
        "architectures": ["MossForCausalLM"],
        "model_type": "moss",
        "n_embd": s["hidden"],
        "n_layer": s["layers"],
        "n_head": s["heads"],
        "n_inner": None,
        "n_positions": POSITIONS,
        "rotary_dim": 64,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "vocab_size": s["vocab"],
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
    }


def encode(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "bfloat16":  # upper half of float32: truncation is fine for random weights
        return (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype({"float32": "<f4", "float16": "<f2"}[dtype]).tobytes()


def write(name: str, folder: Path, dtype: str, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(name, dtype), indent=2) + "\n")
    found = tensors(name)
    size = 4 if dtype == "float32" else 2
    header: dict[str, object] = {}
    offset = 0
    for key, shape in found.items():
        count = int(np.prod(shape)) * size
        code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
        header[key] = {"dtype": code, "shape": shape, "data_offsets": [offset, offset + count]}
        offset += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.Generator(np.random.PCG64(seed))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for key, shape in found.items():
            if len(shape) == 1:
                file.write(
                    encode(np.full(shape, 0.0 if key.endswith("bias") else 1.0, np.float32), dtype)
                )
                continue
            rows = max(1, (1 << 22) // shape[1])
            for first in range(0, shape[0], rows):
                n = min(rows, shape[0] - first)
                values = random.random((n, shape[1]), np.float32) - np.float32(0.5)
                file.write(encode(values * np.float32(0.06), dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.shape, args.folder, args.dtype, args.seed)


if __name__ == "__main__":
    main()

"""Writes the tiny checkpoints of tests/data/models in the formats of published models.

    python tests/references/make_models.py [folder]

The weights come from NumPy's PCG64, so that every machine writes the same numbers. Norm weights,
biases and padded vocabulary rows are non-trivial: a runtime that forgets one gives other logits.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tiny_tokenizer import BASE_IDS, codegen_tokenizer, moss_tokenizer, write_tokenizer

HERE = Path(__file__).resolve().parent
DEFAULT_FOLDER = HERE.parent / "data" / "models"

State = dict[str, torch.Tensor]

# Published causal masks are [1, 1, 2048, 2048], 4 MiB a layer; nobody reads what is in them.
MASK_SIDE = 96

# Size of q and k: heads then look at a few of 2048 random tokens, as trained ones do, in place of
# averaging them all, and a rotary angle that is 1e-4 rad off shows in the last positions' logits.
FOCUS = 2.5


@dataclass
class Kind:
    """How a test and a reference open a model."""

    family: str
    mp_num: int = 4
    architecture: str | None = None  # what must be said to mossrt, since no file tells it


KINDS = {
    "moss": Kind("moss"),
    "codegen": Kind("codegen"),
    "codegen2": Kind("codegen", mp_num=8, architecture="codegen2"),
    "llama": Kind("llama"),
    "llama-untied": Kind("llama"),
    "gpt-neox": Kind("gpt-neox"),
}


class Draw:
    """Random tensors of one model."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._dtype = dtype

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._dtype).contiguous()

    def normal(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        return self._tensor(self._random.standard_normal(shape) * scale)

    def matrix(self, rows: int, columns: int, gain: float = 1.0) -> torch.Tensor:
        """[rows, columns] that keeps the size of its input, times `gain`."""
        return self.normal(rows, columns, scale=gain / columns**0.5)

    def norm_weight(self, width: int) -> torch.Tensor:
        return self._tensor(1.0 + 0.25 * self._random.standard_normal(width))

    def bias(self, width: int, scale: float = 0.2) -> torch.Tensor:
        return self.normal(width, scale=scale)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def split_in_two(state: State) -> tuple[State, State]:
    """Cuts at half of the bytes and keeps the order, as transformers' sharding does."""
    total = sum(t.numel() * t.element_size() for t in state.values())
    first: State = {}
    second: State = {}
    done = 0
    for name, tensor in state.items():
        (first if done < total // 2 else second)[name] = tensor
        done += tensor.numel() * tensor.element_size()
    return first, second


def write_safetensors(path: Path, state: State) -> None:
    save_file(state, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes its files private


def write_shards(folder: Path, state: State, stem: str, suffix: str) -> None:
    shards = split_in_two(state)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}{suffix}"
        if suffix == ".safetensors":
            write_safetensors(folder / name, shard)
        else:
            torch.save(shard, folder / name)
        weight_map |= dict.fromkeys(shard, name)
    total = sum(t.numel() * t.element_size() for t in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / f"{stem}{suffix}.index.json", index)


def write_single(folder: Path, state: State) -> None:
    """One pytorch_model.bin: an OrderedDict that carries `_metadata`, as state_dict() makes it."""
    ordered = OrderedDict(state)
    modules = {"": {"version": 1}}
    for name in state:
        modules[name.rpartition(".")[0]] = {"version": 1}
    ordered._metadata = OrderedDict(modules)  # type: ignore[attr-defined]
    torch.save(ordered, folder / "pytorch_model.bin")


@dataclass
class MossShape:
    hidden: int
    inner: int
    heads: int
    layers: int
    rows: int  # of the vocabulary, padding included


def moss_state(draw: Draw, shape: MossShape, mask_dtype: torch.dtype) -> State:
    """Tensors of MossForCausalLM and CodeGenForCausalLM, which are the same."""
    hidden, inner = shape.hidden, shape.inner
    state: State = {"transformer.wte.weight": draw.normal(shape.rows, hidden)}
    for index in range(shape.layers):
        name = f"transformer.h.{index}."
        mask = torch.tril(torch.ones(MASK_SIDE, MASK_SIDE)).to(mask_dtype)
        state[name + "ln_1.weight"] = draw.norm_weight(hidden)
        state[name + "ln_1.bias"] = draw.bias(hidden)
        state[name + "attn.causal_mask"] = mask.view(1, 1, MASK_SIDE, MASK_SIDE)
        state[name + "attn.qkv_proj.weight"] = draw.matrix(3 * hidden, hidden, gain=FOCUS)
        state[name + "attn.out_proj.weight"] = draw.matrix(hidden, hidden, gain=0.6)
        state[name + "mlp.fc_in.weight"] = draw.matrix(inner, hidden)
        state[name + "mlp.fc_in.bias"] = draw.bias(inner)
        state[name + "mlp.fc_out.weight"] = draw.matrix(hidden, inner, gain=1.5)
        state[name + "mlp.fc_out.bias"] = draw.bias(hidden)
    state["transformer.ln_f.weight"] = draw.norm_weight(hidden)
    state["transformer.ln_f.bias"] = draw.bias(hidden)
    state["lm_head.weight"] = draw.matrix(shape.rows, hidden, gain=2.0)
    # Added tokens and padding rows stay likely enough to matter and too unlikely to win, so that
    # greedy text neither ends early nor depends on whether padding is masked.
    bias = draw.bias(shape.rows, scale=0.5)
    bias[BASE_IDS:] -= 8.0
    state["lm_head.bias"] = bias
    return state


def moss_family_config(shape: MossShape, rotary_dim: int) -> dict[str, object]:
    """Keys that MOSS's and CodeGen's config.json share."""
    return {
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "gradient_checkpointing": False,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "n_ctx": 2048,
        "n_embd": shape.hidden,
        "n_head": shape.heads,
        "n_inner": None if shape.inner == 4 * shape.hidden else shape.inner,
        "n_layer": shape.layers,
        "n_positions": 2048,
        "resid_pdrop": 0.0,
        "rotary_dim": rotary_dim,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {
            "text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}
        },
        "tie_word_embeddings": False,
        "tokenizer_class": "GPT2Tokenizer",
        "use_cache": True,
        "vocab_size": shape.rows,
    }


def make_moss(folder: Path) -> None:
    """MOSS 16B's format: two fp16 shards with uint8 masks, and a torch_dtype that lies."""
    shape = MossShape(hidden=80, inner=320, heads=8, layers=2, rows=352)
    tokenizer = moss_tokenizer()
    config = moss_family_config(shape, rotary_dim=6) | {
        "architectures": ["MossForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_moss.MossConfig",
            "AutoModel": "modeling_moss.MossModel",
            "AutoModelForCausalLM": "modeling_moss.MossForCausalLM",
        },
        "bos_token_id": tokenizer.end_of_text,
        "eos_token_id": tokenizer.added["<eom>"],
        "model_type": "moss",
        "torch_dtype": "float32",
        "transformers_version": "4.25.1",
    }
    write_json(folder / "config.json", config)
    state = moss_state(Draw(1, torch.float16), shape, torch.uint8)
    write_shards(folder, state, "pytorch_model", ".bin")
    write_tokenizer(folder, tokenizer)


def make_codegen(folder: Path) -> None:
    """CodeGen (4 blocks): one float32 file, n_inner stated, bool masks."""
    shape = MossShape(hidden=56, inner=100, heads=4, layers=2, rows=320)
    tokenizer = codegen_tokenizer()
    config = moss_family_config(shape, rotary_dim=10) | {
        "architectures": ["CodeGenForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": tokenizer.end_of_text,
        "model_type": "codegen",
        "torch_dtype": "float32",
        "transformers_version": "4.26.1",
    }
    write_json(folder / "config.json", config)
    generation = {
        "_from_model_config": True,
        "bos_token_id": 1,
        "eos_token_id": tokenizer.end_of_text,
        "transformers_version": "4.26.1",
    }
    write_json(folder / "generation_config.json", generation)
    write_single(folder, moss_state(Draw(2, torch.float32), shape, torch.bool))
    write_tokenizer(folder, tokenizer)


def make_codegen2(folder: Path) -> None:
    """CodeGen2 (8 blocks of two heads each): nothing in its files tells it from CodeGen."""
    shape = MossShape(hidden=96, inner=60, heads=16, layers=2, rows=304)
    config = moss_family_config(shape, rotary_dim=6) | {
        "architectures": ["CodeGenForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "model_type": "codegen",
        "torch_dtype": "float16",
        "transformers_version": "4.28.1",
    }
    write_json(folder / "config.json", config)
    write_single(folder, moss_state(Draw(3, torch.float16), shape, torch.bool))


@dataclass
class LlamaShape:
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    layers: int
    rows: int


def llama_state(draw: Draw, shape: LlamaShape, *, tied: bool, frequencies: bool) -> State:
    hidden, inner = shape.hidden, shape.inner
    head_dim = hidden // shape.heads
    state: State = {"model.embed_tokens.weight": draw.normal(shape.rows, hidden, scale=0.5)}
    for index in range(shape.layers):
        name = f"model.layers.{index}."
        state[name + "self_attn.q_proj.weight"] = draw.matrix(hidden, hidden, gain=FOCUS)
        state[name + "self_attn.k_proj.weight"] = draw.matrix(
            shape.kv_heads * head_dim, hidden, gain=FOCUS
        )
        state[name + "self_attn.v_proj.weight"] = draw.matrix(shape.kv_heads * head_dim, hidden)
        state[name + "self_attn.o_proj.weight"] = draw.matrix(hidden, hidden)
        if frequencies:
            step = torch.arange(0, head_dim, 2).float() / head_dim
            state[name + "self_attn.rotary_emb.inv_freq"] = 1.0 / 10000.0**step
        state[name + "mlp.gate_proj.weight"] = draw.matrix(inner, hidden)
        state[name + "mlp.down_proj.weight"] = draw.matrix(hidden, inner, gain=1.5)
        state[name + "mlp.up_proj.weight"] = draw.matrix(inner, hidden)
        state[name + "input_layernorm.weight"] = draw.norm_weight(hidden)
        state[name + "post_attention_layernorm.weight"] = draw.norm_weight(hidden)
    state["model.norm.weight"] = draw.norm_weight(hidden)
    if not tied:
        state["lm_head.weight"] = draw.matrix(shape.rows, hidden, gain=2.0)
    return state


def llama_config(shape: LlamaShape) -> dict[str, object]:
    return {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.inner,
        "max_position_embeddings": 2048,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "rms_norm_eps": 1e-05,
        "use_cache": True,
        "vocab_size": shape.rows,
    }


def make_llama(folder: Path) -> None:
    """LLaMA 3's format: grouped heads, bf16 safetensors in two shards, tied head."""
    shape = LlamaShape(hidden=80, inner=172, heads=8, kv_heads=2, layers=3, rows=281)
    config = llama_config(shape) | {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "model_type": "llama",
        "num_key_value_heads": shape.kv_heads,
        "pretraining_tp": 1,
        "rope_scaling": None,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.0",
    }
    write_json(folder / "config.json", config)
    generation = {
        "bos_token_id": 1,
        "do_sample": True,
        "eos_token_id": [2, 7],
        "temperature": 0.6,
        "top_p": 0.9,
        "transformers_version": "4.40.0",
    }
    write_json(folder / "generation_config.json", generation)
    state = llama_state(Draw(4, torch.bfloat16), shape, tied=True, frequencies=False)
    write_shards(folder, state, "model", ".safetensors")


def make_llama_untied(folder: Path) -> None:
    """moss-base-7b's format: the LLaMA architecture that calls itself moss."""
    shape = LlamaShape(hidden=64, inner=108, heads=4, kv_heads=4, layers=2, rows=301)
    config = llama_config(shape) | {
        "architectures": ["MossForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_moss.MossConfig",
            "AutoModel": "modeling_moss.MossModel",
            "AutoModelForCausalLM": "modeling_moss.MossForCausalLM",
        },
        "model_type": "moss",
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.30.2",
    }
    write_json(folder / "config.json", config)
    state = llama_state(Draw(5, torch.float16), shape, tied=False, frequencies=True)
    write_shards(folder, state, "pytorch_model", ".bin")


def make_gpt_neox(folder: Path) -> None:
    """Pythia's format: what a program that brings its own architecture opens."""
    hidden, inner, heads, layers, rows = 48, 120, 2, 2, 263
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": inner,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "model_type": "gpt_neox",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.24.0",
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": rows,
    }
    write_json(folder / "config.json", config)
    draw = Draw(6, torch.float32)
    state: State = {"gpt_neox.embed_in.weight": draw.normal(rows, hidden)}
    rotary_dim = int(hidden // heads * 0.25)
    for index in range(layers):
        name = f"gpt_neox.layers.{index}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            state[f"{name}{norm}.weight"] = draw.norm_weight(hidden)
            state[f"{name}{norm}.bias"] = draw.bias(hidden)
        mask = torch.tril(torch.ones(MASK_SIDE, MASK_SIDE)).to(torch.bool)
        state[name + "attention.bias"] = mask.view(1, 1, MASK_SIDE, MASK_SIDE)
        state[name + "attention.masked_bias"] = torch.tensor(-1e9)
        step = torch.arange(0, rotary_dim, 2).float() / rotary_dim
        state[name + "attention.rotary_emb.inv_freq"] = 1.0 / 10000.0**step
        for part, out, width, gain in (
            ("attention.query_key_value", 3 * hidden, hidden, FOCUS),
            ("attention.dense", hidden, hidden, 0.6),
            ("mlp.dense_h_to_4h", inner, hidden, 1.0),
            ("mlp.dense_4h_to_h", hidden, inner, 1.5),
        ):
            state[f"{name}{part}.weight"] = draw.matrix(out, width, gain)
            state[f"{name}{part}.bias"] = draw.bias(out)
    state["gpt_neox.final_layer_norm.weight"] = draw.norm_weight(hidden)
    state["gpt_neox.final_layer_norm.bias"] = draw.bias(hidden)
    state["embed_out.weight"] = draw.matrix(rows, hidden, gain=2.0)
    write_safetensors(folder / "model.safetensors", state)


MAKERS = {
    "moss": make_moss,
    "codegen": make_codegen,
    "codegen2": make_codegen2,
    "llama": make_llama,
    "llama-untied": make_llama_untied,
    "gpt-neox": make_gpt_neox,
}


def make(root: Path) -> None:
    for name, maker in MAKERS.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        maker(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER)

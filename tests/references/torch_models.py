"""The same checkpoints in transformers, in float32: the second opinion beside forward64.

Weights are copied by hand into CodeGenForCausalLM, LlamaForCausalLM and GPTNeoXForCausalLM, since
transformers has no class for MOSS and would read none of MOSS's two config.json files as meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama

from forward64 import read_tensors
from make_models import Kind

Points = dict[tuple[str, int], np.ndarray]

# Rows of CodeGenForCausalLM's qkv_proj are cut into four blocks, whatever the checkpoint has.
TRANSFORMERS_BLOCKS = 4

IGNORED = ("causal_mask", "attention.bias", "attention.masked_bias", "inv_freq")


def _reblock(fused: torch.Tensor, blocks: int) -> torch.Tensor:
    """Rows from `blocks` blocks of q, v, k to four."""
    hidden = fused.shape[1]
    parts = fused.reshape(blocks, 3, hidden // blocks, hidden).transpose(0, 1)
    regrouped = parts.reshape(3, TRANSFORMERS_BLOCKS, hidden // TRANSFORMERS_BLOCKS, hidden)
    return regrouped.transpose(0, 1).reshape(3 * hidden, hidden)


def _codegen(config: dict[str, Any]) -> PreTrainedModel:
    keys = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "rotary_dim", "n_inner")
    values: dict[str, Any] = {key: config[key] for key in keys}
    return CodeGenForCausalLM(CodeGenConfig(**values, bos_token_id=None, eos_token_id=None))


def _llama(config: dict[str, Any]) -> PreTrainedModel:
    keys = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "max_position_embeddings", "rms_norm_eps"),
        "tie_word_embeddings",
    )
    values = {key: config[key] for key in keys}
    values["num_key_value_heads"] = config.get("num_key_value_heads", config["num_attention_heads"])
    rope = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    return LlamaForCausalLM(LlamaConfig(**values, rope_parameters=rope))


def _neox(config: dict[str, Any]) -> PreTrainedModel:
    keys = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "hidden_act", "max_position_embeddings", "layer_norm_eps"),
        "use_parallel_residual",
    )
    rope = {
        "rope_type": "default",
        "rope_theta": float(config["rotary_emb_base"]),
        "partial_rotary_factor": config["rotary_pct"],
    }
    values = {key: config[key] for key in keys}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**values, rope_parameters=rope))


def load(folder: Path, kind: Kind) -> PreTrainedModel:
    config = json.loads((folder / "config.json").read_text())
    state = {
        name: torch.from_numpy(values).to(torch.float32)
        for name, values in read_tensors(folder).items()
        if not name.endswith(IGNORED)
    }
    if kind.family in ("moss", "codegen"):
        model = _codegen(config)
        for name in state:
            if name.endswith("qkv_proj.weight"):
                state[name] = _reblock(state[name], kind.mp_num)
    elif kind.family == "llama":
        model = _llama(config)
        if config["tie_word_embeddings"]:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
    else:
        model = _neox(config)
        state["lm_head.weight"] = state.pop("embed_out.weight")
    model.set_attn_implementation("eager")
    model.load_state_dict(state, strict=True)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    model.train(False)
    return model


def _layers(model: PreTrainedModel) -> Any:
    name = {
        CodeGenForCausalLM: "transformer.h",
        LlamaForCausalLM: "model.layers",
        GPTNeoXForCausalLM: "gpt_neox.layers",
    }[type(model)]
    return model.get_submodule(name)


def _parts(layer: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The attention's norm and output projection, the MLP and its last matrix."""
    names = {
        "CodeGenBlock": ("ln_1", "attn.out_proj", "mlp", "mlp.fc_out"),
        "LlamaDecoderLayer": ("input_layernorm", "self_attn.o_proj", "mlp", "mlp.down_proj"),
        "GPTNeoXLayer": ("input_layernorm", "attention.dense", "mlp", "mlp.dense_4h_to_h"),
    }[type(layer).__name__]
    return {
        part: layer.get_submodule(name)
        for part, name in zip(("norm1", "out", "mlp", "down"), names, strict=True)
    }


@torch.no_grad()
def logits(model: PreTrainedModel, ids: Sequence[int], rows: Sequence[int]) -> np.ndarray:
    """One prefill; float32 [rows, vocab]."""
    return np.asarray(model(torch.tensor([list(ids)])).logits[0, list(rows)])


def _flat(tensor: torch.Tensor) -> np.ndarray:
    """[1, tokens, ...] or [1, heads, tokens, head_dim] to [tokens, width]."""
    kept = tensor.detach()[0]
    if kept.dim() == 3:
        kept = kept.transpose(0, 1)
    return kept.reshape(kept.shape[0], -1).numpy().copy()


@contextmanager
def _captured_heads(model: PreTrainedModel, seen: list[tuple[torch.Tensor, ...]]) -> Iterator[None]:
    """Appends every layer's q, k (after rotary) and v, [1, heads, tokens, head_dim], to `seen`."""
    with ExitStack() as stack:
        if isinstance(model, CodeGenForCausalLM):
            for layer in model.transformer.h:

                def attend(q: Any, k: Any, v: Any, mask: Any = None, of: Any = layer.attn) -> Any:
                    seen.append((q, k, v))
                    return type(of)._attn(of, q, k, v, mask)

                stack.enter_context(mock.patch.object(layer.attn, "_attn", attend))
        else:
            llama = isinstance(model, LlamaForCausalLM)
            module = modeling_llama if llama else modeling_gpt_neox
            eager = module.eager_attention_forward

            def eager_attention(of: Any, q: Any, k: Any, v: Any, *args: Any, **named: Any) -> Any:
                seen.append((q, k, v))
                return eager(of, q, k, v, *args, **named)

            stack.enter_context(
                mock.patch.object(module, "eager_attention_forward", eager_attention)
            )
        yield


@torch.no_grad()
def points(model: PreTrainedModel, ids: Sequence[int]) -> Points:
    """forward64's points of every layer, in float32."""
    found: Points = {}
    seen: list[tuple[torch.Tensor, ...]] = []
    handles = []

    def keep(name: str, index: int, *, reads: bool = False) -> Any:
        def hook(_module: Any, inputs: Any, output: Any) -> None:
            value = inputs[0] if reads else output
            found[name, index] = _flat(value[0] if isinstance(value, tuple) else value)

        return hook

    for index, layer in enumerate(_layers(model)):
        part = _parts(layer)
        handles += [
            part["norm1"].register_forward_hook(keep("norm1", index)),
            part["out"].register_forward_hook(keep("attn_out", index, reads=True)),
            part["mlp"].register_forward_hook(keep("mlp_in", index, reads=True)),
            part["down"].register_forward_hook(keep("mlp_act", index, reads=True)),
            part["mlp"].register_forward_hook(keep("mlp_out", index)),
            layer.register_forward_hook(keep("resid", index)),
        ]
    embed = model.get_input_embeddings()
    head = model.get_submodule("lm_head")
    handles.append(embed.register_forward_hook(keep("embed", -1)))
    handles.append(head.register_forward_hook(keep("final_norm", -1, reads=True)))
    handles.append(head.register_forward_hook(keep("logits", -1)))
    with _captured_heads(model, seen):
        model(torch.tensor([list(ids)]))
    for handle in handles:
        handle.remove()
    for index, heads in enumerate(seen):
        for name, value in zip("qkv", heads, strict=True):
            found[name, index] = _flat(value)
    return found


@torch.no_grad()
def logits_without_head(
    model: PreTrainedModel, ids: Sequence[int], layer: int, head: int, head_dim: int
) -> np.ndarray:
    """Logits of all rows with one head's output set to zero."""

    def silence(_module: Any, inputs: Any) -> Any:
        value = inputs[0].clone()
        value[..., head * head_dim : (head + 1) * head_dim] = 0.0
        return (value,)

    handle = _parts(_layers(model)[layer])["out"].register_forward_pre_hook(silence)
    result = np.asarray(model(torch.tensor([list(ids)])).logits[0])
    handle.remove()
    return result


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt: Sequence[int], count: int) -> tuple[list[int], float]:
    """`count` tokens by argmax, and the smallest lead of the best over the second."""
    ids = torch.tensor([list(prompt)])
    past = None
    chosen: list[int] = []
    lead = float("inf")
    for _ in range(count):
        out = model(ids, past_key_values=past, use_cache=True)
        past = out.past_key_values
        best = torch.topk(out.logits[0, -1], 2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        chosen.append(int(best.indices[0]))
        ids = best.indices[:1].reshape(1, 1)
    return chosen, lead

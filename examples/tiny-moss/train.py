"""Trains the tiny MOSS model on one CPU core and writes it in MOSS's published file format.

  python train.py --compile --work WORKDIR --out model

The tokenizer is trained first, then the network, both from fixed seeds. WORKDIR keeps a resumable
state; --write-only writes the files from it without training on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

# isort: split
from make_dialogues import Dialogue, Generator, heldout_questions, turn_fields

HIDDEN, LAYERS, HEADS, ROTARY, POSITIONS = 256, 6, 8, 16, 1024
HEAD_DIM = HIDDEN // HEADS
MP_NUM = 4  # MOSS keeps query, value and key in four blocks
MERGES = 1200
PADDED_ROWS = 128  # the vocabulary is padded to a multiple of this
MIN_PADDING = 8
EO = ["<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"]
RUNS = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
RESULTS_TAG = "<|Results|>:"
IGNORE = -100
MAX_LENGTH = 512


# --- tokenizer -------------------------------------------------------------------------------


def train_vocabulary(seed: int, dialogues: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level BPE. Digits stand alone while pairs are counted, so no merge holds a digit, and
    the merges act alike under the plain split rule that a runtime applies."""
    generator = Generator(seed)

    def texts() -> Iterator[str]:
        for _ in range(dialogues):
            dialogue = generator.dialogue()
            text = dialogue.meta
            for i in range(len(dialogue.turns)):
                text += "".join(value for _, value in turn_fields(dialogue, i))
            for token in EO:
                text = text.replace(token, "\0")
            yield from text.split("\0")

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(texts(), trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    assert not any(c.isdigit() and c.isascii() for pair in merges for part in pair for c in part)
    vocabulary = {token: i for i, token in enumerate(sorted(alphabet))}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    vocabulary["<|endoftext|>"] = len(vocabulary)
    return vocabulary, merges


def added_tokens(vocabulary: dict[str, int]) -> dict[str, int]:
    return {token: len(vocabulary) + i for i, token in enumerate(RUNS + EO)}


def make_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(run, normalized=False) for run in RUNS])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in EO])
    for token, i in added_tokens(vocabulary).items():
        assert tokenizer.token_to_id(token) == i, token
    return tokenizer


def load_tokenizer(folder: Path) -> Tokenizer:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    return make_tokenizer(vocabulary, [(a, b) for a, b in (line.split() for line in lines)])


def write_tokenizer(
    folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def write_json(name: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        (folder / name).write_text(text, encoding="utf-8")

    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    added = added_tokens(vocabulary)
    write_json("added_tokens.json", added)

    def token(text: str) -> dict[str, object]:
        flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        return {"content": text, **flags}

    names = {"bos_token": "<|endoftext|>", "eos_token": "<eom>", "unk_token": "<|endoftext|>"}
    special: dict[str, object] = {"additional_special_tokens": [token(t) for t in EO]}
    write_json("special_tokens_map.json", special | {k: token(v) for k, v in names.items()})
    settings: dict[str, object] = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "errors": "replace",
        "model_max_length": POSITIONS,
        "pad_token": None,
        "tokenizer_class": "MossTokenizer",
    }
    write_json(
        "tokenizer_config.json",
        settings | {k: {"__type": "AddedToken", **token(v)} for k, v in names.items()},
    )


# --- network ---------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.out_proj = nn.Linear(HIDDEN, HIDDEN, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        # Rows of qkv_proj: [block, part (query, value, key), head in block, dim].
        qkv = self.qkv_proj(x).view(batch, length, MP_NUM, 3, HEADS // MP_NUM, HEAD_DIM)
        q, v, k = (
            qkv[:, :, :, part].reshape(batch, length, HEADS, HEAD_DIM).transpose(1, 2)
            for part in range(3)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        # Written out: the fused kernel's backward pass is slow at these lengths on a CPU.
        scores = (q * HEAD_DIM**-0.5) @ k.transpose(-1, -2) + mask
        context = torch.softmax(scores, -1).to(v.dtype) @ v
        out: Tensor = self.out_proj(context.transpose(1, 2).reshape(batch, length, HIDDEN))
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Interleaved rotary embedding of the first ROTARY dims."""
    even, odd = x[..., :ROTARY:2], x[..., 1:ROTARY:2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
    return torch.cat([turned, x[..., ROTARY:]], -1)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc_in = nn.Linear(HIDDEN, 4 * HIDDEN)
        self.fc_out = nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc_out(F.gelu(self.fc_in(x), approximate="tanh"))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(HIDDEN)
        self.attn = Attention()
        self.mlp = Mlp()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        n = self.ln_1(x)
        out: Tensor = self.attn(n, cos, sin, mask) + self.mlp(n) + x
        return out


class Transformer(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(rows, HIDDEN)
        self.h = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(HIDDEN)


class TinyMoss(nn.Module):
    """MOSS's network; its parameters carry the names of the published tensors."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.transformer = Transformer(rows)
        self.lm_head = nn.Linear(HIDDEN, rows)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                # Projections onto the residual stream start smaller, as in GPT-2.
                deep = name.endswith(("out_proj.weight", "fc_out.weight"))
                nn.init.normal_(p, 0.0, 0.02 / math.sqrt(2 * LAYERS) if deep else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        frequency = 1.0 / 10000 ** (torch.arange(0, ROTARY, 2) / ROTARY)
        self.angles = torch.arange(POSITIONS)[:, None] * frequency

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        angles = self.angles[:length]
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        mask = torch.full((length, length), -1e9, dtype=dtype).triu(1)
        x = self.transformer.wte(ids)
        for block in self.transformer.h:
            x = block(x, cos, sin, mask)
        logits: Tensor = self.lm_head(self.transformer.ln_f(x))
        return logits


# --- data ------------------------------------------------------------------------------------


def encode(tokenizer: Tokenizer, dialogue: Dialogue) -> tuple[list[int], list[bool]]:
    """The ids of a dialogue, and which of them bear loss. Fields are encoded one by one; the meta
    instruction and what stands in the results bear none."""
    ids: list[int] = []
    learn: list[bool] = []
    if dialogue.meta:
        ids += tokenizer.encode(dialogue.meta).ids
        learn += [False] * len(ids)
    tag = len(tokenizer.encode(RESULTS_TAG).ids)
    for i in range(len(dialogue.turns)):
        for name, text in turn_fields(dialogue, i):
            piece = tokenizer.encode(text).ids
            ids += piece
            if name == "Tool Responses":
                learn += [True] * tag + [False] * (len(piece) - tag - 2) + [True] * 2
            else:
                learn += [True] * len(piece)
    return ids[:MAX_LENGTH], learn[:MAX_LENGTH]


def batches(tokenizer: Tokenizer, seed: int, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of dialogues of like length, each from position 0, about `tokens` ids in each.
    Lengths are rounded up to a multiple of 8: every new shape costs the kernels a preparation."""
    generator = Generator(seed)
    waiting: dict[int, list[tuple[list[int], list[bool]]]] = {}
    while True:
        sample = encode(tokenizer, generator.dialogue())
        length = (len(sample[0]) + 7) // 8 * 8
        group = waiting.setdefault(length, [])
        group.append(sample)
        if len(group) < tokens // length:
            continue
        x = torch.zeros(len(group), length, dtype=torch.long)
        y = torch.full((len(group), length), IGNORE)
        for row, (ids, learn) in enumerate(group):
            x[row, : len(ids)] = torch.tensor(ids)
            target = torch.where(torch.tensor(learn), torch.tensor(ids), IGNORE)
            y[row, : len(ids) - 1] = target[1:]
        group.clear()
        yield x, y


@torch.no_grad()
def exact_commands(net: TinyMoss, tokenizer: Tokenizer, count: int) -> tuple[int, str]:
    """How many of the first held-out commands are written exactly, and the last text written."""
    net.eval()
    stop = tokenizer.token_to_id("<eoc>")
    questions = [q for q in heldout_questions() if q["expression"]]
    right, text = 0, ""
    for q in questions[:: len(questions) // count][:count]:
        prompt = q["meta"] + f"<|Human|>: {q['question']}<eoh>\n<|Inner Thoughts|>:"
        ids = tokenizer.encode(prompt).ids
        start = len(ids)
        while ids[-1] != stop and len(ids) < start + 80:
            ids.append(int(net(torch.tensor([ids]))[0, -1].argmax()))
        text = tokenizer.decode(ids[start:], skip_special_tokens=False)
        right += text.endswith(f"<|Commands|>: {q['command']}<eoc>")
    net.train()
    return right, text


# --- training and writing ----------------------------------------------------------------------


def learning_rate(step: int, steps: int, peak: float) -> float:
    warm = min(1.0, (step + 1) / 200)
    return peak * warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / steps)))


def train(net: TinyMoss, tokenizer: Tokenizer, args: argparse.Namespace) -> None:
    wide = [p for p in net.parameters() if p.dim() > 1]
    narrow = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": wide, "weight_decay": 0.05}, {"params": narrow, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.98),
        fused=True,
    )
    state = args.work / "state.pt"
    first = tokens = 0
    if state.exists():
        saved = torch.load(state)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        first, tokens = saved["step"], saved["tokens"]
    # A resumed run draws other dialogues than the ones already seen.
    data = batches(tokenizer, args.seed + first, args.tokens)
    began = time.time()
    for step in range(first, args.steps):
        x, y = next(data)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.rate)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(x)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten(), ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        tokens += x.numel()
        done = step + 1
        if done % 100 == 0 or done == 20:
            seconds = time.time() - began
            print(f"{seconds:.0f} s step {done} tokens {tokens} loss {loss:.4f}", flush=True)
        if done % args.check_every == 0 or done == args.steps:
            right, text = exact_commands(net, tokenizer, 40)
            print(f"  held-out commands {right} of 40; last {text!r}", flush=True)
        if done % 500 == 0 or done == args.steps:
            saved = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**saved, "step": done, "tokens": tokens}, args.work / "state.tmp")
            (args.work / "state.tmp").replace(state)


def write_model(net: TinyMoss, folder: Path, vocabulary: dict[str, int]) -> None:
    """Two fp16 pickle shards with their index, and config.json with MOSS's keys."""
    half = {name: p.detach().half().clone() for name, p in net.named_parameters()}
    middle = f"transformer.h.{LAYERS // 2}."
    shards: list[OrderedDict[str, Tensor]] = [OrderedDict(), OrderedDict()]
    shard = 0
    for name, tensor in half.items():
        shard = 1 if name.startswith(middle) else shard
        shards[shard][name] = tensor
        if name.endswith("ln_1.bias"):
            shards[shard][name.replace("ln_1.bias", "attn.causal_mask")] = torch.empty(0)
    index: dict[str, str] = {}
    for i, tensors in enumerate(shards):
        # The mask buffers of a shard are views of one storage: published files repeat it.
        mask = torch.ones(POSITIONS, POSITIONS, dtype=torch.uint8).tril()
        for name in tensors:
            if name.endswith("causal_mask"):
                tensors[name] = mask.view(1, 1, POSITIONS, POSITIONS)
        file = f"pytorch_model-{i + 1:05}-of-{len(shards):05}.bin"
        torch.save(tensors, folder / file)
        index |= dict.fromkeys(tensors, file)
    total = sum(t.numel() * t.element_size() for shard_ in shards for t in shard_.values())
    added = added_tokens(vocabulary)
    bos, eos = vocabulary["<|endoftext|>"], added["<eom>"]
    config = {
        "activation_function": "gelu_new",
        "architectures": ["MossForCausalLM"],
        "attn_pdrop": 0.0,
        "bos_token_id": bos,
        "embd_pdrop": 0.0,
        "eos_token_id": eos,
        "gradient_checkpointing": False,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "moss",
        "n_ctx": POSITIONS,
        "n_embd": HIDDEN,
        "n_head": HEADS,
        "n_inner": None,
        "n_layer": LAYERS,
        "n_positions": POSITIONS,
        "resid_pdrop": 0.0,
        "rotary_dim": ROTARY,
        "scale_attn_weights": True,
        "task_specific_params": {
            "text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}
        },
        "tie_word_embeddings": False,
        "tokenizer_class": "GPT2Tokenizer",
        "torch_dtype": "float32",
        "transformers_version": "4.25.1",
        "use_cache": True,
        "vocab_size": half["lm_head.weight"].shape[0],
    }
    files = {
        "config.json": config,
        "generation_config.json": {
            "_from_model_config": True,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "transformers_version": "4.25.1",
        },
        "pytorch_model.bin.index.json": {
            "metadata": {"total_size": total},
            "weight_map": dict(sorted(index.items())),
        },
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens in a step")
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile the block (faster)")
    parser.add_argument("--check-every", type=int, default=1000, help="steps between checks")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state")
    parser.add_argument("--out", type=Path, help="folder for the model")
    parser.add_argument("--write-only", action="store_true", help="write the state as it is")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.compile:
        Block.forward = torch.compile(Block.forward, dynamic=True)  # type: ignore[method-assign]
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = train_vocabulary(args.seed, 8000)
    tokenizer = make_tokenizer(vocabulary, merges)
    used = len(vocabulary) + len(added_tokens(vocabulary))
    rows = (used + MIN_PADDING + PADDED_ROWS - 1) // PADDED_ROWS * PADDED_ROWS
    net = TinyMoss(rows)
    count = sum(p.numel() for p in net.parameters())
    print(f"{used} tokens in {rows} rows, {count} parameters", flush=True)
    if args.write_only:
        net.load_state_dict(torch.load(args.work / "state.pt")["net"])
    else:
        train(net, tokenizer, args)
    if args.out:
        write_tokenizer(args.out, vocabulary, merges)
        write_model(net, args.out, vocabulary)


if __name__ == "__main__":
    main()

"""Small byte-level BPE files in MOSS's and CodeGen's layout: bytes, 20 merges, added tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# Left and right part of each merge in GPT-2's spelling, where "Ġ" is a space. Each part is a byte
# or the result of an earlier merge.
MERGES = (
    ("Ġ", "t"),
    ("h", "e"),
    ("i", "n"),
    ("Ġt", "he"),
    ("e", "r"),
    ("o", "n"),
    ("Ġ", "a"),
    ("r", "e"),
    ("in", "g"),
    ("a", "n"),
    ("Ġa", "n"),
    ("Ġan", "d"),
    ("l", "l"),
    ("Ġ", "Ġ"),
    ("ä", "½"),
    ("ä½", "ł"),  # the three bytes of U+4F60
    ("å", "¥"),
    ("å¥", "½"),  # the three bytes of U+597D
    ("o", "ll"),
    ("he", "ll"),
)
BASE_IDS = 256 + len(MERGES)  # <|endoftext|> and the added tokens start here


@dataclass
class Tokenizer:
    vocab: dict[str, int]
    added: dict[str, int]
    end_of_text: int
    special_tokens_map: dict[str, object]
    config: dict[str, object]


def byte_alphabet() -> list[str]:
    """GPT-2's 256 symbols in the order of its ids: printable bytes as themselves, then the rest."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(others)]


def _vocab() -> dict[str, int]:
    symbols = byte_alphabet() + [left + right for left, right in MERGES] + ["<|endoftext|>"]
    vocab = {symbol: number for number, symbol in enumerate(symbols)}
    assert len(vocab) == BASE_IDS + 1
    return vocab


def _whitespace_runs(first: int) -> dict[str, int]:
    """31 to 2 spaces, then 9 to 2 tabs, in falling length as both families have them."""
    runs = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
    return {run: first + number for number, run in enumerate(runs)}


def codegen_tokenizer() -> Tokenizer:
    end = "<|endoftext|>"
    return Tokenizer(
        vocab=_vocab(),
        added=_whitespace_runs(BASE_IDS + 1),
        end_of_text=BASE_IDS,
        special_tokens_map={"bos_token": end, "eos_token": end, "unk_token": end},
        config={
            "add_prefix_space": False,
            "bos_token": end,
            "eos_token": end,
            "model_max_length": 2048,
            "tokenizer_class": "CodeGenTokenizer",
            "unk_token": end,
        },
    )


def moss_tokenizer() -> Tokenizer:
    added = _whitespace_runs(BASE_IDS + 1)
    ends = ("<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>")
    added |= {text: BASE_IDS + 1 + len(added) + number for number, text in enumerate(ends)}

    def token(content: str, *, normalized: bool = True) -> dict[str, object]:
        flags = {"lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
        return {"content": content, **flags}

    typed = {"__type": "AddedToken"}
    return Tokenizer(
        vocab=_vocab(),
        added=added,
        end_of_text=BASE_IDS,
        special_tokens_map={
            "additional_special_tokens": [token(text) for text in ends],
            "bos_token": token("<|endoftext|>"),
            "eos_token": token("<eom>"),
            "unk_token": token("<|endoftext|>"),
        },
        config={
            "add_bos_token": False,
            "add_prefix_space": False,
            "auto_map": {"AutoTokenizer": ["tokenization_moss.MossTokenizer", None]},
            "bos_token": typed | token("<|endoftext|>"),
            "eos_token": typed | token("<eom>"),
            "errors": "replace",
            "model_max_length": 2048,
            "pad_token": None,
            "tokenizer_class": "MossTokenizer",
            "unk_token": typed | token("<|endoftext|>"),
        },
    )


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    def write(name: str, value: object) -> None:
        (folder / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    write("vocab.json", tokenizer.vocab)
    write("added_tokens.json", tokenizer.added)
    write("special_tokens_map.json", tokenizer.special_tokens_map)
    write("tokenizer_config.json", tokenizer.config)
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in MERGES), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")

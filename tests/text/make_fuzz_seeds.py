"""Writes the seed corpora of the tokenizer fuzzers: python make_fuzz_seeds.py <tests/data>."""

import json
import pathlib
import sys


def main(data):
    seeds = data / "corpus" / "tokenizer_files_fuzz"
    seeds.mkdir(parents=True, exist_ok=True)
    vocab = {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ċ": 4, "Ġab": 5, "<|endoftext|>": 6}
    merges = "#version: 0.2\na b\nĠ ab\n"
    added = {"  ": 7, "   ": 8, "<eom>": 9}
    config = {
        "add_bos_token": True,
        "bos_token": {"content": "<|endoftext|>", "lstrip": True, "rstrip": False},
        "added_tokens_decoder": {"9": {"content": "<eom>", "special": True}},
    }
    texts = ["ab ab\n  ab<eom>   b", "<|endoftext|>  \n  ab", "é"]
    for i, text in enumerate(texts):
        parts = [
            json.dumps(vocab, ensure_ascii=False),
            merges,
            json.dumps(added),
            json.dumps(config) if i else "",
            text,
        ]
        (seeds / f"seed{i}").write_bytes("\0".join(parts).encode())
    models = data / "corpus" / "sentencepiece_fuzz"
    models.mkdir(parents=True, exist_ok=True)
    for name in "sp_bpe", "sp_unigram":
        (models / name).write_bytes((data / "text" / name / "tokenizer.model").read_bytes())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

"""Makes tests/data/text: small vocabularies and what independent tokenizers make of texts.

Needs an environment of its own:
    pip install transformers==4.25.1 tokenizers==0.13.3 regex==2022.10.31 "numpy<2" "huggingface_hub<0.20" sentencepiece
regex 2022.10.31 has the tables of Unicode 15, as utf8proc 2.8 has; later versions call more code points letters.

    python make_references.py <output directory>
"""

import io
import json
import pathlib
import sys
import tempfile

import sentencepiece
from sample_texts import comparison_texts, training_lines
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers.models.gpt2.tokenization_gpt2 import GPT2Tokenizer

SPECIAL = ["<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"]
RUNS = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]


def write(path, value):
    path.write_text(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def make_vocabulary(folder):
    """A vocabulary in MOSS's layout: BPE, <|endoftext|>, runs of spaces and tabs, control tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(training_lines(), vocab_size=1200, min_frequency=2, show_progress=False)
    bpe.save_model(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab["<|endoftext|>"] = len(vocab)
    write(folder / "vocab.json", vocab)
    write(
        folder / "added_tokens.json",
        {name: len(vocab) + i for i, name in enumerate(RUNS + SPECIAL)},
    )
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    write(
        folder / "special_tokens_map.json",
        {
            "additional_special_tokens": [{"content": name, **flags} for name in SPECIAL],
            "bos_token": {"content": "<|endoftext|>", **flags},
            "eos_token": {"content": "<eom>", **flags},
            "unk_token": {"content": "<|endoftext|>", **flags},
        },
    )
    write(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "errors": "replace",
            "tokenizer_class": "CodeGenTokenizer",
        },
    )


def fnv1a(state, ids):
    for word in (len(ids), *ids):
        for byte in word.to_bytes(4, "little"):
            state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def code_point_texts(c):
    c = chr(c)
    return c, f"a{c}b 1{c}2", f" {c} {c}{c}", f"'{c}  {c}\n.{c}"


def code_point_hashes(encode):
    """One hash for each 4096 code points."""
    hashes = []
    for block in range(0, 0x110000, 4096):
        state = 0xCBF29CE484222325
        for c in range(block, block + 4096):
            if not 0xD800 <= c < 0xE000:
                for text in code_point_texts(c):
                    state = fnv1a(state, encode(text))
        hashes.append(f"{state:016x}")
    return hashes


def byte_level_references(folder):
    slow = GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))

    def bpe_only(text):  # no added tokens
        return slow.convert_tokens_to_ids(slow._tokenize(text))

    plain, special = (
        ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        for _ in range(2)
    )
    for tokenizer in plain, special:
        tokenizer.add_tokens([AddedToken(run, normalized=False) for run in RUNS])
    special.add_special_tokens(
        [AddedToken(name, normalized=False) for name in SPECIAL + ["<|endoftext|>"]]
    )
    texts = comparison_texts()
    return {
        "plain": [plain.encode(text).ids for text in texts],
        "special": [special.encode(text).ids for text in texts],
        "code_points": code_point_hashes(bpe_only),
    }


def train_sentencepiece(path, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_lines()),
        model_writer=model,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


def sentencepiece_references(path):
    sp = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = comparison_texts()
    ids = [sp.encode(text) for text in texts]
    decoded = [sp.decode(i) for i in ids]
    size = sp.get_piece_size()
    # Sequences that no encoder makes: bytes that end early, spaces and control pieces at the start.
    odd = [[(7 * i * i + 13 * j + i) % size for j in range(1 + i % 9)] for i in range(120)]
    return {
        "ids": ids,
        "decoded": [None if d == t else d for d, t in zip(decoded, texts)],  # None: the text itself
        "odd": odd,
        "odd_decoded": [sp.decode(i) for i in odd],
    }


def main(output):
    output.mkdir(parents=True, exist_ok=True)
    write(output / "texts.json", comparison_texts())
    make_vocabulary(output / "moss_like")
    write(output / "byte_level.json", byte_level_references(output / "moss_like"))
    train_sentencepiece(
        output / "sp_bpe" / "tokenizer.model",
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        character_coverage=0.98,
    )
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        rules.write(
            "FB01\t66 69\nFF21\t41\nFF11\t31\n2028\t20\n3000\t20\n9\t20\nA\t20\n"
        )  # ligature, full width, spaces
        rules.flush()
        train_sentencepiece(
            output / "sp_unigram" / "tokenizer.model",
            model_type="unigram",
            vocab_size=300,
            normalization_rule_tsv=rules.name,
            character_coverage=0.98,
            pad_id=3,
            user_defined_symbols=["[tool]", "[to"],
            hard_vocab_limit=False,
        )
    for name in "sp_bpe", "sp_unigram":
        write(output / f"{name}.json", sentencepiece_references(output / name / "tokenizer.model"))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

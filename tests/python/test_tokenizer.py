"""Tokenizer: both ways, incremental decoding, and transformers beside it."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mossrt
from conftest import MOSS, ROOT, TRAINED

TEXTS = [
    "",
    " ",
    "hello",
    "it's  we'll",
    "中文字符,。",
    "a\n\n  b\t",
    "e\u0301 é ñ",
    "👍🏽 <eom> <eoh>",
    "\0x",
]


@pytest.fixture(scope="module")
def tokenizer() -> mossrt.Tokenizer:
    return mossrt.Tokenizer.from_pretrained(TRAINED)


@pytest.mark.parametrize("text", TEXTS)
def test_both_ways(tokenizer: mossrt.Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([int(i) for i in ids]) == text
    assert b"".join(tokenizer.token_bytes(int(i)) for i in ids) == text.encode()


@settings(max_examples=300)
@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    tokenizer = mossrt.Tokenizer.from_pretrained(MOSS)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    decoder = tokenizer.decoder()
    pieces = [decoder.push(int(i)) for i in ids]
    assert "".join(pieces) + decoder.flush() == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_decoder_gives_whole_code_points(tokenizer: mossrt.Tokenizer) -> None:
    ids = [int(i) for i in tokenizer.encode("€")]
    assert len(ids) > 1
    decoder = tokenizer.decoder()
    assert [decoder.push(i) for i in ids] == ["", "", "€"][-len(ids) :]
    assert decoder.push(np.array(ids, np.int64)) == "€"
    assert decoder.push(np.int32(ids[0])) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(decoder)


def test_special_tokens(tokenizer: mossrt.Tokenizer) -> None:
    eom = tokenizer.token_id("<eom>")
    assert eom is not None
    assert tokenizer.token_id("<nothing>") is None
    assert [int(i) for i in tokenizer.encode("a<eom>", parse_special=True)][-1:] == [eom]
    assert eom not in tokenizer.encode("a<eom>")
    assert tokenizer.decode([eom], skip_special_tokens=True) == ""
    assert tokenizer.decode([eom]) == "<eom>"
    assert tokenizer.decoder(skip_special_tokens=True).push(eom) == ""
    assert eom in tokenizer.special_ids()
    assert set(tokenizer.special_ids("bos")) <= set(tokenizer.special_ids("all"))


def test_what_it_says_of_itself(tokenizer: mossrt.Tokenizer) -> None:
    assert tokenizer.kind == "byte-level-bpe"
    assert len(tokenizer) == 1500
    assert "1500" in repr(tokenizer)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert np.array_equal(copy.encode("hello"), tokenizer.encode("hello"))


def test_bytes_that_are_no_utf8(tokenizer: mossrt.Tokenizer) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        tokenizer.encode(b"a\xff")
    assert tokenizer.decode(tokenizer.encode(b"a\xff", errors="replace")) == "a\ufffd"
    assert np.array_equal(tokenizer.encode(b"abc"), tokenizer.encode("abc"))
    half = tokenizer.encode("€")[:1]
    assert tokenizer.decode(half) == "\ufffd"
    assert tokenizer.decode_bytes(half) == "€".encode()[: len(tokenizer.decode_bytes(half))]


def test_long_texts(tokenizer: mossrt.Tokenizer) -> None:
    text = "Ein langer Text. 长文本。" * 20_000
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: t.encode(3), TypeError, "text must be str or bytes, found int"),
        (lambda t: t.encode("\ud800"), ValueError, "surrogates"),
        (lambda t: t.encode("a", errors="ignore"), ValueError, "errors must be"),
        (lambda t: t.decode(7), TypeError, "ids must be"),
        (lambda t: t.decode("7"), TypeError, "ids must be"),
        (lambda t: t.decode([1.5]), TypeError, r"ids\[0\] must be an integer, found float"),
        (lambda t: t.decode([1, None]), TypeError, r"ids\[1\]"),
        (lambda t: t.decode([-1]), ValueError, r"ids\[0\]"),
        (lambda t: t.decode([0, 2**31]), ValueError, r"ids\[1\].*2147483648"),
        (lambda t: t.decode([2**80]), ValueError, "beyond 64 bits"),
        (lambda t: t.decode(np.array([2**63], np.uint64)), ValueError, "beyond 64 bits"),
        (lambda t: t.decode(np.zeros((1, 2), np.int32)), ValueError, r"shape \(1, 2\)"),
        (lambda t: t.decode(np.zeros(2)), TypeError, "float64"),
        (lambda t: t.decode([1500]), ValueError, "1500"),
        (lambda t: t.token_bytes(99999), ValueError, "99999"),
        (lambda t: t.token_bytes("a"), TypeError, "id"),
        (lambda t: t.special_ids("end"), ValueError, "end"),
        (lambda t: t.decoder().push(1.0), TypeError, "ids must be"),
    ],
)
def test_wrong_arguments(
    tokenizer: mossrt.Tokenizer, call: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(tokenizer)


def test_modes_of_added_tokens() -> None:
    folder = ROOT / "tests" / "data" / "text" / "moss_like"
    lossless = mossrt.Tokenizer.from_pretrained(folder)
    old = mossrt.Tokenizer.from_pretrained(folder, added_tokens="hf-4.25")
    text = "a \n  b"
    assert lossless.decode(lossless.encode(text, parse_special=True)) == text
    assert old.decode(old.encode(text, parse_special=True)) != text
    assert np.array_equal(
        pickle.loads(pickle.dumps(old)).encode(text, parse_special=True),
        old.encode(text, parse_special=True),
    )
    with pytest.raises(ValueError, match="lossless"):
        mossrt.Tokenizer.from_pretrained(folder, added_tokens="hf-5")
    with pytest.raises(ValueError, match="added_tokens"):
        mossrt.Tokenizer.from_pretrained(folder, added_token="lossless")


@pytest.fixture(scope="module")
def theirs() -> Any:
    """transformers' GPT-2 tokenizer with this vocabulary and its runs of white space."""
    transformers = pytest.importorskip("transformers", reason="compared with transformers")
    merges = (TRAINED / "merges.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = transformers.GPT2Tokenizer(
        vocab=json.loads((TRAINED / "vocab.json").read_text(encoding="utf-8")),
        merges=[tuple(line.split()) for line in merges if line and not line.startswith("#")],
    )
    added = json.loads((TRAINED / "added_tokens.json").read_text(encoding="utf-8"))
    runs = [name for name in sorted(added, key=added.get) if not name.strip()]
    tokenizer.add_tokens([transformers.AddedToken(run, normalized=False) for run in runs])
    assert tokenizer.convert_tokens_to_ids("  ") == added["  "]
    return tokenizer


# Code points that Unicode 14 and later agree on.
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))


@settings(max_examples=300)
@given(text=st.text(ASSIGNED))
def test_ids_equal_those_of_transformers(
    tokenizer: mossrt.Tokenizer, theirs: Any, text: str
) -> None:
    ours = [int(i) for i in tokenizer.encode(text)]
    assert ours == theirs.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ours) == theirs.decode(ours, clean_up_tokenization_spaces=False)


def test_prose_and_code_as_transformers_has_them(tokenizer: mossrt.Tokenizer, theirs: Any) -> None:
    texts = json.loads((ROOT / "tests/data/text/texts.json").read_text(encoding="utf-8"))
    texts = [text for text in texts if "<" not in text]
    assert len(texts) > 50
    for text in texts:
        assert [int(i) for i in tokenizer.encode(text)] == theirs.encode(text)

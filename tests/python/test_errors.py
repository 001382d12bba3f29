"""Every kind of bad input: its type, its code, and a text that names it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mossrt
from conftest import LLAMA, MOSS
from mossrt.errors import from_code


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("reference"))
    return to


def test_every_error_is_a_mossrt_error_and_the_builtin_that_fits() -> None:
    builtins: dict[mossrt.Code, type[Exception]] = {
        mossrt.Code.INVALID_ARGUMENT: ValueError,
        mossrt.Code.NOT_FOUND: FileNotFoundError,
        mossrt.Code.IO: OSError,
        mossrt.Code.OUT_OF_MEMORY: MemoryError,
        mossrt.Code.CANCELLED: mossrt.Cancelled,
    }
    for code in mossrt.Code:
        error = from_code(code, f"text of {code}")
        assert isinstance(error, mossrt.Error)
        assert isinstance(error, builtins.get(code, mossrt.Error))
        assert error.code is code
        assert str(error) == f"text of {code}"
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.code, str(copy)) == (type(error), code, str(error))
    assert "99" in str(from_code(99, "of a later library"))


def test_missing_directories_and_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        mossrt.Model.from_pretrained(tmp_path / "nowhere")
    assert caught.value.code == mossrt.Code.NOT_FOUND
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        mossrt.Model.from_pretrained(tmp_path)
    folder = copy_of(MOSS, tmp_path / "moss")
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"pytorch_model-00002-of-00002\.bin"):
        mossrt.Model.from_pretrained(folder)
    with pytest.raises(FileNotFoundError):
        mossrt.Tokenizer.from_pretrained(LLAMA)
    with pytest.raises(FileNotFoundError):
        mossrt.inspect(tmp_path / "nowhere")


def test_damaged_files(tmp_path: Path) -> None:
    folder = copy_of(MOSS, tmp_path / "moss")
    shard = folder / "pytorch_model-00001-of-00002.bin"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(mossrt.Error, match="pytorch_model-00001") as caught:
        mossrt.Model.from_pretrained(folder)
    assert caught.value.code == mossrt.Code.FORMAT
    (folder / "config.json").write_text("{")
    with pytest.raises(mossrt.Error, match=r"config\.json") as caught:
        mossrt.inspect(folder)
    assert caught.value.code == mossrt.Code.FORMAT
    (folder / "vocab.json").write_text("[]")
    with pytest.raises(mossrt.Error, match=r"vocab\.json"):
        mossrt.Tokenizer.from_pretrained(folder)


def test_too_little_memory_lists_the_terms() -> None:
    with pytest.raises(MemoryError, match="weights") as caught:
        mossrt.Model.from_pretrained(MOSS, memory_limit=1000)
    assert caught.value.code == mossrt.Code.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "float8"}, "float8"),
        ({"dtpye": "float16"}, 'did you mean "dtype"'),
        ({"backend": "cuda"}, "cuda"),
        ({"architecture": "gpt"}, "gpt"),
        ({"threads": -1}, "threads"),
        ({"threads": 10**6}, "threads"),
        ({"threads": 1.5}, "threads"),
        ({"verify_crc": "yes"}, "verify_crc"),
    ],
)
def test_wrong_load_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        mossrt.Model.from_pretrained(MOSS, **options)


@pytest.mark.parametrize("path", [None, 3, b"bytes", ["list"]])
def test_paths_of_wrong_types(path: Any) -> None:
    with pytest.raises(TypeError):
        mossrt.Model.from_pretrained(path)


def test_paths_with_zero_bytes() -> None:
    for call in (mossrt.Model.from_pretrained, mossrt.Tokenizer.from_pretrained, mossrt.inspect):
        with pytest.raises(ValueError, match="zero byte"):
            call("a\0b")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"temprature": 0.7}, ValueError, 'did you mean "temperature"'),
        ({"max_tokens": 5}, ValueError, "max_tokens"),
        ({"max_new_tokens": -2}, ValueError, "max_new_tokens"),
        ({"max_new_tokens": "5"}, ValueError, "max_new_tokens"),
        ({"temperature": float("nan")}, ValueError, "temperature must be a finite number"),
        ({"temperature": -1}, ValueError, "temperature"),
        ({"top_p": 1.5}, ValueError, "top_p"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"stop": 5}, ValueError, "stop"),
        ({"eos_token_id": [10**6]}, ValueError, "eos_token_id"),
        ({"eos_token_id": object()}, TypeError, "eos_token_id"),
        ({"do_sample": "yes"}, ValueError, "do_sample"),
        ({"monitor": 3}, TypeError, "monitor"),
        ({"logits_processor": 3}, TypeError, "logits processor must be callable, found int"),
        ({"max_new_tokens": 2, "min_new_tokens": 3}, ValueError, "min_new_tokens is 3"),
    ],
)
def test_wrong_generate_options(
    model: mossrt.Model, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        model.generate([1, 2], **options)


def test_wrong_options_are_found_before_the_prompt_is_read(
    slow_prompt: tuple[mossrt.Model, Any],
) -> None:
    slow, ids = slow_prompt
    with slow.session() as session:
        with pytest.raises(ValueError, match="temprature"):
            session.stream(ids, temprature=1)
        assert len(session.tokens) == 0


@pytest.mark.parametrize(
    ("prompt", "error", "text"),
    [
        ([], ValueError, "empty"),
        ("", ValueError, "empty"),
        (np.array([]), ValueError, "empty"),
        (3, TypeError, "prompt must be"),
        ({1: 2}, TypeError, "prompt must be"),
        ([[1]], TypeError, r"prompt\[0\]"),
        (["a"], TypeError, r"prompt\[0\]"),
        ([True], TypeError, "bool"),
        (np.ones(3), TypeError, "float64"),
        (np.ones((1, 3), int), ValueError, "one dimension"),
        ([1, -1], ValueError, r"prompt\[1\]"),
        ([352], ValueError, "352"),
        ("\udc80", ValueError, "surrogates"),
    ],
)
def test_wrong_prompts(model: mossrt.Model, prompt: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model.generate(prompt)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda s: s.eval([1], logits="some"), ValueError, "logits"),
        (lambda s: s.eval([1], hidden=(9,)), ValueError, "9"),
        (lambda s: s.eval([1], hidden=("a",)), ValueError, "hidden"),
        (lambda s: s.eval("text"), TypeError, "ids must be"),
        (lambda s: s.model.session(contxt=3), ValueError, "context"),
        (lambda s: s.model.session(context=10**9), ValueError, "context"),
        (lambda s: s.model.session(kv_dtype="int4"), ValueError, "kv_dtype"),
        (lambda s: s.model.tensor("nothing"), FileNotFoundError, "nothing"),
        (lambda s: s.model.tensor(5), TypeError, "name must be str, found int"),
        (lambda s: s.model.tokenizer.token_id(5), TypeError, "name must be str, found int"),
        (lambda s: s.eval([1], hidden=3), TypeError, "hidden must be a list of layers"),
        (lambda s: s.rewind(1.5), TypeError, "integer"),
        (lambda s: s.save("x" * 300), ValueError, "choose a shorter name"),
    ],
)
def test_wrong_session_arguments(
    model: mossrt.Model, call: Any, error: type[Exception], text: str
) -> None:
    with model.session() as session, pytest.raises(error, match=text):
        call(session)


def test_one_override_is_a_list_of_one() -> None:
    def numerics(overrides: object) -> str:
        model = mossrt.Model.from_pretrained(MOSS, overrides=overrides)
        return str(model.info["numerics"])

    assert numerics("lm_head.*=float32") == numerics(["lm_head.*=float32"]) != numerics(None)

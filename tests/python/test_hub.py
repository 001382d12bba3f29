"""Repository names resolve in the local Hugging Face cache; here a made one, never the network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import mossrt
from conftest import MOSS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds somebody/tiny-moss as huggingface_hub lays it out: links to blobs."""
    pytest.importorskip("huggingface_hub", reason="repositories of the hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--somebody--tiny-moss"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / COMMIT
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(MOSS.iterdir())):
        if file.is_file():
            shutil.copy(file, blobs / str(number))
            (snapshot / file.name).symlink_to(os.path.relpath(blobs / str(number), snapshot))
    return tmp_path


def test_models_and_tokenizers_by_name(cache: Path) -> None:
    for options in ({}, {"revision": "main"}, {"revision": COMMIT}, {"local_files_only": True}):
        found = mossrt.Model.from_pretrained("somebody/tiny-moss", cache_dir=cache, **options)
        assert found.info["architecture"] == "moss"
    tokenizer = mossrt.Tokenizer.from_pretrained("somebody/tiny-moss", cache_dir=cache)
    assert len(tokenizer) == 320
    assert mossrt.inspect("somebody/tiny-moss", cache_dir=cache)["parameters"] > 0


@pytest.mark.parametrize(
    ("name", "revision"), [("somebody/else", None), ("somebody/tiny-moss", "other")]
)
def test_what_is_not_cached(cache: Path, name: str, revision: str | None) -> None:
    with pytest.raises(FileNotFoundError, match=r"no directory .*hub") as caught:
        mossrt.Model.from_pretrained(name, cache_dir=cache, revision=revision)
    assert caught.value.code == mossrt.Code.NOT_FOUND


def test_directories_come_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cache)
    (cache / "somebody" / "tiny-moss").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        mossrt.Model.from_pretrained("somebody/tiny-moss", cache_dir=cache)


@pytest.mark.parametrize("name", ["nothing", "./a/b", "/a/b", "a/b/c", "../a"])
def test_paths_are_never_looked_up(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="cannot open"):
        mossrt.Model.from_pretrained(name)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'mossrt\[hub\]'"):
        mossrt.Model.from_pretrained("somebody/else")


def test_an_empty_path_is_not_the_current_directory() -> None:
    with pytest.raises(ValueError, match="path is empty"):
        mossrt.Model.from_pretrained("")

"""Checkpoints by their names on the Hugging Face hub, through huggingface_hub and its cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mossrt.errors import Code, Error, NotFound

# What a checkpoint directory needs; a repository may hold other formats of the same weights.
CONFIG_FILES = ["*.json", "*.txt", "*.model"]
WEIGHT_FILES = ["*.safetensors", "*.bin"]

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    weights: bool = True,
) -> Path:
    """The directory of a checkpoint: `path` itself if it exists, else a repository "owner/name".

    With `local_files_only`, or HF_HUB_OFFLINE=1 in the environment, only the local cache is asked.
    """
    text = os.fspath(path)
    if not text:
        raise ValueError('path is empty; name a checkpoint directory ("." for the current one)')
    if os.path.lexists(text) or isinstance(path, Path) or not _REPO_ID.fullmatch(text):
        return Path(text)  # the library says what is wrong with it
    try:
        import huggingface_hub
    except ImportError:
        raise NotFound(
            f"there is no directory {text!r}; to look for a repository of that name on the "
            "Hugging Face hub, install huggingface_hub (pip install 'mossrt[hub]')",
            Code.NOT_FOUND,
        ) from None
    try:
        folder = huggingface_hub.snapshot_download(
            text,
            revision=revision,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            local_files_only=local_files_only,
            allow_patterns=CONFIG_FILES + (WEIGHT_FILES if weights else []),
        )
    except (OSError, ValueError) as error:  # no such repository, not cached, no network
        raise NotFound(
            f"there is no directory {text!r}, and the Hugging Face hub or its local cache did not "
            f"give a repository of that name: {error}",
            Code.NOT_FOUND,
        ) from error
    except Exception as error:  # whatever its HTTP client throws
        raise Error(
            f"{text!r} cannot be had from the Hugging Face hub: {error}", Code.IO
        ) from error
    return Path(folder)

"""Models that are at hand, where none was named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mossrt.cli import common

NONE = (
    "no model was named, and none was found: give a checkpoint's directory, a packed file or "
    "owner/name of the hub; or a folder that holds some (--models DIR, or MOSSRT_MODELS)"
)


@dataclass(frozen=True)
class Found:
    """A model by what it is called, what it is, and where."""

    name: str
    kind: str
    path: Path


def choose(folder: Path | None) -> str:
    """The path of a model that the user chooses by its number; exits where nobody can."""
    found = find(folder)
    if not found:
        common.fail(NONE, common.USAGE)
    width = max(len(one.name) for one in found)
    for number, one in enumerate(found, 1):
        common.errors.print(
            f"{number:3}  {one.name:{width}}  {one.kind:8}  {one.path}", markup=False
        )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        common.fail("no model was named: give one of these, or another", common.USAGE)
    return str(found[_number(len(found)) - 1].path)


def _number(most: int) -> int:
    while True:
        sys.stderr.write(f"Which one (1 to {most}; Enter: 1)? ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            sys.stderr.write("\n")
            common.fail("no model was chosen", common.USAGE)
        text = line.strip() or "1"
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        common.note(f"{text[:40]!r} is not a number from 1 to {most}")


def find(folder: Path | None) -> list[Found]:
    """In the folder that was named, in this checkout, in the hub's cache; each path once."""
    named = [Path(text) for text in os.environ.get("MOSSRT_MODELS", "").split(os.pathsep) if text]
    found = [*_bundled()]
    for one in [folder] if folder is not None else named:
        if not one.is_dir():
            common.fail(f"there is no folder {one} to look for models in", common.USAGE)
        found += _below(one)
    found += _cached()
    return list({one.path.resolve(): one for one in found}.values())


def _bundled() -> Iterator[Found]:
    package = Path(__file__).resolve().parents[3]
    for root in (package.parent, Path.cwd()):
        if one := _checkpoint(root / "examples" / "tiny-moss" / "model", "tiny-moss"):
            yield one
            return


def _below(folder: Path) -> Iterator[Found]:
    """The folder itself, what is in it, and what is in that."""
    for pattern in (".", "*", "*/*"):
        for path in sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            name = path.name if path == folder else str(path.relative_to(folder))
            if path.is_file() and path.suffix == ".mossrt":
                yield Found(name, "packed", path)
            elif one := _checkpoint(path, name):
                yield one


def _cached() -> Iterator[Found]:
    """Repositories in the hub's cache, at the revision that it calls main."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    cache = (
        os.environ.get("HF_HUB_CACHE")
        or os.environ.get("HUGGINGFACE_HUB_CACHE")
        or os.path.join(home, "hub")
    )
    for folder in sorted(Path(cache).glob("models--*")):
        name = "/".join(folder.name.split("--")[1:])
        main = folder / "refs" / "main"
        snapshots = sorted((folder / "snapshots").glob("*"))
        if main.is_file():
            wanted = main.read_text(encoding="utf-8", errors="replace").strip()
            snapshots = [one for one in snapshots if one.name == wanted] or snapshots
        for path in snapshots[-1:]:
            if one := _checkpoint(path, name):
                yield one


def _checkpoint(path: Path, name: str) -> Found | None:
    """What has a config and weights."""
    config = path / "config.json"
    if not config.is_file() or not any(
        any(path.glob(pattern)) for pattern in ("*.safetensors", "*.bin")
    ):
        return None
    try:
        kind = json.loads(config.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Found(name, str(kind), path)

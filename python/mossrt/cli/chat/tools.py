"""Plugins by the command's options."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mossrt.chat import Plugin
from mossrt.cli import common
from mossrt.plugins import FolderSearch, SearxngSearch, calculate, solve

BUILT_IN = {
    "Calculate": Plugin("Calculate", calculate, "arithmetic, exactly"),
    "Solve": Plugin("Solve", solve, "equations and systems of them", timeout=30.0),
}


def offered(without: bool, asked: list[str]) -> list[Plugin]:
    """Those that nobody has to ask for."""
    return [] if without else [one for name, one in BUILT_IN.items() if name not in asked]


def plugins(given: list[str], folder: Path | None, searxng: str | None) -> list[Plugin]:
    """Those that were asked for."""
    found = [_named(one) for one in given]
    if folder is not None and searxng is not None:
        common.fail("both searches are the plugin Search; give one of them", common.USAGE)
    if folder is not None:
        try:
            search = FolderSearch(folder)
        except FileNotFoundError as error:
            common.fail(str(error), common.USAGE)
        found.append(Plugin("Search", search, f"texts in {folder}"))
    if searxng is not None:
        found.append(Plugin("Search", SearxngSearch(searxng), f"the web, by {searxng}"))
    return found


def _named(given: str) -> Plugin:
    """A built-in one by its name, or NAME=MODULE:FUNCTION."""
    if given in BUILT_IN:
        return BUILT_IN[given]
    name, equals, place = given.partition("=")
    module, colon, function = place.rpartition(":")
    if not (name and equals and module and colon and function):
        common.fail(
            f"--plugin takes {', '.join(BUILT_IN)}, NAME=MODULE:FUNCTION or NAME=FILE.py:FUNCTION, "
            f"found {given!r}",
            common.USAGE,
        )
    called = _function(module, function)
    lines = (called.__doc__ or "").strip().splitlines()
    return Plugin(name, called, lines[0] if lines else place)


def _function(module: str, name: str) -> Callable[[str], object]:
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(module).stem, module)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            sys.path.insert(0, os.getcwd())  # as `python -m` does
            try:
                loaded = importlib.import_module(module)
            finally:
                sys.path.pop(0)
        found = getattr(loaded, name)
    except Exception as error:
        kind = type(error).__name__
        common.fail(f"the plugin {module}:{name} cannot be had: {kind}: {error}", common.USAGE)
    if not callable(found):
        kind = type(found).__name__
        common.fail(f"the plugin {module}:{name} is no function but {kind}", common.USAGE)
    return found  # type: ignore[no-any-return]

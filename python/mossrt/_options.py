"""Options on their way to the library, which checks their names, types and ranges."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: object, name: str) -> Any:
    """A value as JSON has it; NumPy's scalars and arrays become numbers and lists."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, found {value}")
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), name)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), name)
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item, name) for item in value]
    kind = type(value).__name__
    raise TypeError(f"{name} must be a number, a string, a boolean or a list, found {kind}")


def string(value: str, name: str) -> str:
    """`value`, if it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, found {type(value).__name__}")
    return value


def to_json(options: Mapping[str, object]) -> str:
    """A JSON object of the options that are not None; "" for none."""
    given = {key: plain(value, key) for key, value in options.items() if value is not None}
    return json.dumps(given) if given else ""


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """A path as the system has it."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, found {type(path).__name__}")
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"path holds a zero byte: {path!r}")
    return encoded

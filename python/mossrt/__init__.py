"""Runs MOSS and MOSS-style transformer checkpoints on CPUs, exactly as they were published.

>>> model = mossrt.Model.from_pretrained("tests/data/models/moss")
>>> len(model.generate("hello", max_new_tokens=2, do_sample=False).ids) <= 2
True
"""

from __future__ import annotations

from pathlib import Path

from mossrt import _mossrt, chat, errors, plugins
from mossrt.errors import (
    Busy,
    Cancelled,
    Code,
    ContextFull,
    Error,
    InvalidArgument,
    NotFound,
    OutOfMemory,
    SystemRefused,
)
from mossrt.generation import Chunk, Option, Output, Stats, Stream, TopToken
from mossrt.machine import describe_options, doctor, measure_bandwidth
from mossrt.model import Model, inspect
from mossrt.monitor import Monitor
from mossrt.session import HookCall, HookHandle, Session
from mossrt.tokenizer import Decoder, Tokenizer

__all__ = [
    "Busy",
    "Cancelled",
    "Chunk",
    "Code",
    "ContextFull",
    "Decoder",
    "Error",
    "HookCall",
    "HookHandle",
    "InvalidArgument",
    "Model",
    "Monitor",
    "NotFound",
    "Option",
    "OutOfMemory",
    "Output",
    "Session",
    "Stats",
    "Stream",
    "SystemRefused",
    "Tokenizer",
    "TopToken",
    "chat",
    "describe_options",
    "doctor",
    "errors",
    "get_include",
    "get_library",
    "inspect",
    "measure_bandwidth",
    "plugins",
    "version",
]

version = _mossrt.version()
__version__ = version


def get_include() -> str:
    """The folder to give to a C or C++ compiler with -I; it holds mossrt/mossrt.h and mossrt.hpp."""
    return str(Path(__file__).parent / "include")


def get_library() -> str:
    """The shared library with the C interface, for programs in any language."""
    soname = f"libmossrt.so.{'.'.join(version.split('.')[:2])}"
    return str(Path(__file__).parent / "lib" / soname)

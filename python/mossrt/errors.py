"""Exceptions. Each is a `mossrt.Error` with a `code` and, where Python has a type that fits, also that type."""

from __future__ import annotations

import enum

__all__ = [
    "Busy",
    "Cancelled",
    "Code",
    "ContextFull",
    "Error",
    "InvalidArgument",
    "NotFound",
    "OutOfMemory",
    "SystemRefused",
]


class Code(enum.IntEnum):
    """Error codes of the C interface (`MOSSRT_E_*`)."""

    INVALID_ARGUMENT = 1
    NOT_FOUND = 2
    IO = 3
    FORMAT = 4
    UNSUPPORTED = 5
    OUT_OF_MEMORY = 6
    CONTEXT_FULL = 7
    BUSY = 8
    CANCELLED = 9
    CALLBACK = 10
    VERSION = 11
    INTERNAL = 12
    STATE = 13


class Error(Exception):
    """Whatever mossrt refuses or fails at. The text says what was expected, found and what to do."""

    code: Code

    def __init__(self, message: str, code: Code = Code.INTERNAL) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return from_code, (int(self.code), str(self))


class InvalidArgument(Error, ValueError):
    """A parameter or option is wrong; the text names it."""


class NotFound(Error, FileNotFoundError):
    """A file, tensor or name does not exist."""


class SystemRefused(Error, OSError):
    """The system refused to read or open something."""


class OutOfMemory(Error, MemoryError):
    """Too little memory, or a limit; the text lists the terms."""


class ContextFull(Error):
    """The tokens do not fit into the session's context."""


class Busy(Error):
    """Another thread's call, or the call around a callback, is using the object."""


class Cancelled(Error):
    """`Monitor.cancel` was called."""


_TYPES: dict[Code, type[Error]] = {
    Code.INVALID_ARGUMENT: InvalidArgument,
    Code.NOT_FOUND: NotFound,
    Code.IO: SystemRefused,
    Code.OUT_OF_MEMORY: OutOfMemory,
    Code.CONTEXT_FULL: ContextFull,
    Code.BUSY: Busy,
    Code.CANCELLED: Cancelled,
}


def from_code(code: int, message: str) -> Error:
    """The exception for an error of the C interface; the extension calls this."""
    try:
        known = Code(code)
    except ValueError:  # of a newer library
        return Error(f"{message} (error code {code})")
    return _TYPES.get(known, Error)(message, known)

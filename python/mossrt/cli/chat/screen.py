"""Two ways to the reader: answers on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from mossrt.cli.chat.wrap import Wrapped, visible

DIM, RED, GREEN, YELLOW, CYAN = "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"


def may_colour(stream: TextIO) -> bool:
    """A terminal that shows colours, to somebody who wants them (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM", "") == "dumb"
    return stream.isatty() and not plain


class Plain:
    """A file or pipe: the text as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at_start = True

    def write(self, text: str, style: str = "") -> None:
        """Appends text."""
        if text:
            self._stream.write(text)
            self._stream.flush()
            self._at_start = text.endswith("\n")

    def fresh_line(self) -> None:
        """Ends the line if something stands on it."""
        if not self._at_start:
            self.write("\n")

    def moved(self) -> None:
        """Nobody else writes there."""


class Screen:
    """Where a conversation is shown. On a terminal both ways are one."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        out, err = out or sys.stdout, err or sys.stderr
        self.answers = Wrapped(out) if out.isatty() else Plain(out)
        if out.isatty() and err.isatty():
            self.notes = self.answers
        else:
            self.notes = Wrapped(err) if err.isatty() else Plain(err)
        self.colours = may_colour(out)
        self._note_colours = may_colour(err)

    def answer(self, text: str, style: str = "") -> None:
        """To stdout."""
        self.answers.write(text, style if self.colours else "")

    def aside(self, text: str, style: str = DIM) -> None:
        """To stderr."""
        self.notes.write(text, style if self._note_colours else "")

    def tell(self, text: str, style: str = "") -> None:
        """What a person has asked for, who may have sent the answers elsewhere: to stderr."""
        self.aside(text, style)

    def note(self, text: str, style: str = DIM) -> None:
        """Lines of their own on stderr."""
        self.fresh_line()
        self.aside(text, style)
        self.notes.fresh_line()

    def error(self, text: str) -> None:
        """What went wrong, on stderr."""
        self.fresh_line()
        self.aside("error: ", RED)
        self.aside(text, "")
        self.notes.fresh_line()

    def fresh_line(self) -> None:
        """Ends the lines on which something stands."""
        self.answers.fresh_line()
        self.notes.fresh_line()

    def moved(self) -> None:
        """The reader has ended the line."""
        self.notes.moved()
        self.answers.moved()


__all__ = ["CYAN", "DIM", "GREEN", "RED", "YELLOW", "Plain", "Screen", "may_colour", "visible"]

"""Text on a terminal as it comes: broken between words, Chinese between characters."""

from __future__ import annotations

import os
import shutil
import unicodedata
from typing import TextIO

from rich.cells import get_character_cell_size as cells_of

# Must not begin a line, and must not end one.
_CLOSING = "，。、；：！？）》」』】〉”’…—～·"
_OPENING = "（《「『【〈“‘"


def terminal_size(stream: TextIO) -> os.terminal_size:
    """Of the terminal itself: COLUMNS in the environment may be of another one."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        found = os.terminal_size((0, 0))
    return found if found.columns and found.lines else shutil.get_terminal_size()


def visible(char: str) -> str:
    """The character, or a mark where a terminal would obey it or be misled."""
    kind = unicodedata.category(char)
    if char in "\n\t" or kind not in ("Cc", "Cf"):
        return char
    # Joiners within emoji and scripts are harmless; what turns the direction of text is not.
    return char if char in "\u200c\u200d\u00ad" else "\ufffd"


class Wrapped:
    """Writes onto a terminal. What is too wide for a line goes to the next, its word with it."""

    def __init__(self, stream: TextIO, columns: int | None = None) -> None:
        self._stream = stream
        self._columns = columns
        self._column = 0
        self._word: list[tuple[str, str]] = []  # characters since the last place to break, styled
        self._word_width = 0
        self._style = ""

    def write(self, text: str, style: str = "") -> None:
        """Appends text; style is an escape sequence, or nothing."""
        # The last column stays free: terminals differ in where the cursor is after it.
        limit = (self._columns or terminal_size(self._stream).columns) - 1
        for given in text.replace("\r\n", "\n").replace("\t", "    "):
            char = visible(given)
            if char == "\n":
                self._break()
                continue
            width = cells_of(char)
            if self._column + width > limit:
                if char == " ":
                    self._break()
                    continue
                self._carry(char, style)
            self._put(char, width, style)
        self._set("")
        self._stream.flush()

    def fresh_line(self) -> None:
        """Ends the line if something stands on it."""
        if self._column:
            self._break()
            self._stream.flush()

    def moved(self) -> None:
        """Somebody else has ended the line."""
        self._column = self._word_width = 0
        self._word = []

    def _break(self) -> None:
        self._set("")
        self._stream.write("\n")
        self.moved()

    def _carry(self, char: str, style: str) -> None:
        """A new line, to which the unfinished word moves."""
        word, width = self._word, self._word_width
        if self._may_break_before(char) or not 0 < width < self._column:
            self._break()
            return
        self._set("")
        self._stream.write(f"\x1b[{width}D\x1b[K")
        self._break()
        for old, old_style in word:
            self._put(old, cells_of(old), old_style)

    def _may_break_before(self, char: str) -> bool:
        if not self._word:
            return True
        last = self._word[-1][0]
        if cells_of(char) == 0:  # belongs to the character before
            return False
        if char in _CLOSING or last in _OPENING:
            return False
        return cells_of(char) == 2 or cells_of(last) == 2

    def _put(self, char: str, width: int, style: str) -> None:
        if self._word and self._may_break_before(char):
            self._word, self._word_width = [], 0
        self._set(style)
        self._stream.write(char)
        self._column += width
        if char == " ":
            self._word, self._word_width = [], 0
        else:
            self._word.append((char, style))
            self._word_width += width

    def _set(self, style: str) -> None:
        if style != self._style:
            self._stream.write("\x1b[0m" + style if self._style else style)
            self._style = style

"""The line in which a person types."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from mossrt.cli.chat.wrap import terminal_size

PROMPT, CONTINUED = "> ", "… "


def history_file() -> Path:
    """Where the user's state belongs (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "mossrt" / "chat_history"


class _Commands(Completer):
    """Tab completes a command's name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        typed = document.text
        if typed.startswith("/") and document.is_cursor_at_the_end:
            for name in self._names:
                if name.startswith(typed):
                    yield Completion(name, start_position=-len(typed))


class _History(FileHistory):
    """A file that can no longer be written stops no conversation."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        super().__init__(str(path))
        self._report = report

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError as error:
            self._report(f"the history cannot be written: {error}")


def _open_history(report: Callable[[str], None]) -> History:
    path = history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What was typed is nobody else's business.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        report(f"there is no history: {error}")
        return InMemoryHistory()
    return _History(path, report)


def _bindings() -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    # Ctrl-J is also what a paste without brackets has at its line ends.
    @keys.add("escape", "enter", filter=typing)
    @keys.add("c-j", filter=typing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class Prompt:
    """Reads texts of one or more lines, with editing, history and completion of commands."""

    def __init__(
        self, commands: Sequence[str], report: Callable[[str], None], colours: bool
    ) -> None:
        stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        self._prompt = ANSI(f"\x1b[1m{PROMPT}\x1b[0m") if colours else PROMPT
        # Without CPR: the answer to a question about the cursor could mix with what is typed ahead.

        def size() -> Size:
            found = terminal_size(stream)
            return Size(rows=found.lines, columns=found.columns)

        output = Vt100_Output(stream, size, term=os.environ.get("TERM"), enable_cpr=False)
        self._session: PromptSession[str] = PromptSession(
            history=_open_history(report),
            completer=_Commands(commands),
            complete_while_typing=False,
            enable_open_in_editor=True,
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation=lambda width, line, wrapped: "" if wrapped else CONTINUED,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            output=output,
        )

    def read(self, draft: str = "") -> str:
        """What was typed. EOFError: Ctrl-D; KeyboardInterrupt: Ctrl-C."""
        return self._session.prompt(self._prompt, default=draft)


class Lines:
    """A terminal without any output that is one: lines as they come."""

    def read(self, draft: str = "") -> str:
        """The next line. EOFError: there is none."""
        return input()

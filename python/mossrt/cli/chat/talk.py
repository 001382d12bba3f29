"""What the command needs of a conversation: `mossrt.chat.Conversation` and `Continuation` have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from mossrt.chat import Event, Token, Turn
from mossrt.generation import Stats
from mossrt.model import Model
from mossrt.monitor import Monitor


class Talk(Protocol):
    """A conversation that goes on, back, and back to a token."""

    model: Model

    def stream(self, text: str, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Says something."""

    def again(self, text: str | None = None, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes the last turn anew, as the answer to another text if one is given."""

    def branch(self, index: int, token: int, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes it anew from a token on."""

    @property
    def turn(self) -> Turn | None:
        """The last turn."""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What the model wrote in it."""

    @property
    def stats(self) -> Stats:
        """How long that took."""

    @property
    def info(self) -> dict[str, Any]:
        """As `Conversation.info`."""

    def undo(self) -> bool:
        """Takes back the last turn."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Into a file."""

    def close(self) -> None:
        """Frees the session."""

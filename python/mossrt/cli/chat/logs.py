"""What the package logs, as notes at times when nobody writes or types."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable


class Kept(logging.Handler):
    """Keeps warnings, which plugins write on threads of their own."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of it; where it was raised is of no use to a reader."""
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        self._texts.put(f"{text}: {type(error).__name__}: {error}" if error else text)

    def show(self, note: Callable[[str], None]) -> None:
        """All that has been kept so far."""
        while not self._texts.empty():
            note(f"note: {self._texts.get()}")


def keep() -> Kept:
    """From now on."""
    kept = Kept()
    logging.getLogger("mossrt").addHandler(kept)
    return kept

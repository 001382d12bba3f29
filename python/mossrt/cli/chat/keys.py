"""The keyboard between prompts."""

from __future__ import annotations

import contextlib
import signal
import sys
import termios
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def one_interrupt() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt once; further ones wait until the turn is put in order."""
    done = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal done
        if not done:
            done = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def unseen_keys() -> Iterator[None]:
    """What is typed while an answer is written does not appear in it; the next prompt reads it."""
    try:
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    changed = termios.tcgetattr(fd)
    changed[0] &= ~termios.ICRNL  # the prompt tells Enter (CR) from Ctrl-J (LF)
    changed[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(fd, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)

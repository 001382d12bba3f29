"""A program in a real terminal: tmux draws, the test looks at its screen."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

PATIENCE = 60.0  # seconds; far above what anything takes


class Tmux:
    """One program on a screen of its own, in a server of its own."""

    def __init__(
        self, arguments: Sequence[object], folder: Path, columns: int = 80, rows: int = 24,
        **environment: str,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._server = [
            "tmux",
            "-u",
            "-S",
            str(folder / f"tmux-{uuid4().hex[:8]}"),
            "-f",
            os.devnull,
        ]
        given = {"LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": ""}
        pairs = [f"{key}={value}" for key, value in (given | environment).items()]
        program = shlex.join(["env", "-u", "COLUMNS", "-u", "LINES", *pairs, *map(str, arguments)])
        # The code outlives the program on the screen, and the shell a Ctrl-C.
        shell = f'trap : INT; {program}; echo "[ended with $?]"; exec sleep 1000'
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", os.getcwd(),
                   "sh", "-c", shell)  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._server, *arguments], capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self, colours: bool = False, history: bool = False) -> str:
        """What can be seen, without spaces at line ends; with what has scrolled away if asked."""
        more = [*(["-e"] if colours else []), *(["-S", "-"] if history else [])]
        lines = self._tmux("capture-pane", "-p", *more).splitlines()
        return "\n".join(line.rstrip() for line in lines).rstrip("\n")

    def wait(self, holds: Callable[[str], bool] | str) -> str:
        """The screen as soon as it holds a text, or a condition does."""
        end = time.monotonic() + PATIENCE
        while True:
            seen = self.screen()
            if holds in seen if isinstance(holds, str) else holds(seen):
                return seen
            assert time.monotonic() < end, f"the screen is still:\n{seen}"
            time.sleep(0.02)

    def type(self, text: str) -> None:
        """As if typed; new lines are Ctrl-J."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, C-c, Up, M-Enter."""
        self._tmux("send-keys", *keys)

    def paste(self, text: str) -> None:
        """As from a clipboard, in brackets where the program has asked for them."""
        self._tmux("set-buffer", text)
        self._tmux("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        """Ends the program and its terminal."""
        subprocess.run([*self._server, "kill-server"], capture_output=True, timeout=PATIENCE)

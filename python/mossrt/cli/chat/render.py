"""Events of a turn as a person reads them."""

from __future__ import annotations

import math

from mossrt.chat import Event, Turn
from mossrt.cli.chat.logs import Kept
from mossrt.cli.chat.screen import CYAN, DIM, GREEN, YELLOW, Screen
from mossrt.cli.chat.talk import Talk

STYLES = {"thought": DIM, "command": CYAN, "result": GREEN, "answer": "", "citation": CYAN}
# What colours cannot tell where there are none.
LABELS = {"thought": "thinks: ", "command": "runs: "}
# Probabilities from which on a colour is used: green, yellow, orange, red.
SHADES = ((0.9, "\x1b[32m"), (0.5, "\x1b[33m"), (0.1, "\x1b[38;5;208m"), (0.0, "\x1b[31m"))
NOTHING = "None"  # what a model writes into a field that it leaves empty


def shade(probability: float) -> str:
    """The colour of a probability."""
    return next(style for least, style in SHADES if probability >= least)


class Renderer:
    """Shows one turn after the other.

    everything: thoughts, commands and results too. probabilities: colour tells how sure the model was.
    """

    def __init__(
        self,
        screen: Screen,
        everything: bool,
        probabilities: bool = False,
        logs: Kept | None = None,
    ) -> None:
        self.screen = screen
        self.logs = logs or Kept()
        self.everything = everything
        self.probabilities = probabilities
        self.begin()

    def begin(self) -> None:
        """A turn begins."""
        self._field = self._command = self._label = ""
        self._held, self._empty_so_far = "", True  # the begin of a field that may say: nothing
        self._seen = 0  # tokens

    def show(self, event: Event, talk: Talk) -> None:
        """An event of the turn that is open."""
        if event.type == "notice":
            self._open("notice")
            self.screen.note(f"note: {event.text}", YELLOW)
            return
        field = "answer" if event.type == "citation" else event.type
        if field != "answer" and not self.everything:
            return
        if field == "result":
            self._result(event.text)
            return
        style = self._style(event, talk)
        if field != self._field:
            self._open(field)
        if field == "answer":
            cited = "".join(f"[{number}]" for number in event.numbers)
            self.screen.answer(cited or event.text, style)
            return
        if self._empty_so_far and NOTHING.startswith(self._held + event.text):
            self._held += event.text
            return
        text, self._held, self._empty_so_far = self._held + event.text, "", False
        if field == "command":
            self._command += text
        self._labelled(text, style)

    def end(self, turn: Turn | None) -> None:
        """A turn has ended: the line too, and the sources that the answer cites."""
        self._let_go()
        self.screen.fresh_line()
        self.logs.show(self.screen.note)
        if turn is None or not self.everything:
            return
        if turn.role_tags or turn.control_tokens:
            self.screen.note(
                f"note: {turn.role_tags} role tags and {turn.control_tokens} control tokens in "
                "message and results were plain text for the model"
            )
        cited = sorted({number for numbers in turn.citations for number in numbers})
        for number in cited:
            if 0 < number <= len(turn.sources):
                title, text = turn.sources[number - 1]
                line = f"[{number}] {title}: {text}" if title else f"[{number}] {text}"
                self.screen.note(line if len(line) <= 300 else line[:299] + "…")

    def _open(self, field: str) -> None:
        self._let_go()
        self._label = "" if self.screen.colours else LABELS.get(field, "")
        self._field, self._held, self._empty_so_far = field, "", True
        self.screen.fresh_line()

    def _let_go(self) -> None:
        """Shows what was held back and turned out to be something."""
        if self._held not in ("", NOTHING):
            self._labelled(self._held, STYLES.get(self._field, ""))
        self._held = ""

    def _labelled(self, text: str, style: str) -> None:
        self.screen.aside(self._label)
        self.screen.aside(text, style)
        self._label = ""

    def _result(self, text: str) -> None:
        # A single command stands there already; behind it comes what it gave.
        if self._field == "command" and text.startswith(self._command):
            text = text[len(self._command) :]
        else:
            self.screen.fresh_line()
        self.screen.aside(text, GREEN)
        self._field, self._command = "result", ""
        self.screen.fresh_line()

    def _style(self, event: Event, talk: Talk) -> str:
        style = STYLES[event.type]
        if not self.probabilities:
            return style
        tokens = talk.tokens
        new, self._seen = tokens[self._seen :], len(tokens)
        known = [token.logprob for token in new if token.logprob is not None]
        if not known:
            return style
        return (DIM if event.type == "thought" else "") + shade(math.exp(min(known)))

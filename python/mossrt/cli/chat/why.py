"""The tokens of an answer with their alternatives."""

from __future__ import annotations

import json
import math
import sys

from rich.cells import cell_len

from mossrt.chat import Token
from mossrt.cli.chat.render import shade
from mossrt.cli.chat.screen import CYAN, DIM, Screen
from mossrt.cli.chat.wrap import terminal_size, visible
from mossrt.tokenizer import Tokenizer

HEADINGS = {"thought": "thoughts", "command": "commands", "answer": "answer"}


def quoted(tokenizer: Tokenizer, token: int) -> str:
    """A token's text in quotes; bytes that are no whole character as they are."""
    found = tokenizer.token_bytes(token)
    try:
        text = found.decode("utf-8")
    except UnicodeDecodeError:
        return repr(found)
    return "".join(map(visible, json.dumps(text, ensure_ascii=False)))


def percent(logprob: float | None) -> str:
    """A probability in six columns."""
    return "   ?  " if logprob is None else f"{100 * math.exp(logprob):5.1f}%"


def padded(text: str, width: int) -> str:
    """The text with spaces up to a width on the terminal."""
    return text + " " * max(0, width - cell_len(text))


def show_all(screen: Screen, tokenizer: Tokenizer, tokens: tuple[Token, ...]) -> None:
    """A token a line: number, probability, text, then as many alternatives as fit."""
    columns = terminal_size(sys.stdout).columns - 1
    texts = [quoted(tokenizer, token.token) for token in tokens]
    width = min(max(map(cell_len, texts)), 24)
    field = ""
    for number, (token, text) in enumerate(zip(tokens, texts), 1):
        if token.field != field:
            field = token.field
            screen.tell(f"{HEADINGS.get(field, 'an empty field')}\n", CYAN)
        screen.tell(f"{number:4} ")
        screen.tell(percent(token.logprob), _style(token.logprob))
        screen.tell(f"  {padded(text, width)}")
        left = columns - 13 - max(width, cell_len(text))
        for rank, other in enumerate(token.top, 1):
            if other.token == token.token:
                continue
            shown = f"  {rank} {quoted(tokenizer, other.token)}{percent(other.logprob)}"
            left -= cell_len(shown)
            if left < 0:
                break
            screen.tell(shown, DIM)
        screen.tell("\n")
    screen.note("/why N shows all alternatives of token N; /branch N K goes on with its K-th")


def show_one(screen: Screen, tokenizer: Tokenizer, number: int, token: Token) -> None:
    """All alternatives of one token."""
    screen.tell(f"token {number}, {quoted(tokenizer, token.token)}\n")
    for rank, other in enumerate(token.top, 1):
        mark = "*" if other.token == token.token else " "
        screen.tell(f"{mark}{rank:3} ")
        screen.tell(percent(other.logprob), _style(other.logprob))
        screen.tell(f"  {quoted(tokenizer, other.token)}\n")
    screen.note(f"/branch {number} K writes the turn anew from here with the K-th")


def _style(logprob: float | None) -> str:
    return "" if logprob is None else shade(math.exp(logprob))

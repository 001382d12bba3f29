"""Messages from a pipe or file, and events for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from mossrt.chat import Event, Token
from mossrt.cli import common
from mossrt.cli.chat.render import Renderer
from mossrt.cli.chat.talk import Talk
from mossrt.cli.chat.turns import close
from mossrt.errors import ContextFull
from mossrt.generation import Stats


def messages(whole: bool) -> Iterator[str]:
    """Lines of stdin that are not empty, as they come; or all of it as one message."""
    number = 0
    while raw := sys.stdin.buffer.read() if whole else sys.stdin.buffer.readline():
        number += 1
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            common.fail(f"line {number} of the input is not UTF-8: {error}", common.USAGE)
        text = text.removesuffix("\n").removesuffix("\r")
        if text.strip():
            yield text


def hold(talk: Talk, whole: bool, renderer: Renderer, as_json: bool, stats: bool) -> None:
    """A turn for each message, rendered or as JSON.

    Errors: ContextFull, also where an answer ended for want of room.
    """
    for text in messages(whole):
        events = talk.stream(text)
        renderer.begin()
        try:
            for event in events:
                if as_json:
                    print_line(event_json(event))
                else:
                    renderer.show(event, talk)
        finally:
            close(events)
            renderer.end(talk.turn)
        if as_json:
            print_line(turn_json(talk))
        if stats:
            common.note(stats_line(talk.stats))
        if talk.turn is not None and talk.turn.ended == "context_full":
            raise ContextFull("the context is full: the last answer is not whole")


def stats_line(stats: Stats) -> str:
    """How much was read and written, and how fast."""
    return (
        f"read {stats.prompt_tokens} tokens, {stats.prompt_tokens_per_second:.1f} per second; "
        f"wrote {stats.new_tokens}, {stats.tokens_per_second:.1f} per second"
    )


def print_line(value: dict[str, Any]) -> None:
    """One JSON object on a line of stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def event_json(event: Event) -> dict[str, Any]:
    """What happened: "event" is its type."""
    made: dict[str, Any] = {"event": event.type, "text": event.text}
    return made | ({"numbers": list(event.numbers)} if event.type == "citation" else {})


def turn_json(talk: Talk) -> dict[str, Any]:
    """The end of a turn: its fields, its tokens, how long it took."""
    turn = talk.turn
    fields = {} if turn is None else dataclasses.asdict(turn)
    tokens = [token_json(talk, token) for token in talk.tokens]
    return {"event": "turn", **fields, "tokens": tokens, "stats": talk.stats.as_dict()}


def token_json(talk: Talk, token: Token) -> dict[str, Any]:
    """A token with its alternatives, if there are any."""
    made: dict[str, Any] = {"field": token.field, "token": token.token, "logprob": token.logprob}
    return made | ({"top": [list(one) for one in token.top]} if token.top else {})

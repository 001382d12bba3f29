"""One turn, shown as it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mossrt.chat import Event
from mossrt.cli.chat.keys import one_interrupt
from mossrt.cli.chat.render import Renderer
from mossrt.cli.chat.talk import Talk
from mossrt.monitor import Monitor, ProgressBar

WORTH_A_BAR = 64  # tokens that are read at once
Begin = Callable[[Monitor], Iterator[Event]]


def play(talk: Talk, begin: Begin, renderer: Renderer, anew: bool = False) -> None:
    """Shows a turn on a terminal. Ctrl-C ends the turn; errors go to the caller.

    anew: the turn takes the place of the last one.
    """
    old = talk.turn if anew else None
    bar = ProgressBar()

    def progress(stage: str, done: int, total: int) -> None:
        if total >= WORTH_A_BAR:
            renderer.screen.fresh_line()  # the bar takes its line away with it
            bar(stage, done, total)

    renderer.begin()
    interrupted = False
    with one_interrupt():
        try:
            events = begin(Monitor(progress))
            try:
                for event in events:
                    renderer.show(event, talk)
            finally:
                close(events)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            bar.stop()
    turn = talk.turn
    kept = interrupted and turn is not None and turn == old and not turn.taken_back
    renderer.end(None if kept else turn)
    if kept:
        renderer.screen.note("stopped before there was anything new; the last turn stays as it was")
    elif interrupted:
        _tell_interrupted(talk, renderer)


def close(events: Iterator[Event]) -> None:
    """Ends a turn that is left early, so that it is in order afterwards."""
    end = getattr(events, "close", None)
    if end is not None:
        end()


def _tell_interrupted(talk: Talk, renderer: Renderer) -> None:
    turn = talk.turn
    if turn is not None and turn.ended == "cancelled" and not turn.taken_back:
        renderer.screen.note("stopped; what came stays")
    elif turn is None or turn.ended == "cancelled" or not talk.tokens:
        renderer.screen.note("stopped before there was an answer; the question was taken back")

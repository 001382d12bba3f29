"""What the model wrote in a turn, token by token, so that it can be looked at and written anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mossrt.generation import Chunk, Stats, TopToken

R = TypeVar("R")  # results as the conversation has them
# Events of what the model writes.
WRITTEN = ("thought", "command", "answer", "citation")


@dataclass(frozen=True)
class Token:
    """A token that the model wrote.

    field: "thought", "command" or "answer". logprob: natural logarithm, under the unprocessed
    logits; None for a chosen token that was none of the alternatives. top: those, best first, if
    the conversation has the option top_logprobs. finish_reason: of a generation that ended here.
    """

    field: str
    token: int
    logprob: float | None
    top: tuple[TopToken, ...] = ()
    finish_reason: str | None = None


class Trace:
    """Steps of one turn. Those that are to be repeated come first, then new ones."""

    def __init__(
        self,
        sample: int | None = None,
        repeat: Sequence[Chunk] = (),
        results: Sequence[Any] = (),
    ) -> None:
        self.sample = sample  # the option sample_index, where it is not the conversation's
        self._repeat = list(repeat)
        self._repeated = _count(self._repeat)
        self._old_results = list(results)
        self._parts: list[tuple[str, list[Chunk]]] = []
        self._results: list[tuple[int, Any]] = []  # after so many steps
        self._stats: list[Stats] = []

    def open(self) -> None:
        """The model begins to write a field."""
        self._parts.append(("", []))

    def add(self, step: Chunk) -> None:
        """A step that was made, or repeated."""
        self._parts[-1][1].append(step)

    def name(self, event: str) -> None:
        """The type of an event tells which field it was."""
        if event in WRITTEN and self._parts and not self._parts[-1][0]:
            self._parts[-1] = ("answer" if event == "citation" else event, self._parts[-1][1])

    def next_repeated(self) -> Chunk | None:
        """The next step that is to be repeated."""
        return self._repeat.pop(0) if self._repeat else None

    @property
    def new(self) -> bool:
        """Whether there is a token that was not repeated."""
        return _count(self._steps()) > self._repeated

    def results(self, run: Callable[[], R]) -> R:
        """Of commands: those that are to be repeated, or else what `run` gives."""
        found = self._old_results.pop(0) if self._old_results else run()
        self._results.append((len(self._steps()), found))
        return found

    def took(self, stats: Stats) -> None:
        """Counts and times of a generation."""
        self._stats.append(stats)

    def _steps(self) -> list[Chunk]:
        return [step for _, steps in self._parts for step in steps]

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All steps that made a token."""
        return tuple(
            Token(field, step.token, step.logprob, step.top_logprobs, step.finish_reason)
            for field, steps in self._parts
            for step in steps
            if step.token is not None
        )

    @property
    def stats(self) -> Stats:
        """Of all generations together."""
        return Stats(
            sum(one.prompt_tokens for one in self._stats),
            sum(one.new_tokens for one in self._stats),
            sum(one.prompt_seconds for one in self._stats),
            sum(one.seconds for one in self._stats),
        )

    def branch(self, index: int, token: int) -> Trace:
        """One that repeats all before `tokens[index]` and then has `token`.

        Errors: IndexError: there is no such token.
        """
        steps = self._steps()
        places = [at for at, step in enumerate(steps) if step.token is not None]
        if not 0 <= index < len(places):
            raise IndexError(f"the turn has {len(places)} tokens, found index {index}")
        at = places[index]
        logprobs = {top.token: top.logprob for top in steps[at].top_logprobs}
        chosen = replace(
            steps[at], text="", token=token, logprob=logprobs.get(token), finish_reason=None
        )
        kept = [results for after, results in self._results if after <= at]
        return Trace(self.sample, [*steps[:at], chosen], kept)


def _count(steps: Sequence[Chunk]) -> int:
    """Steps that made a token."""
    return sum(step.token is not None for step in steps)

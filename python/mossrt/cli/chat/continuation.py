"""Models that know no turns: what is typed is continued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mossrt._trace import Trace
from mossrt.chat import Event, Token, Turn
from mossrt.errors import Code, Error
from mossrt.generation import Stats
from mossrt.model import Model
from mossrt.monitor import Monitor


class Continuation:
    """A text that user and model write in turns, with the interface of a conversation."""

    def __init__(
        self,
        model: Model,
        meta: str = "",
        *,
        context: int | None = None,
        kv_dtype: str | None = None,
        **generation: Any,
    ) -> None:
        self.model = model
        self._meta = meta
        self._generation = generation
        self._session = model.session(context=context, kv_dtype=kv_dtype)
        self._ids = [int(i) for i in model.tokenizer.encode(meta, parse_special=True)]
        self._turns: list[tuple[int, Turn]] = []  # with the number of tokens before each
        self._trace = Trace()

    def stream(self, text: str, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Goes on with the text."""
        return self._events(text, Trace(), monitor)

    def again(self, text: str | None = None, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes the last answer anew, after other words of the user's if they are given."""
        trace = Trace((self._trace.sample or 0) + 1) if text is None else Trace()
        return self._once_more(text, trace, monitor)

    def branch(self, index: int, token: int, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes it anew from a token on."""
        return self._once_more(None, self._trace.branch(index, token), monitor)

    def _once_more(
        self, text: str | None, trace: Trace, monitor: Monitor | None
    ) -> Iterator[Event]:
        if not self._turns:
            raise ValueError("there is no turn that could be written anew")
        old_turns, old_ids, old_trace = [*self._turns], [*self._ids], self._trace
        before, turn = self._turns[-1]
        self.undo()
        try:
            yield from self._events(turn.human if text is None else text, trace, monitor)
        finally:
            if not trace.new and (
                len(self._turns) < len(old_turns) or self._turns[-1][1].ended == "cancelled"
            ):
                self._turns, self._ids, self._trace = old_turns, old_ids, old_trace
                self._session.rewind(min(before, len(self._session.tokens)))

    def _events(self, text: str, trace: Trace, monitor: Monitor | None) -> Iterator[Event]:
        before = len(self._ids)
        ids = self.model.tokenizer.encode(text, add_special_tokens=not before)
        wanted = [*self._ids, *map(int, ids)]
        options = self._generation
        if trace.sample is not None:
            options = options | {"sample_index": trace.sample}
        self._trace = trace
        trace.open()
        trace.name("answer")
        decoder = self.model.tokenizer.decoder(skip_special_tokens=True)
        answer, finish = "", "cancelled"
        while (step := trace.next_repeated()) is not None and step.token is not None:
            trace.add(step)
            wanted.append(step.token)
            answer += (piece := decoder.push(step.token))
            yield Event("answer", piece)
        self._session.rewind(min(before, len(self._session.tokens)))
        held = len(self._session.tokens)
        with self._session.stream(wanted[held:], monitor=monitor, **options) as stream:
            try:
                for chunk in stream:
                    trace.add(chunk)
                    answer += chunk.text
                    finish = chunk.finish_reason or finish
                    if chunk.text:
                        yield Event("answer", chunk.text)
            finally:
                trace.took(stream.stats)
                self._ends(before, text, answer, finish)
        if finish == "context_full":
            yield Event("notice", "the context is full: the answer is not whole")

    def _ends(self, before: int, text: str, answer: str, finish: str) -> None:
        if not self._trace.tokens:
            self._session.rewind(min(before, len(self._session.tokens)))
            return  # a question counts only with an answer
        self._ids = [int(i) for i in self._session.tokens]
        ended = finish if finish in ("length", "context_full", "cancelled") else "answer"
        self._turns.append(
            (before, Turn(text, "", (), "", answer, (), (), (), (), 0, 0, 0, {}, ended))
        )

    @property
    def turn(self) -> Turn | None:
        """The last turn."""
        return self._turns[-1][1] if self._turns else None

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What the model wrote in it."""
        return self._trace.tokens

    @property
    def stats(self) -> Stats:
        """How long that took."""
        return self._trace.stats

    @property
    def info(self) -> dict[str, Any]:
        """The keys of `Conversation.info` that apply."""
        turns = [{"human": turn.human, "answer": turn.answer} for _, turn in self._turns]
        return {
            "profile": None,
            "plugins": [],
            "meta": {"text": self._meta, "source": "argument", "notes": []},
            "tokens": len(self._ids),
            "context": int(self._session.info["context"]),
            "turns": turns,
        }

    def undo(self) -> bool:
        """Takes back the last turn."""
        self._trace = Trace()
        if not self._turns:
            return False
        before, _ = self._turns.pop()
        del self._ids[before:]
        return True

    def save(self, path: str | os.PathLike[str]) -> None:
        """Cannot be done."""
        raise Error(
            "this model has no turns of MOSS's protocol, so that its conversation cannot be saved",
            Code.UNSUPPORTED,
        )

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

"""Conversations in MOSS's protocol: thoughts, commands that run, results, answers.

>>> calculate = mossrt.plugins.calculate
>>> trained = mossrt.Model.from_pretrained("examples/tiny-moss/model")
>>> with mossrt.chat.Conversation(trained, plugins={"Calculate": calculate}) as talk:
...     turn = talk.send("What is 12 * 34?")
>>> turn.commands[0].argument, turn.answer
('12*34', 'The result is 408.')
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mossrt import _mossrt
from mossrt._closing import Closing
from mossrt._options import string, to_json
from mossrt._trace import Token, Trace
from mossrt.errors import InvalidArgument
from mossrt.generation import Chunk, Stats
from mossrt.monitor import Monitor
from mossrt.plugins import Plugin, calculate
from mossrt.plugins._plugin import Plugins, plugin_table, run_commands
from mossrt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mossrt.model import Model

__all__ = [
    "Command",
    "Conversation",
    "Event",
    "ParsedCommands",
    "Plugin",
    "Token",
    "Turn",
    "calculate",
    "parse_commands",
    "render",
]

# The name of a built-in profile, or one of your own as it would stand in JSON (docs/conversation.md).
ProfileLike: TypeAlias = str | Mapping[str, Any] | None


@dataclass(frozen=True)
class Event:
    """Something that happens in a turn.

    type: "thought", "command", "result", "answer", "citation" or "notice". text: whole characters,
    never a part of a control token or role tag; answers and citations joined are the answer.
    numbers: the results that a citation names, from 1.
    """

    type: str
    text: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command, and what it gave as the model saw it; result None: the turn ended before."""

    name: str
    argument: str
    result: str | None = None
    ok: bool = False


@dataclass(frozen=True)
class ParsedCommands:
    """commands: (name, argument). strict: the text has no fault. unknown: names of other calls.
    rest: what was not understood."""

    commands: tuple[tuple[str, str], ...]
    strict: bool
    unknown: tuple[str, ...]
    rest: str


@dataclass(frozen=True)
class Turn:
    """What was said in one turn.

    sources: (title, text) that the answer may cite, from 1; citations: the numbers of each citation.
    repairs: (field, sentence) where the model did not end a field as it should. notices: all that a
    reader should know, repairs included. role_tags, control_tokens: how many the question and the
    results held, as plain text; altered: of the former, how many got a space. cut: "results",
    "turns" and "tokens" that were left out to make room. ended: "answer", "length", "context_full"
    or "cancelled".
    """

    human: str
    thoughts: str
    commands: tuple[Command, ...]
    results: str
    answer: str
    sources: tuple[tuple[str, str], ...]
    citations: tuple[tuple[int, ...], ...]
    repairs: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    role_tags: int
    control_tokens: int
    altered: int
    cut: Mapping[str, int] = field(default_factory=dict)
    ended: str = ""

    @property
    def taken_back(self) -> bool:
        """Whether it ended before there was an answer, and so is no part of the conversation."""
        return self.ended == "cancelled" and not self.answer


def _turn(found: dict[str, Any]) -> Turn:
    return Turn(
        human=found["human"],
        thoughts=found["thoughts"],
        commands=tuple(
            Command(one["name"], one["argument"], one.get("result"), one.get("ok", False))
            for one in found["commands"]
        ),
        results=found["results"],
        answer=found["answer"],
        sources=tuple((one["title"], one["text"]) for one in found["sources"]),
        citations=tuple(tuple(numbers) for numbers in found["citations"]),
        repairs=tuple((one["field"], one["what"]) for one in found["repairs"]),
        notices=tuple(found["notices"]),
        role_tags=found["role_tags"],
        control_tokens=found["control_tokens"],
        altered=found["altered"],
        cut=found["cut"],
        ended=found["ended"],
    )


def _profile_options(profile: ProfileLike) -> dict[str, object]:
    if profile is None or isinstance(profile, str):
        return {"profile": profile}
    if not isinstance(profile, Mapping):
        raise TypeError(f"profile must be a name or a mapping, found {type(profile).__name__}")
    return {"profile_json": json.dumps(dict(profile), ensure_ascii=False)}


class Conversation(Closing):
    """A conversation with a model; one call at a time.

    profile: "moss-plugin" (default where there are plugins), "moss" (default otherwise), "readme",
        "demo", "vortex", "opencompass", or a mapping.
    plugins: what commands run: a mapping from names to functions, or a list of `mossrt.chat.Plugin`.
    meta: the whole meta instruction, "" for none; None: a head from meta_instruction.txt of
        the checkpoint, else in mossrt's own words, and the switch lines of the plugins. `info["meta"]`
        tells which, and its notes what is worth knowing about it.
    on_full: "cut" (old results, then whole old turns) or "error" when the context is full.
    reserve: tokens kept free for what the model writes. commands: "tolerant" (all
        that can be found count), "strict" (only a line without a fault), or "constrained" (the model
        can write no other line).
    context, kv_dtype: of the session. generation: options of `Model.generate`.
    """

    def __init__(
        self,
        model: Model,
        profile: ProfileLike = None,
        plugins: Plugins = None,
        *,
        meta: str | None = None,
        on_full: str = "cut",
        reserve: int | None = None,
        commands: str = "tolerant",
        max_commands: int | None = None,
        date: str | None = None,
        context: int | None = None,
        kv_dtype: str | None = None,
        **generation: object,
    ) -> None:
        self._plugins = plugin_table(plugins)
        model.generation_options(**generation)  # wrong ones are found before the first question
        self._generation = generation
        self._open(model, context, kv_dtype)
        self._limits = {
            "on_full": on_full,
            "reserve": reserve,
            "commands": commands,
            "max_commands": max_commands,
            "context": self._context,
        }
        options = _profile_options(profile) | self._limits
        options |= {"plugins": list(self._plugins), "meta": meta, "date": date}
        self._chat = _mossrt.Chat(model.tokenizer._tokenizer, to_json(options))

    def _open(self, model: Model, context: int | None, kv_dtype: str | None) -> None:
        self.model = model
        self._unstarted = False
        self._trace = Trace()
        self._old: tuple[str, Trace] | None = None  # what a turn that is written anew was
        self._session = model.session(context=context, kv_dtype=kv_dtype)
        self._context = int(self._session.info["context"])

    @classmethod
    def load(
        cls,
        model: Model,
        path: str | os.PathLike[str],
        plugins: Plugins = None,
        *,
        on_full: str = "cut",
        reserve: int | None = None,
        commands: str = "tolerant",
        max_commands: int | None = None,
        context: int | None = None,
        kv_dtype: str | None = None,
        **generation: object,
    ) -> Conversation:
        """Goes on with a conversation that `save` wrote; profile and meta are as they were saved.

        Errors: FileNotFoundError; ValueError: damaged, changed by hand, or of another tokenizer;
        KeyError: a plugin that it was held with is missing.
        """
        saved = Path(path).read_text(encoding="utf-8")
        model.generation_options(**generation)
        talk = cls.__new__(cls)
        talk._plugins = plugin_table(plugins)
        talk._generation = generation
        talk._open(model, context, kv_dtype)
        talk._limits = {
            "on_full": on_full,
            "reserve": reserve,
            "commands": commands,
            "max_commands": max_commands,
            "context": talk._context,
        }
        try:
            talk._chat = talk._read(saved)
        except InvalidArgument as error:
            if not str(error).startswith("saved conversation"):
                raise
            raise InvalidArgument(f"{os.fspath(path)}: {error}", error.code) from None
        missing = [name for name in talk.info["plugins"] if name not in talk._plugins]
        if missing:
            raise KeyError(
                f"the conversation was held with the plugins {', '.join(missing)}; give them"
            )
        return talk

    def _read(self, saved: str) -> _mossrt.Chat:
        limits = to_json(self._limits)
        return _mossrt.Chat.load(self.model.tokenizer._tokenizer, saved, limits)

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Conversation cannot be pickled; save() it and load() it elsewhere")

    def send(self, text: str, *, monitor: Monitor | None = None) -> Turn:
        """Says something and waits for the answer. Errors as in `stream`."""
        for _ in self.stream(text, monitor=monitor):
            pass
        turn = self.turn
        assert turn is not None
        return turn

    def stream(self, text: str, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Says something; events come as they happen, and `turn` tells the whole afterwards.

        Leaving the loop, Ctrl-C or cancelling the monitor ends the turn, also while plugins run
        (see `mossrt.chat.Plugin`): an answer stays as far as
        it came, a turn without one is taken back.
        Errors: mossrt.ContextFull: it does not fit; nothing has changed then. ValueError.
        """
        string(text, "text")
        self._drop_unstarted()
        return self._begin(text, Trace(), monitor)

    def _begin(self, text: str, trace: Trace, monitor: Monitor | None) -> Iterator[Event]:
        self._chat.send(text)
        self._unstarted = True
        self._trace = trace
        return self._events(monitor)

    def _drop_unstarted(self) -> None:
        """Forgets an earlier call whose events nobody took."""
        if self._unstarted:
            self._unstarted = False
            self._chat.undo()
            self._put_back()

    def branch(self, index: int, token: int, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes the last turn anew from `tokens[index]` on, which becomes `token`.

        What came before it stays, results of commands too; events as from `stream`, of the whole.
        If it ends before anything new was written, the turn stays as it was.
        Errors: IndexError; ValueError: no turn has been written here, or the token is unknown.
        """
        self._drop_unstarted()
        if not self.tokens:
            raise ValueError("there is no turn to branch from: none was written since the start")
        if not 0 <= token < len(self.model.tokenizer):
            size = len(self.model.tokenizer)
            raise ValueError(f"token {token} is not one of the tokenizer's {size}")
        return self._once_more(None, self._trace.branch(index, token), monitor)

    def again(self, text: str | None = None, *, monitor: Monitor | None = None) -> Iterator[Event]:
        """Writes the last turn anew; where tokens are drawn at random, others are drawn.

        text: what was said, said otherwise. Events as from `stream`. If it ends before there is an
        answer, the turn stays as it was. Errors: ValueError: there is no turn; mossrt.ContextFull.
        """
        self._drop_unstarted()
        if text is not None:
            return self._once_more(string(text, "text"), Trace(), monitor)
        options = {one.key: one.value for one in self.model.generation_options(**self._generation)}
        sample = self._trace.sample
        sample = options["sample_index"] if sample is None else sample
        return self._once_more(None, Trace(sample + 1), monitor)

    def _once_more(
        self, text: str | None, trace: Trace, monitor: Monitor | None
    ) -> Iterator[Event]:
        turn = self.turn
        if turn is None:
            raise ValueError("there is no turn that could be written anew")
        if not turn.taken_back:
            self._old = (self._chat.save(), self._trace)
            self._chat.undo()
        try:
            return self._begin(turn.human if text is None else text, trace, monitor)
        except BaseException:
            self._put_back()
            raise

    def _put_back(self) -> None:
        """The turn that was to be written anew, if one was."""
        if self._old is not None:
            saved, self._trace = self._old
            self._old = None
            self._chat = self._read(saved)

    def _events(self, monitor: Monitor | None) -> Iterator[Event]:
        self._unstarted = False
        try:
            yield from self._taken()
            while True:
                action, keep, add = self._chat.next(self._session.tokens)
                if action == "done":
                    return
                if action == "generate":
                    yield from self._generate(keep, add, monitor)
                else:
                    results = self._trace.results(
                        lambda: run_commands(self._chat.commands(), self._plugins, monitor)
                    )
                    if results is None:
                        self._chat.end("cancelled")
                        yield from self._taken()
                        continue
                    for index, result in enumerate(results):
                        self._chat.set_result(index, result)
                    self._chat.end_commands()
                    yield from self._taken()
        finally:
            self._break_off()

    def _generate(
        self, keep: int, add: NDArray[np.int32], monitor: Monitor | None
    ) -> Iterator[Event]:
        self._trace.open()
        while (old := self._trace.next_repeated()) is not None:
            if not (yield from self._take(old)):
                return
            _, keep, add = self._chat.next(self._session.tokens)
        self._session.rewind(keep)
        options: dict[str, Any] = {**self._generation, "eos_token_id": self._chat.stop_ids()}
        if self._trace.sample is not None:
            options["sample_index"] = self._trace.sample
        with self._session.stream(add if len(add) else None, monitor=monitor, **options) as stream:
            stream._chat = self._chat
            try:
                for chunk in stream:
                    if not (yield from self._take(chunk)):
                        return
            finally:
                self._trace.took(stream.stats)

    def _take(self, chunk: Chunk) -> Generator[Event, None, bool]:
        """Whether this generation goes on."""
        self._trace.add(chunk)
        more = chunk.token is None or self._chat.push(chunk.token)
        if more and chunk.finish_reason is not None:
            self._chat.end(chunk.finish_reason)
            more = False
        yield from self._taken()
        return more

    def _taken(self) -> Iterator[Event]:
        while (event := self._chat.take_event()) is not None:
            kind, text, numbers = event
            self._trace.name(kind)
            yield Event(kind, text, tuple(numbers))

    def _break_off(self) -> None:
        if self._chat.next([])[0] != "done":
            self._chat.end("cancelled")
        turn = self.turn
        if turn is not None and turn.ended == "cancelled" and not (turn.answer and self._trace.new):
            self._put_back()
        self._old = None

    @property
    def turn(self) -> Turn | None:
        """The last turn."""
        found = json.loads(self._chat.turn())
        return None if found is None else _turn(found)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What the model wrote in the last turn; none after `load` and `undo`."""
        return self._trace.tokens

    @property
    def stats(self) -> Stats:
        """Counts and times of the last turn, all its generations together."""
        return self._trace.stats

    @property
    def ids(self) -> NDArray[np.int32]:
        """All tokens of the conversation, as the model sees them: int32 [n]."""
        return self._chat.ids()

    def render(self) -> str:
        """The text of `ids`, control tokens written out."""
        return self.model.tokenizer.decode(self.ids)

    @property
    def info(self) -> dict[str, Any]:
        """profile, plugins, meta (text, source, notes, tokens, ...), tokens, context, reserve,
        on_full, turns (human, answer, tokens, results_dropped, ended), attached (name, description,
        timeout)."""
        info: dict[str, Any] = json.loads(self._chat.info())
        info["attached"] = [
            {"name": one.name, "description": one.description, "timeout": one.timeout}
            for one in self._plugins.values()
        ]
        return info

    def undo(self) -> bool:
        """Takes back the last turn; False if there is none."""
        self._unstarted, self._old = False, None
        self._trace = Trace()
        return self._chat.undo()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the conversation, ids included, as JSON with a checksum.

        The file appears whole or not at all; where path is a symbolic link, what it leads to is
        written.
        """
        if not os.fspath(path):
            raise ValueError("path is empty; give the name of a file")
        self._drop_unstarted()
        saved = self._chat.save()
        # The system may forbid to follow links that others have planted, but not to read them.
        with contextlib.suppress(FileNotFoundError):
            os.stat(path)
        target = Path(os.path.realpath(path))
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with open(partial, "x", encoding="utf-8") as file:
                try:
                    file.write(saved)
                    file.flush()
                    partial.replace(target)
                except BaseException:
                    partial.unlink(missing_ok=True)
                    raise
        except OSError as error:  # of the file that was named, not of ours beside it
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None


def render(
    tokenizer: Tokenizer,
    profile: ProfileLike,
    turns: Sequence[Mapping[str, str | None]] | Mapping[str, Mapping[str, str | None]],
    meta: str | None = None,
    *,
    plugins: Sequence[str] = (),
    date: str | None = None,
) -> NDArray[np.int32]:
    """Turns as MOSS's published data has them, as ids: int32 [n].

    turns: dicts with the keys "Human", "Inner Thoughts", "Commands", "Tool Responses" and "MOSS",
        with or without their tags; or the "chat" object of a published conversation. In the last
        turn the first missing field that the model writes is opened, so that it may go on there.
        Fields that the profile does not have are left out.
        A value that has its tag in front and its control token behind is taken as published.
    meta: the meta instruction as it is, "" for none, None as for `Conversation`.

    >>> ids = mossrt.chat.render(model.tokenizer, "opencompass", [{"Human": "hello"}])
    >>> model.tokenizer.decode(ids)
    '<|Human|>: hello<eoh>\\n<|MOSS|>:'
    """
    listed = list(turns.values()) if isinstance(turns, Mapping) else list(turns)
    options = _profile_options(profile) | {"plugins": list(plugins), "meta": meta, "date": date}
    text = json.dumps([dict(turn) for turn in listed], ensure_ascii=False)
    return _mossrt.render_turns(tokenizer._tokenizer, to_json(options), text)


def parse_commands(
    text: str, strict: bool = False, names: Sequence[str] | None = None
) -> ParsedCommands:
    """The commands in a text, as MOSS writes them.

    strict: a text with any fault holds no command. names: what counts as a command; None: Search,
    Calculate, Solve and Text2Image.

    >>> mossrt.chat.parse_commands('1. Calculate("2+3")  # add').commands
    (('Calculate', '2+3'),)
    """
    known = None if names is None else ",".join(names)
    found = json.loads(_mossrt.parse_commands(string(text, "text"), strict, known))
    return ParsedCommands(
        commands=tuple((one["name"], one["argument"]) for one in found["commands"]),
        strict=found["strict"],
        unknown=tuple(found["unknown"]),
        rest=found["rest"],
    )

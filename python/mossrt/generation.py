"""Generated text, token by token."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mossrt import _mossrt
from mossrt._closing import Closing
from mossrt._options import to_json
from mossrt.errors import Cancelled
from mossrt.monitor import Monitor, Progress, Watch

if TYPE_CHECKING:
    from mossrt.session import Session

# Changes logits [vocab] in place, or returns new ones; ids [n] are all tokens so far.
LogitsProcessor: TypeAlias = Callable[[NDArray[np.int32], NDArray[np.float32]], object]
Processors: TypeAlias = LogitsProcessor | Sequence[LogitsProcessor] | None


class Option(NamedTuple):
    """A setting of a generation, and what it came from.

    origin: "argument", "generation_config.json", "config.json", "recipe:moss", "tokenizer" or
    "default".
    """

    key: str
    value: Any
    origin: str


class TopToken(NamedTuple):
    """An alternative and its log-probability (natural logarithm)."""

    token: int
    logprob: float


@dataclass(frozen=True)
class Chunk:
    """What one step made.

    text: whole code points, maybe "". token: the id, or None if generation ended without one.
    logprob: of the token, natural logarithm, under the unprocessed logits; None without a token.
    finish_reason: None until the last chunk, then "stop_token", "stop_string", "length",
    "context_full" or "cancelled". top_logprobs: the best alternatives, if asked for.
    """

    text: str
    token: int | None
    logprob: float | None
    finish_reason: str | None
    top_logprobs: tuple[TopToken, ...] = ()


@dataclass(frozen=True)
class Stats:
    """Counts and times in seconds; the prompt's tokens are those that this call evaluated."""

    prompt_tokens: int
    new_tokens: int
    prompt_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """New tokens per second, the prompt not counted; 0 if there are none."""
        return self.new_tokens / self.seconds if self.new_tokens and self.seconds > 0 else 0.0

    @property
    def prompt_tokens_per_second(self) -> float:
        """0 if there was no prompt."""
        some = self.prompt_tokens and self.prompt_seconds > 0
        return self.prompt_tokens / self.prompt_seconds if some else 0.0

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "prompt_seconds": self.prompt_seconds,
            "seconds": self.seconds,
            "prompt_tokens_per_second": self.prompt_tokens_per_second,
            "tokens_per_second": self.tokens_per_second,
        }


@dataclass(frozen=True)
class Output:
    """A whole generation.

    text: without stop strings and, unless skip_special_tokens=False, without special tokens.
    ids: the new tokens only, int32 [n], the one that ended generation included. logprobs: float32
    [n]. top_logprobs: per token, if asked for. options: every setting and its origin.
    """

    text: str
    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    finish_reason: str
    stats: Stats
    options: list[Option]
    top_logprobs: list[tuple[TopToken, ...]]


def parse_options(text: str) -> list[Option]:
    """The library's list of options and their origins."""
    return [Option(entry["key"], entry["value"], entry["origin"]) for entry in json.loads(text)]


def generate_json(options: dict[str, object]) -> str:
    """Generation options as the library takes them; Hugging Face's stop_strings is stop."""
    if options.get("stop_strings") is not None:
        if options.get("stop") is not None:
            raise ValueError("stop and stop_strings are the same option; give one of them")
        options = {**options, "stop": options["stop_strings"]}
    options = {key: value for key, value in options.items() if key != "stop_strings"}
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    return to_json(options)


def processor_list(given: Processors) -> list[LogitsProcessor]:
    """One processor, several or none, as a list."""
    if given is None:
        return []
    processors = list(given) if isinstance(given, Iterable) and not callable(given) else [given]
    for processor in processors:
        if not callable(processor):
            kind = type(processor).__name__
            raise TypeError(f"a logits processor must be callable, found {kind}")
    return processors


class Stream(Iterator[Chunk], Closing):
    """Chunks of one generation, made as they are asked for; see `Model.stream`.

    The prompt is evaluated by the first step. Leaving a `with stream:` block, or `close()`, ends it.
    """

    def __init__(
        self,
        session: Session,
        ids: NDArray[np.int32],
        options: dict[str, object],
        processors: Processors,
        monitor: Monitor | None,
        progress: Progress = False,
        owns_session: bool = False,
    ) -> None:
        self._session = session
        self._owns_session = owns_session
        self._ids = ids
        self._json = generate_json(options)
        # Wrong options are found before a long prompt is evaluated.
        self.options = session.model.generation_options(**options)
        self._processors = processor_list(processors)
        self._chat: _mossrt.Chat | None = None  # a conversation that limits what may be written
        self._watch = Watch(monitor, progress)
        self._monitor = self._watch.monitor
        self._generation: _mossrt.Generation | None = None
        self._prompt_tokens = 0
        self._new_tokens = 0
        self._prompt_seconds = 0.0
        self._seconds = 0.0
        self._done = False
        self._running = threading.Lock()

    @property
    def stats(self) -> Stats:
        """Counts and times so far."""
        return Stats(self._prompt_tokens, self._new_tokens, self._prompt_seconds, self._seconds)

    def cancel(self) -> None:
        """Ends the generation within 100 ms, also during the prompt; from any thread."""
        self._monitor.cancel()

    def close(self) -> None:
        """Ends it; a step that runs on another thread is cancelled and waited for."""
        if not self._running.acquire(blocking=False):
            self._monitor.cancel()
            self._running.acquire()
        try:
            self._finish()
        finally:
            self._running.release()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Chunk:
        if self._done:  # also while close() on another thread ends it
            raise StopIteration
        if not self._running.acquire(blocking=False):
            raise ValueError("the stream is in use by another thread")
        try:
            if self._done:
                raise StopIteration
            chunk = self._step()
            if chunk.finish_reason is not None:
                self._finish()
            return chunk
        except BaseException:
            self._finish()
            raise
        finally:
            self._running.release()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a generation holds a session's state and cannot be pickled")

    def _finish(self) -> None:
        self._done = True
        self._generation = None
        if self._owns_session:
            self._session.close()

    def _start(self) -> _mossrt.Generation:
        start = time.perf_counter()
        if len(self._ids):
            with self._watch:
                self._session._session.eval(self._ids, "", self._monitor)
        self._prompt_seconds = time.perf_counter() - start
        self._prompt_tokens = len(self._ids)
        generation = _mossrt.Generation(self._session._session, self._json, self._monitor)
        for processor in self._processors:
            generation.add_processor(processor)
        if self._chat is not None:
            generation.constrain(self._chat)
        return generation

    def _step(self) -> Chunk:
        if self._generation is None:
            try:
                self._generation = self._start()
            except Cancelled:  # in a generation an expected end
                return Chunk("", None, None, "cancelled")
        start = time.perf_counter()
        step = self._generation.next()
        self._seconds += time.perf_counter() - start
        if step is None:
            raise StopIteration
        text, token, logprob, top_ids, top_logprobs, finish = step
        if token < 0:
            return Chunk(text, None, None, finish)
        self._new_tokens += 1
        top = tuple(map(TopToken, top_ids, top_logprobs))
        return Chunk(text, token, logprob, finish, top)


def collect(stream: Stream) -> Output:
    """Runs a stream to its end."""
    chunks = list(stream)
    made = [chunk for chunk in chunks if chunk.token is not None]
    return Output(
        text="".join(chunk.text for chunk in chunks),
        ids=np.array([chunk.token for chunk in made], np.int32),
        logprobs=np.array([chunk.logprob for chunk in made], np.float32),
        finish_reason=chunks[-1].finish_reason or "",
        stats=stream.stats,
        options=stream.options,
        top_logprobs=[chunk.top_logprobs for chunk in made],
    )


async def iterate(stream: Stream) -> AsyncIterator[Chunk]:
    """A stream whose steps run on threads, so that the event loop goes on meanwhile."""
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, stream, None))
            try:
                chunk = await asyncio.shield(step)
            except asyncio.CancelledError:
                stream.cancel()
                await asyncio.wait([step])  # at most 100 ms; then nothing uses the session
                raise
            if chunk is None:
                return
            yield chunk
    finally:
        stream.close()

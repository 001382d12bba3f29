"""Tokens and their key/value cache; logits, hidden states and hooks."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mossrt import _mossrt
from mossrt._closing import Closing
from mossrt._options import path_bytes, to_json
from mossrt.generation import Chunk, Output, Processors, Stream, collect, iterate
from mossrt.monitor import Monitor, Progress, Watch
from mossrt.tokenizer import Ids

if TYPE_CHECKING:
    from mossrt.model import Model


@dataclass
class HookCall:
    """What a hook is given.

    name, layer: the point (layer None where it has none). position: of row 0 in the sequence.
    values: float32 [rows, width]; what is written into it, or assigned to it, goes on. The array
    may be kept: it is the hooks' own and changes no more after the call.
    """

    name: str
    layer: int | None
    position: int
    values: NDArray[np.float32]


HookFn = tuple[int, Callable[[HookCall], None]]  # numbered, so that a function may be set twice


class HookHandle(Closing):
    """A hook that is set; `remove()` it, or use it as a context manager."""

    def __init__(self, session: Session, place: tuple[str, int], fns: list[HookFn]) -> None:
        self._session = session
        self._place = place
        self._fns = fns  # all of this place; the last one is this handle's
        self._number = fns[-1][0]

    def remove(self) -> None:
        """Takes the hook away; a second time does nothing."""
        self._fns[:] = [entry for entry in self._fns if entry[0] != self._number]
        if not self._fns:
            self._session._unhook(self._place)

    def close(self) -> None:
        """As `remove()`."""
        self.remove()


def _dispatcher(fns: list[HookFn]) -> Callable[[str, int, int, NDArray[np.float32]], None]:
    # Knows no session: the library's would keep itself alive through it.
    def call_all(name: str, layer: int, position: int, values: NDArray[np.float32]) -> None:
        call = HookCall(name, None if layer < 0 else layer, position, values)
        for _, fn in fns:
            result: object = fn(call)
            if result is not None:
                raise TypeError(
                    f"the hook at {name!r} must return None, found {type(result).__name__}; to "
                    "change values, write into call.values[...]"
                )
        if call.values is not values:
            values[...] = call.values

    return call_all


class Session(Closing):
    """One sequence of tokens and its cache; made by `Model.session`, freed by `with` or `close()`.

    One call at a time: a second thread gets `mossrt.Error` with code BUSY. It cannot be pickled.

    >>> with model.session() as s:
    ...     s.eval(model.tokenizer.encode("hello"), logits="all", hidden=(0,))
    ...     s.logits.shape == (len(s.tokens), model.info["hyper_params"]["vocab"])
    ...     s.hidden(0).shape == (len(s.tokens), model.info["hyper_params"]["hidden"])
    True
    True
    """

    def __init__(self, model: Model, session: _mossrt.Session) -> None:
        self.model = model
        self._session = session
        self._hooks: dict[tuple[str, int], list[HookFn]] = {}
        self._hooks_set = 0

    def close(self) -> None:
        """Frees the cache. A closed session raises ValueError."""
        self._session.close()
        self._hooks.clear()

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._session.closed()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a Session cannot be pickled: its cache lives in this process; pickle the Model and "
            "what save_bytes() gives, or evaluate the tokens again"
        )

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.tokens)} tokens"
        return f"<mossrt.Session {state}>"

    def eval(
        self,
        ids: Ids,
        logits: str = "last",
        hidden: Iterable[int] = (),
        *,
        monitor: Monitor | None = None,
        progress: Progress = False,
    ) -> None:
        """Appends ids [n] and evaluates them.

        logits: rows to keep: "last", "all" or "none". (All logits of a 2048-token prompt to MOSS
            are 877 MB.) hidden: layers (from 0) whose output is kept for every token of the call.
        Errors: ValueError; mossrt.ContextFull if they do not fit (nothing has changed then);
            mossrt.Cancelled and KeyboardInterrupt (the tokens of finished chunks stay).
        """
        if not isinstance(hidden, Iterable):
            raise TypeError(f"hidden must be a list of layers, found {type(hidden).__name__}")
        options = to_json({"logits": logits, "hidden": list(hidden)})
        with Watch(monitor, progress) as watch:
            self._session.eval(ids, options, watch)

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits that the last eval kept: float32 [1 or n, vocab]; a copy."""
        return self._session.logits(True)

    def read_logits(self, copy: bool = True) -> NDArray[np.float32]:
        """As `logits`. copy=False: a read-only view of the session's memory.

        While views are alive, calls that would change the memory raise BufferError.
        """
        return self._session.logits(copy)

    def hidden(self, layer: int, copy: bool = True) -> NDArray[np.float32]:
        """Residual stream after a layer that the last eval kept: float32 [n, hidden].

        copy=False: a read-only view; see `read_logits`.
        """
        return self._session.hidden(layer, copy)

    @property
    def tokens(self) -> NDArray[np.int32]:
        """All tokens in the session: int32 [n]; a copy."""
        return self._session.tokens()

    @property
    def info(self) -> dict[str, Any]:
        """tokens, context, kv_dtype, kv_bytes, numerics, numerics_hash, evaluated_tokens,
        eval_seconds."""
        info: dict[str, Any] = json.loads(self._session.info())
        return info

    def rewind(self, tokens: int) -> None:
        """Keeps the first `tokens` tokens and forgets the rest; ValueError if there are fewer."""
        tokens = operator.index(tokens)
        if tokens < 0:
            raise ValueError(f"tokens must not be negative, found {tokens}")
        self._session.rewind(tokens)

    def fork(self) -> Session:
        """An independent continuation that shares the cache up to here; it has no hooks."""
        return Session(self.model, self._session.fork())

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: Monitor | None = None,
        progress: Progress = False,
    ) -> None:
        """Writes the session to a file, from which `Model.restore_session` goes on to the bit.

        Tokens, cache and the last logits (if the last eval kept them) come along; hooks and hidden
        states do not. The file takes about 2 x layers x kv_heads x head_dim x 4 bytes a token, half
        of it in bfloat16, a quarter and 4 bytes a head in int8 (docs/saved-session.md). It appears
        whole or not at all; a saved session of that name is replaced, any other file is not. The
        monitor's stage is "save", in bytes.
        Errors: ValueError (a name that is taken); FileNotFoundError (no such folder);
            mossrt.Error (no space, no permission); mossrt.Cancelled and KeyboardInterrupt (there
            is no new file then, unless all was written and only the disk still waited for).

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, model.session() as s:
        ...     s.eval([1, 2, 3])
        ...     s.save(folder + "/three.session")
        ...     t = model.restore_session(folder + "/three.session")
        ...     t.logits.tobytes() == s.logits.tobytes()
        True
        """
        with Watch(monitor, progress) as watch:
            self._session.save(path_bytes(path), watch)

    def save_bytes(self, *, monitor: Monitor | None = None, progress: Progress = False) -> bytes:
        """What `save` writes, as bytes. For a long session a file takes less memory.

        Errors: MemoryError; mossrt.Cancelled; KeyboardInterrupt.
        """
        with Watch(monitor, progress) as watch:
            return self._session.save_bytes(watch)

    def hook(
        self, name: str, fn: Callable[[HookCall], None], layer: int | None = None
    ) -> HookHandle:
        """Calls fn(HookCall) at a named point of every eval, to look at values or to change them.

        name: embed norm1 q k v attn_out mlp_in mlp_act mlp_out resid final_norm logits.
        layer: from 0; None: every layer, or a point that has none. Several hooks at one place run
        in the order in which they were set. What fn raises, eval raises.

        >>> with model.session() as s:
        ...     seen = []
        ...     with s.hook("resid", lambda call: seen.append(call.values.shape), layer=0):
        ...         s.eval([1, 2, 3])
        ...     seen == [(3, model.info["hyper_params"]["hidden"])]
        True
        """
        if not callable(fn):
            raise TypeError(f"fn must be callable, found {type(fn).__name__}")
        place = (name, -1 if layer is None else layer)
        if layer is not None and layer < 0:
            raise ValueError(f"layer must be from 0, or None for all, found {layer}")
        fns = self._hooks.get(place)
        if fns is None:
            fns = []
            self._session.set_hook(name, place[1], _dispatcher(fns))
            self._hooks[place] = fns
        self._hooks_set += 1
        fns.append((self._hooks_set, fn))
        return HookHandle(self, place, fns)

    def _unhook(self, place: tuple[str, int]) -> None:
        if self._hooks.pop(place, None) is not None:
            self._session.set_hook(*place, None)

    def stream(
        self,
        prompt: str | Ids | None = None,
        max_new_tokens: int | None = None,
        do_sample: bool | None = None,
        seed: int | None = None,
        *,
        add_special_tokens: bool = True,
        parse_special: bool = False,
        logits_processor: Processors = None,
        monitor: Monitor | None = None,
        progress: Progress = False,
        **options: object,
    ) -> Stream:
        """As `Model.stream`, after this session's tokens; prompt None adds nothing."""
        options |= {"max_new_tokens": max_new_tokens, "do_sample": do_sample, "seed": seed}
        ids = self.model._prompt_ids(prompt, add_special_tokens, parse_special)
        if not len(ids) and not len(self.tokens):
            raise ValueError("the prompt is empty; generation needs at least one token to follow")
        return Stream(self, ids, options, logits_processor, monitor, progress)

    def generate(self, prompt: str | Ids | None = None, *args: Any, **options: Any) -> Output:
        """As `Model.generate`, after this session's tokens; prompt None adds nothing."""
        return collect(self.stream(prompt, *args, **options))

    def astream(
        self, prompt: str | Ids | None = None, *args: Any, **options: Any
    ) -> AsyncIterator[Chunk]:
        """As `stream`, for `async for`."""
        return iterate(self.stream(prompt, *args, **options))

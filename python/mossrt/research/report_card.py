"""A report card of weight formats: each against a reference, over the same tokens."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mossrt import _mossrt
from mossrt.model import Model, inspect
from mossrt.monitor import Progress, ProgressBar
from mossrt.research.divergence import Divergence, Outputs, Tally
from mossrt.session import Session
from mossrt.tokenizer import Ids, Tokenizer

IdArray = NDArray[np.int32]

DEFAULT_CONTEXT = 512
KEPT_LOGITS = 1 << 24  # of one model at a time: 64 MiB, whatever the vocabulary


@dataclass(frozen=True)
class FormatScore:
    """One format.

    dtype: as asked for; held_as: what the matrices became ("auto" is the file's). kv_dtype: of the
    cache. weight_bytes: all parameters in memory; bits_per_weight: these by the number of
    parameters. divergence: from the reference; None for a reference that was not to be compared
    with itself.
    """

    dtype: str
    held_as: str
    kv_dtype: str
    numerics: str
    is_reference: bool
    weight_bytes: int
    bits_per_weight: float
    perplexity: float
    divergence: Divergence | None


@dataclass(frozen=True)
class Report:
    """What `evaluate` found. tokens: how many were predicted, in how many windows."""

    model: str
    architecture: str
    reference: str
    context: int
    documents: int
    windows: int
    tokens: int
    formats: tuple[FormatScore, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Window:
    """Tokens that a model reads from position 0, and the one that follows each."""

    inputs: IdArray
    targets: IdArray


def evaluate(
    path: str | os.PathLike[str],
    texts: str | Iterable[str | Ids],
    dtypes: Sequence[str] = ("auto",),
    reference: str = "float32",
    *,
    kv_dtypes: Sequence[str | None] = (None,),
    context: int | None = None,
    parse_special: bool = True,
    progress: Progress = False,
    **options: Any,
) -> Report:
    """Says how well a checkpoint predicts a text in each format, and how far from the reference.

    texts: a text, or several, each a string or ids [n]; none of them continues another.
    dtypes: formats, each as `Model.from_pretrained(dtype=...)` takes it. reference: likewise; if it
        is among dtypes too, it is also compared with itself.
    kv_dtypes: formats of the cache; every one with every dtype. The reference has the default.
    context: tokens of a window; a longer text is cut, and every window begins at position 0, with
        the tokenizer's bos if it adds one. None: 512, or the model's positions if these are fewer.
    parse_special: "<eom>" in a text is that token.
    options: for loading, as threads, backend, architecture, memory_limit.
    Errors: ValueError for texts that are too short or an unknown format (before anything is
        loaded); mossrt.Error if logits are not finite; as `Model.from_pretrained`.

    The reference and one format are in memory at a time, with the logits of a part of one window.

    >>> report = evaluate("tests/data/models/moss", [[14, 15, 16, 17]], ["float16"])
    >>> report.tokens, report.formats[1].divergence.same_top1
    (3, 1.0)
    """
    for name, given in (("dtypes", dtypes), ("kv_dtypes", kv_dtypes)):
        if isinstance(given, str) or not given:
            raise ValueError(f"{name} must be a list of one or more formats, found {given!r}")
    for dtype in (reference, *dtypes):
        inspect(path, dtype=dtype, **options)

    base = Model.from_pretrained(path, reference, progress=progress, **options)
    positions = int(base.info["hyper_params"]["max_positions"])
    context = min(DEFAULT_CONTEXT, positions) if context is None else context
    documents = [texts] if isinstance(texts, str) else list(texts)
    windows = cut(base, documents, context, parse_special)

    with base.session(context=context) as base_session:
        yardstick = reference, base_session.info["kv_dtype"]
        for kv in kv_dtypes:  # wrong names are found before hours of work
            base.session(kv_dtype=kv, context=context).close()
        scores: list[FormatScore] = []
        for dtype in dtypes:
            model = base
            if dtype != reference:
                model = Model.from_pretrained(path, dtype, progress=progress, **options)
            with contextlib.ExitStack() as stack:
                sessions = [
                    stack.enter_context(model.session(kv_dtype=kv, context=context))
                    for kv in kv_dtypes
                ]
                meter = stack.enter_context(Meter(f"evaluate {dtype}", windows, progress))
                tallies = compare(base_session, sessions, windows, meter)
                for session, tally in zip(sessions, tallies):
                    scores.append(score(session, dtype, yardstick, tally))
            del model, session, sessions  # else they would stay while the next one is loaded
        if not any(one.is_reference for one in scores):
            first = score(base_session, reference, yardstick, tallies[0])
            perplexity = tallies[0].reference_perplexity
            scores.insert(0, dataclasses.replace(first, perplexity=perplexity, divergence=None))
    return Report(
        model=base.info["file"],
        architecture=base.info["architecture"],
        reference=reference,
        context=context,
        documents=len(documents),
        windows=len(windows),
        tokens=sum(len(window.targets) for window in windows),
        formats=tuple(scores),
    )


def cut(
    model: Model, documents: Sequence[str | Ids], context: int, parse_special: bool
) -> list[Window]:
    """Windows of at most `context` tokens, in which every token but a text's first is predicted
    once; the first one too where the tokenizer puts a bos before it."""
    if context < 1:
        raise ValueError(f"context must be 1 or more, found {context}")
    vocab = model.info["hyper_params"]["vocab"]
    windows = []
    found = 0
    for document in documents:
        bos: list[int] = []
        if isinstance(document, str):
            ids = model.tokenizer.encode(document, False, parse_special)
            bos = added_bos(model.tokenizer)
        else:
            ids = _mossrt.to_ids(document, "texts")
        wrong = ids[ids >= vocab]
        if len(wrong):  # a session would not see the last one, which is only predicted
            raise ValueError(
                f"texts holds the token {wrong[0]}; the model has tokens 0 to {vocab - 1}"
            )
        found += len(ids)
        for start in range(0 if bos else 1, len(ids), context):
            targets = ids[start : start + context]
            before = np.array(bos, np.int32) if bos else ids[start - 1 : start]
            windows.append(Window(np.concatenate([before, targets[:-1]]), targets))
    if not windows:
        raise ValueError(
            f"the text is too short: it has {found} tokens, and a text needs at least 2, so that "
            "one can be predicted from another"
        )
    return windows


def added_bos(tokenizer: Tokenizer) -> list[int]:
    """The token that the tokenizer puts before every text; none for most."""
    first = tokenizer.encode("")[:1]
    return [int(i) for i in first if int(i) in tokenizer.special_ids("bos")]


def compare(
    base: Session, sessions: Sequence[Session], windows: Sequence[Window], meter: Meter
) -> list[Tally]:
    """Every session against the base, piece by piece: how a sequence is cut changes no logit."""
    params = base.model.info["hyper_params"]
    tallies = [Tally(params["layers"]) for _ in sessions]
    step = max(16, KEPT_LOGITS // params["vocab"])
    for window in windows:
        for session in (base, *sessions):
            session.rewind(0)
        for start in range(0, len(window.inputs), step):
            piece = slice(start, start + step)
            expected = outputs(base, window.inputs[piece])
            for session, tally in zip(sessions, tallies):
                tally.add(expected, outputs(session, window.inputs[piece]), window.targets[piece])
            del expected  # views of the session's memory, which the next piece replaces
        meter.add(len(window.targets))
    return tallies


def outputs(session: Session, ids: IdArray) -> Outputs:
    """Evaluates ids; views, good until the session's next call."""
    info = session.model.info
    layers = range(info["hyper_params"]["layers"])
    session.eval(ids, logits="all", hidden=layers)
    hidden = [session.hidden(layer, copy=False) for layer in layers]
    name = f"{info['file']} in {info['dtype']}"
    return Outputs(name, session.read_logits(copy=False), hidden)


def score(session: Session, dtype: str, reference: tuple[str, str], tally: Tally) -> FormatScore:
    """A format's line of the report card."""
    info = session.model.info
    held = int(info["memory"]["held"])
    return FormatScore(
        dtype=dtype,
        held_as=info["dtype"],
        kv_dtype=session.info["kv_dtype"],
        numerics=session.info["numerics"],
        is_reference=(dtype, session.info["kv_dtype"]) == reference,
        weight_bytes=held,
        bits_per_weight=8 * held / info["parameters"],
        perplexity=tally.perplexity,
        divergence=tally.divergence(),
    )


class Meter:
    """Progress over the windows of one format."""

    def __init__(self, stage: str, windows: Sequence[Window], progress: Progress) -> None:
        self._stage = stage
        self._done, self._total = 0, sum(len(window.targets) for window in windows)
        self._bar = ProgressBar() if progress is True and sys.stderr.isatty() else None
        self._call: Callable[[str, int, int], object] | None = (
            self._bar if isinstance(progress, bool) else progress
        )

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, tokens: int) -> None:
        self._done += tokens
        if self._call is not None:
            self._call(self._stage, self._done, self._total)

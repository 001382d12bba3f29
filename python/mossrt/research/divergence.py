"""How far the answers of one model are from those of another, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mossrt.errors import Code, Error

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BLOCK = 1 << 20  # logits that are widened at a time


@dataclass(frozen=True)
class Divergence:
    """A format against the reference, over all predicted tokens of the text.

    perplexity_ratio: perplexity / the reference's. kl_*: divergence KL(reference || format) of the
    next token's distribution, in nats over the whole vocabulary as the model has it: mean, 99 % and
    99.9 % quantiles, largest. same_top1: share of tokens whose most probable successor is the same.
    layer_errors: per layer, |h - h_reference| / |h_reference| of the residual stream after it, the
    mean over the tokens.
    """

    perplexity_ratio: float
    kl_mean: float
    kl_99: float
    kl_99_9: float
    kl_max: float
    same_top1: float
    layer_errors: tuple[float, ...]


@dataclass(frozen=True)
class Outputs:
    """What one model says to some tokens: logits [n, vocab], residual streams [n, hidden]."""

    name: str
    logits: F32
    hidden: list[F32]


class Tally:
    """Adds up one format against the reference."""

    def __init__(self, layers: int) -> None:
        self._tokens = 0
        self._surprise = 0.0
        self._reference_surprise = 0.0
        self._same = 0
        self._kl: list[F64] = []
        self._layer_errors = np.zeros(layers)

    def add(self, reference: Outputs, outputs: Outputs, targets: NDArray[np.int32]) -> None:
        """targets [n]: the tokens that did follow."""
        for rows in _blocks(outputs.logits.shape):
            base = log_softmax(reference, rows)
            ours = log_softmax(outputs, rows)
            following = np.arange(len(base)), targets[rows]
            self._reference_surprise -= float(base[following].sum())
            self._surprise -= float(ours[following].sum())
            self._same += int((base.argmax(-1) == ours.argmax(-1)).sum())
            self._kl.append((np.exp(base) * (base - ours)).sum(-1))
        for layer, (wanted, found) in enumerate(zip(reference.hidden, outputs.hidden, strict=True)):
            self._layer_errors[layer] += float(relative_errors(wanted, found).sum())
        self._tokens += len(targets)

    @property
    def perplexity(self) -> float:
        """The format's."""
        return _exp(self._surprise / self._tokens)

    @property
    def reference_perplexity(self) -> float:
        """The reference's, over the same tokens."""
        return _exp(self._reference_surprise / self._tokens)

    def divergence(self) -> Divergence:
        """Over all that was added."""
        kl = np.concatenate(self._kl)
        return Divergence(
            perplexity_ratio=_exp((self._surprise - self._reference_surprise) / self._tokens),
            kl_mean=float(kl.mean()),
            kl_99=float(np.quantile(kl, 0.99)),
            kl_99_9=float(np.quantile(kl, 0.999)),
            kl_max=float(kl.max()),
            same_top1=self._same / self._tokens,
            layer_errors=tuple(float(e) for e in self._layer_errors / self._tokens),
        )


def log_softmax(outputs: Outputs, rows: slice) -> F64:
    """[rows, vocab], computed in float64 from the largest logit down, so that nothing overflows."""
    found: F64 = outputs.logits[rows].astype(np.float64)
    if not np.isfinite(found).all():
        raise Error(
            f"the logits of {outputs.name} are not all finite, so that nothing can be compared "
            "with them: the checkpoint holds such values, or they are too large for this format; "
            "leave it out",
            Code.UNSUPPORTED,
        )
    found -= found.max(-1, keepdims=True)
    found -= np.log(np.exp(found).sum(-1, keepdims=True))
    return found


def relative_errors(reference: F32, found: F32) -> F64:
    """|found - reference| / |reference| of each row; 0 where both are 0."""
    base = reference.astype(np.float64)
    error: F64 = np.linalg.norm(found - base, axis=-1)
    size: F64 = np.linalg.norm(base, axis=-1)
    return np.where(error == 0, 0.0, error / np.where(size == 0, np.finfo(float).tiny, size))


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, BLOCK // shape[1])
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _exp(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(value))

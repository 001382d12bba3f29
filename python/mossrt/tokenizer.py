"""Text to token ids and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mossrt import _hub, _mossrt
from mossrt._options import path_bytes, string, to_json

Ids: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]


class Decoder:
    """Incremental decoding: ids go in as they come, whole code points come out."""

    def __init__(self, decoder: _mossrt.Detokenizer) -> None:
        self._decoder = decoder

    def push(self, ids: int | Ids) -> str:
        """The text that this id, or these, complete; maybe ""."""
        return self._decoder.push(ids)

    def flush(self) -> str:
        """U+FFFD if a code point was left incomplete, else ""; the decoder starts anew."""
        return self._decoder.flush()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Decoder holds half-decoded text and cannot be pickled")


class Tokenizer:
    """A checkpoint's tokenizer. May be used by many threads at once; pickles as its path.

    >>> t = mossrt.Tokenizer.from_pretrained("tests/data/models/moss")
    >>> ids = t.encode("hello")
    >>> ids.dtype, ids.ndim
    (dtype('int32'), 1)
    >>> t.decode(ids)
    'hello'
    """

    def __init__(self, tokenizer: _mossrt.Tokenizer, recipe: tuple[object, ...]) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        added_tokens: str = "lossless",
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        **options: object,
    ) -> Tokenizer:
        """Opens the tokenizer of a checkpoint directory, or of a repository in the hub's cache.

        added_tokens: "lossless" keeps all text; "hf-4.25" drops white space beside added tokens as
            transformers 4.25 did.
        Errors: FileNotFoundError, ValueError, mossrt.Error (files that are damaged).
        """
        folder = os.path.abspath(
            _hub.resolve(
                path,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                weights=False,
            )
        )
        return cls._open(folder, {"added_tokens": added_tokens, **options})

    @classmethod
    def _open(cls, folder: str, options: dict[str, object]) -> Tokenizer:
        tokenizer = _mossrt.Tokenizer.load(path_bytes(folder), to_json(options))
        return cls(tokenizer, (folder, options))

    def __reduce__(self) -> tuple[object, ...]:
        return Tokenizer._open, self._recipe

    def __len__(self) -> int:
        """One more than the largest id. A model's vocabulary may be larger (padding)."""
        return self._tokenizer.size()

    def __repr__(self) -> str:
        return f"<mossrt.Tokenizer {self.kind}, {len(self)} tokens, {self._recipe[0]}>"

    @property
    def kind(self) -> str:
        """ "byte-level-bpe" or "sentencepiece"."""
        return self._tokenizer.kind()

    def encode(
        self,
        text: str | bytes,
        add_special_tokens: bool = True,
        parse_special: bool = False,
        *,
        errors: str = "strict",
    ) -> NDArray[np.int32]:
        """The ids of a text: int32 [n].

        add_special_tokens: add bos or eos where the tokenizer's own config asks for them.
        parse_special: "<eom>" written out becomes that token; without it all text is plain text.
        errors: for bytes that are no UTF-8: "strict" (ValueError) or "replace" (U+FFFD).

        >>> t = model.tokenizer
        >>> t.decode(t.encode("<eom>", parse_special=False)) == "<eom>"
        True
        >>> [int(i) for i in t.encode("<eom>", parse_special=True)] == [t.token_id("<eom>")]
        True
        """
        if not isinstance(text, str | bytes):
            raise TypeError(f"text must be str or bytes, found {type(text).__name__}")
        if errors not in ("strict", "replace"):
            raise ValueError(f"errors must be 'strict' or 'replace', found {errors!r}")
        return self._tokenizer.encode(text, add_special_tokens, parse_special, errors == "replace")

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """The text of ids [n]; bytes that form no code point become U+FFFD."""
        return self._tokenizer.decode(ids, skip_special_tokens)

    def decode_bytes(self, ids: Ids, skip_special_tokens: bool = False) -> bytes:
        """As `decode`, but the bytes as they are."""
        return self._tokenizer.decode_bytes(ids, skip_special_tokens)

    def decoder(self, skip_special_tokens: bool = False) -> Decoder:
        """Decodes id by id.

        >>> d = model.tokenizer.decoder()
        >>> "".join(d.push(i) for i in model.tokenizer.encode("语言")) + d.flush()
        '语言'
        """
        return Decoder(self._tokenizer.decoder(skip_special_tokens))

    def token_bytes(self, id: int) -> bytes:
        """What a token adds to a text when it does not stand first; maybe part of a code point."""
        return self._tokenizer.token_bytes(id)

    def token_id(self, name: str) -> int | None:
        """The id of a token by its exact name as files write it ("<eom>"); None if there is none."""
        found = self._tokenizer.token_id(string(name, "name"))
        return None if found < 0 else found

    def special_ids(self, role: str = "all") -> list[int]:
        """Ids by role: "bos", "eos", "unk", "pad" or "all" control tokens."""
        return self._tokenizer.special_ids(role)

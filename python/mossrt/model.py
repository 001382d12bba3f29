"""A loaded checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mossrt import _hub, _mossrt
from mossrt._options import path_bytes, string, to_json
from mossrt.chat import Conversation
from mossrt.generation import (
    Chunk,
    Option,
    Output,
    Processors,
    Stream,
    collect,
    generate_json,
    iterate,
    parse_options,
)
from mossrt.monitor import Monitor, Progress, Watch
from mossrt.plugins._plugin import Plugins
from mossrt.session import Session
from mossrt.tokenizer import Ids, Tokenizer


class Model:
    """Weights, ready to compute. May be used by many threads at once; pickles as its path and options.

    >>> m = mossrt.Model.from_pretrained("tests/data/models/moss", dtype="float32", threads=1)
    >>> m.info["architecture"], m.info["dtype"]
    ('moss', 'float32')
    >>> out = m.generate([14, 15, 16], max_new_tokens=3, do_sample=False, eos_token_id=[])
    >>> out.ids.shape, out.finish_reason
    ((3,), 'length')
    """

    def __init__(self, model: _mossrt.Model, recipe: tuple[str, dict[str, object]]) -> None:
        self._model = model
        self._recipe = recipe
        self._info: dict[str, Any] = json.loads(model.info())
        self._tokenizer: Tokenizer | None = None

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        dtype: str = "auto",
        threads: int | None = None,
        backend: str = "native",
        progress: Progress = False,
        *,
        architecture: str | None = None,
        monitor: Monitor | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        **options: object,
    ) -> Model:
        """Loads a checkpoint directory as it was published, and its tokenizer if there is one.

        path: the directory, or a file of `save_packed`; or, if there is none of that name, a
            repository "owner/name" of the Hugging Face hub (with `revision`, `cache_dir`, `local_files_only`; needs the extra
            "hub"; HF_HUB_OFFLINE=1 asks the local cache only).
        dtype: how matrices are held: "auto" (as the file has them), "float32", "float16",
            "bfloat16", "int8", "int4", the last two with a group size, "-asym" and "-search" if
            wanted, as in "int4-g128-asym". Embedding and head keep 8 bits unless `overrides` says
            otherwise: a list of "pattern=format", as in ["lm_head.*=float16"].
        threads: None for as many as there are physical cores to be had.
        backend: matrix products: "native", "reference", "eigen", "openblas", "cblas:/path/lib.so".
        progress: True for a bar on a terminal's stderr, or a function (stage, done, total).
        architecture: where config.json cannot tell, as for "codegen2".
        options: overrides, verify_crc, huge_pages, mmap, memory_limit
            (`mossrt.describe_options("load")`).
        Errors: FileNotFoundError; ValueError; MemoryError, before anything is allocated;
            mossrt.Error for damaged or unsupported files; mossrt.Cancelled; KeyboardInterrupt.
        """
        folder = _hub.resolve(
            path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
        )
        options |= {
            "dtype": dtype,
            "threads": threads,
            "backend": backend,
            "architecture": architecture,
        }
        return cls._open(os.path.abspath(folder), options, monitor, progress)

    @classmethod
    def _open(
        cls,
        folder: str,
        options: dict[str, object],
        monitor: Monitor | None = None,
        progress: Progress = False,
    ) -> Model:
        with Watch(monitor, progress) as watch:
            model = _mossrt.Model.load(path_bytes(folder), to_json(options), watch)
        return cls(model, (folder, options))

    def __reduce__(self) -> tuple[object, ...]:
        return Model._open, self._recipe

    def __repr__(self) -> str:
        info = self._info
        return (
            f"<mossrt.Model {info['architecture']}, {info['parameters']:,} parameters, "
            f"{info['dtype']}, {info['threads']} threads, {self._recipe[0]}>"
        )

    @property
    def info(self) -> dict[str, Any]:
        """What was loaded and chosen: version, file, architecture, model_type, hyper_params,
        parameters, dtype, backend, threads, isa, numerics, memory (bytes by term), notes, ..."""
        return self._info

    @property
    def config(self) -> dict[str, Any]:
        """The checkpoint's config.json."""
        config: dict[str, Any] = self._info["config"]
        return config

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer; FileNotFoundError if its directory has none."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self._model.tokenizer(), (self._recipe[0], {}))
        return self._tokenizer

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor by its name in the checkpoint, in the checkpoint's shape, widened to float32.

        Errors: FileNotFoundError if there is none of that name (`mossrt.inspect(path)["tensors"]`
        lists them).

        >>> model.tensor("transformer.ln_f.weight").shape == (model.info["hyper_params"]["hidden"],)
        True
        """
        return self._model.tensor(string(name, "name"))

    def save_packed(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress = False,
        monitor: Monitor | None = None,
    ) -> None:
        """Writes one file that `from_pretrained` loads faster than the checkpoint, to equal logits.

        It holds the weights as they are in memory, config.json and the tokenizer, and appears whole
        or not at all; a packed file of that name is replaced, any other file is not. The checkpoint
        must still be where it was loaded from; only the backend "native" can do it.
        Errors: ValueError; FileNotFoundError; mossrt.Error (no space, no permission);
            mossrt.Cancelled; KeyboardInterrupt.
        """
        with Watch(monitor, progress) as watch:
            self._model.save_packed(path_bytes(path), watch)

    def session(
        self,
        context: int | None = None,
        kv_dtype: str | None = None,
        prefill_chunk: int | None = None,
        **options: object,
    ) -> Session:
        """An empty session.

        context: most tokens it may hold; None: the model's positions. kv_dtype: "float32",
        "bfloat16", "int8" or "auto" (as the matrices: int8 for integers). prefill_chunk: tokens
        per pass; never changes a result.
        """
        options |= {"context": context, "kv_dtype": kv_dtype, "prefill_chunk": prefill_chunk}
        return Session(self, self._model.session(to_json(options)))

    def restore_session(
        self,
        saved: str | os.PathLike[str] | bytes | bytearray | memoryview,
        *,
        monitor: Monitor | None = None,
        progress: Progress = False,
    ) -> Session:
        """The session that `Session.save` wrote to the file `saved`, or that `save_bytes` gave.

        It goes on as the saved one would have, to the bit, also in another process, on another
        instruction set or number of threads. It has no hooks and no hidden states; its counters
        (`info["evaluated_tokens"]`) start anew. Everything is checked before there is a session. The
        monitor's stage is "restore", in bytes.
        Errors: ValueError (saved by another model: other shape, numeric settings or weights);
            FileNotFoundError; mossrt.Error (damaged, or another version); MemoryError;
            mossrt.Cancelled; KeyboardInterrupt.

        >>> with model.session() as s:
        ...     s.eval([1, 2, 3])
        ...     saved = s.save_bytes()
        >>> model.restore_session(saved).tokens
        array([1, 2, 3], dtype=int32)
        """
        with Watch(monitor, progress) as watch:
            if isinstance(saved, bytes | bytearray | memoryview):
                return Session(self, self._model.restore_session_bytes(bytes(saved), watch))
            return Session(self, self._model.restore_session(path_bytes(saved), watch))

    def stream(
        self,
        prompt: str | Ids,
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
        """Generates chunk by chunk; arguments as for `generate`.

        >>> chunks = list(model.stream([14, 15], max_new_tokens=2, do_sample=False, eos_token_id=[]))
        >>> [c.finish_reason for c in chunks]
        [None, 'length']
        """
        ids = self._prompt_ids(prompt, add_special_tokens, parse_special)
        if not len(ids):
            raise ValueError("the prompt is empty; generation needs at least one token to follow")
        options |= {"max_new_tokens": max_new_tokens, "do_sample": do_sample, "seed": seed}
        return Stream(
            self.session(), ids, options, logits_processor, monitor, progress, owns_session=True
        )

    def generate(
        self,
        prompt: str | Ids,
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
    ) -> Output:
        """Continues a text or ids [n].

        Options have Hugging Face's names: temperature, top_k, top_p, min_p, repetition_penalty,
        min_new_tokens, eos_token_id, stop (or stop_strings), top_logprobs, ...; see
        `mossrt.describe_options("generate")`. None, or leaving it out, means: as
        generation_config.json says, then the family's recipe, then the default; the output's
        `options` tell which. Where transformers warns, of a min_new_tokens above max_new_tokens,
        this is a ValueError; a max_new_tokens given here overrules a file's min_new_tokens.
        add_special_tokens, parse_special: for a prompt that is text, as in `Tokenizer.encode`.
        logits_processor: fn(ids [n], logits [vocab]), or several; changes logits in place or
            returns new ones.
        Errors: ValueError names a wrong option and the nearest one there is; mossrt.ContextFull;
            KeyboardInterrupt. Ends that are no errors are finish reasons.

        >>> def only_42(ids, logits):
        ...     logits[:] = -1e9
        ...     logits[42] = 0
        >>> out = model.generate([14, 15], max_new_tokens=2, logits_processor=only_42)
        >>> [int(i) for i in out.ids]
        [42, 42]
        """
        return collect(
            self.stream(
                prompt,
                max_new_tokens,
                do_sample,
                seed,
                add_special_tokens=add_special_tokens,
                parse_special=parse_special,
                logits_processor=logits_processor,
                monitor=monitor,
                progress=progress,
                **options,
            )
        )

    def astream(self, prompt: str | Ids, *args: Any, **options: Any) -> AsyncIterator[Chunk]:
        """As `stream`, for `async for`; the event loop goes on meanwhile.

        Cancelling the task, or leaving the loop and closing the iterator, ends the generation.
        """
        return iterate(self.stream(prompt, *args, **options))

    def chat(self, profile: Any = None, plugins: Plugins = None, **options: Any) -> Conversation:
        """A conversation in MOSS's protocol; see `mossrt.chat.Conversation`."""
        return Conversation(self, profile, plugins, **options)

    def generation_options(self, **options: object) -> list[Option]:
        """Every setting that `generate` would use with these options: (key, value, origin).

        >>> next(o for o in model.generation_options(top_k=5) if o.key == "top_k")
        Option(key='top_k', value=5, origin='argument')
        """
        return parse_options(self._model.generation_options(generate_json(options)))

    def _prompt_ids(
        self, prompt: str | Ids | None, add_special_tokens: bool, parse_special: bool
    ) -> NDArray[np.int32]:
        if prompt is None:
            return np.empty(0, np.int32)
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, add_special_tokens, parse_special)
        return _mossrt.to_ids(prompt, "prompt")


def inspect(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    **options: object,
) -> dict[str, Any]:
    """What `Model.from_pretrained` would do, from headers only: no weight is read.

    Returns architecture, model_type, hyper_params, parameters, dtype, memory (bytes by term),
    tensors (name, dtype, shape, bytes, use), notes, config, tokenizer. options: dtype, backend,
    architecture, threads, ... as for loading.

    >>> mossrt.inspect("tests/data/models/moss")["hyper_params"]["layers"]
    2
    """
    folder = _hub.resolve(
        path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
    )
    text = _mossrt.inspect(path_bytes(os.path.abspath(folder)), to_json(options))
    found: dict[str, Any] = json.loads(text)
    return found

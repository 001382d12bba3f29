"""mossrt chat"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mossrt.cli import common
from mossrt.cli.generate import show_stats
from mossrt.errors import ContextFull
from mossrt.generation import Chunk
from mossrt.model import Model
from mossrt.session import Session

HELP = "/new starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer."


class PlainTurns:
    """For models without turns of their own: what is typed is continued."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.ends: list[int] | None = None  # the model's own

    def start(self, meta: str) -> list[int]:
        """Ids at the beginning of a conversation."""
        return [int(i) for i in self.model.tokenizer.encode(meta, parse_special=True)]

    def ask(self, text: str, first: bool) -> list[int]:
        """Ids that the user's text adds."""
        return [int(i) for i in self.model.tokenizer.encode(text, add_special_tokens=first)]

    def close(self, last: int | None) -> list[int]:
        """Ids that complete an answer whose last token is `last`."""
        return []


class MossTurns(PlainTurns):
    """<|Human|>: question<eoh>\\n<|MOSS|>: answer<eom>\\n"""

    def __init__(self, model: Model, eoh: int, eom: int) -> None:
        super().__init__(model)
        self.eoh, self.eom = eoh, eom
        own = next(o.value for o in model.generation_options() if o.key == "eos_token_id")
        self.ends = sorted({*(own or []), eom})

    def ask(self, text: str, first: bool) -> list[int]:
        # The user's words are plain text: "<eoh>" in them ends no turn.
        return [*self._plain(f"<|Human|>: {text}"), self.eoh, *self._plain("\n<|MOSS|>:")]

    def close(self, last: int | None) -> list[int]:
        return [*([] if last == self.eom else [self.eom]), *self._plain("\n")]

    def _plain(self, text: str) -> list[int]:
        return [int(i) for i in self.model.tokenizer.encode(text, add_special_tokens=False)]


def turns_for(model: Model) -> PlainTurns:
    """MOSS's turns where the architecture and the tokenizer have them."""
    if model.info["architecture"] == "moss":
        eoh, eom = (model.tokenizer.token_id(name) for name in ("<eoh>", "<eom>"))
        if eoh is not None and eom is not None:
            return MossTurns(model, eoh, eom)
    return PlainTurns(model)


@common.command
def run(
    model: common.ModelPath,
    meta: Annotated[
        Path | None, typer.Option(help="File with the meta instruction that comes first.")
    ] = None,
    max_new_tokens: common.MaxNewTokens = None,
    do_sample: common.DoSample = None,
    temperature: common.Temperature = None,
    top_k: common.TopK = None,
    top_p: common.TopP = None,
    min_p: common.MinP = None,
    repetition_penalty: common.RepetitionPenalty = None,
    seed: common.Seed = None,
    stop: common.Stop = None,
    option: common.More = None,
    dtype: common.Dtype = "auto",
    threads: common.Threads = None,
    backend: common.Backend = "native",
    architecture: common.Architecture = None,
    kv_dtype: common.KvDtype = None,
    context: common.Context = None,
    stats: Annotated[bool, typer.Option(help="Speed on stderr after each answer.")] = False,
    as_json: common.AsJson = False,
) -> None:
    """Holds a conversation: one line is one turn, typed or piped in.

    MOSS models get MOSS's plain turns, other models continue what they are given. --json prints one
    object per turn.
    """
    meta_text = common.text_input(None, meta, "meta instruction") if meta else ""
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": do_sample,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "stop": stop or None,
    } | common.more_options(option)
    loaded = common.load(model, dtype, threads, backend, architecture)
    turns = turns_for(loaded)
    options.setdefault("eos_token_id", turns.ends)
    loaded.generation_options(**options)  # wrong ones are found before the first question
    typed = sys.stdin.isatty()
    if typed:
        common.note(HELP)
    with loaded.session(context=context, kv_dtype=kv_dtype) as session:
        Conversation(session, turns, meta_text, options, stats, as_json).hold(typed)


class Conversation:
    """Keeps ids: what was said is never encoded again."""

    def __init__(
        self,
        session: Session,
        turns: PlainTurns,
        meta: str,
        options: dict[str, Any],
        stats: bool,
        as_json: bool,
    ) -> None:
        self.session = session
        self.turns = turns
        self.meta = meta
        self.options = options
        self.stats = stats
        self.as_json = as_json
        self.pending = turns.start(meta)  # ids that come before the next question
        self.fresh = not self.pending

    def hold(self, typed: bool) -> None:
        """Until the input ends."""
        while (line := read_line(typed)) is not None:
            if typed and line.strip() in ("/exit", "/quit"):
                return
            if typed and line.strip() == "/new":
                self.session.rewind(0)
                self.pending = self.turns.start(self.meta)
                self.fresh = not self.pending
            elif line.strip():
                try:
                    self.turn(line)
                except KeyboardInterrupt:
                    if not typed:
                        raise
                    print()
                except ContextFull as error:
                    if not typed:
                        raise
                    common.note(f"{error}; /new starts over")

    def turn(self, text: str) -> None:
        """One question and its answer. An answer that was interrupted stays as far as it came."""
        before = len(self.session.tokens)
        ids = [*self.pending, *self.turns.ask(text, self.fresh)]
        chunks: list[Chunk] = []
        stream = self.session.stream(ids, **self.options)
        try:
            for chunk in stream:
                if not self.as_json:
                    # The protocol's own space before the answer is part of the ids only.
                    started = any(one.text for one in chunks)
                    sys.stdout.write(chunk.text if started else chunk.text.lstrip())
                    sys.stdout.flush()
                chunks.append(chunk)
        except BaseException:
            if not chunks:
                self.session.rewind(before)  # the question counts only with an answer
                raise
            self._answered(chunks)
            raise
        self._answered(chunks)
        self._report(text, chunks, stream.stats.as_dict())
        if self.stats:
            show_stats(stream.stats, chunks[-1].finish_reason)

    def _answered(self, chunks: list[Chunk]) -> None:
        last = next((c.token for c in reversed(chunks) if c.token is not None), None)
        self.pending = self.turns.close(last)
        self.fresh = False

    def _report(self, text: str, chunks: list[Chunk], stats: dict[str, float]) -> None:
        finish = chunks[-1].finish_reason
        if self.as_json:
            made = {
                "question": text,
                "answer": "".join(chunk.text for chunk in chunks).lstrip(),
                "ids": [chunk.token for chunk in chunks if chunk.token is not None],
                "finish_reason": finish,
                "stats": stats,
            }
            print(json.dumps(made, ensure_ascii=False), flush=True)
        else:
            print(flush=True)
        if finish == "context_full":
            raise ContextFull("the context is full")


def read_line(typed: bool) -> str | None:
    """The next line without its end; None at the end of the input."""
    if typed:
        try:
            if sys.stdout.isatty():
                import readline  # noqa: F401  # editing and history for input()

                return input("> ")
            sys.stderr.write("> ")
            sys.stderr.flush()
        except EOFError:
            sys.stderr.write("\n")
            return None
    raw = sys.stdin.buffer.readline()
    if not raw:
        return None
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        common.fail(f"the input is not UTF-8: {error}", common.USAGE)

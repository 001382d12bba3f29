"""mossrt generate"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mossrt.cli import common, groups
from mossrt.generation import Chunk, Stats, Stream


@groups.command
def run(
    model: common.ModelPath,
    prompt: Annotated[
        str | None, typer.Argument(help='The text to continue; "-", or nothing: stdin.')
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt here.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="The prompt is token ids.")] = False,
    *,
    sampling: groups.Sampling,
    parse_special: Annotated[
        bool, typer.Option(help="<eom> and the like in the prompt are control tokens.")
    ] = False,
    echo: Annotated[bool, typer.Option(help="Print the prompt first.")] = False,
    loading: groups.Loading,
    cache: groups.Cache,
    stats: common.ShowStats = None,
    as_json: common.AsJson = False,
) -> None:
    """Continues a text; tokens appear as they are made.

    One newline at the end of a file or of stdin is not part of the prompt. Settings that
    are not given come from generation_config.json, then from the model family's recipe.
    """
    text = common.text_input(prompt, file, "prompt")
    if text is not prompt:
        text = text.removesuffix("\n")  # echo's, or the editor's
    options = sampling.options()
    loaded = loading.load(model, generates=True)
    given = (
        common.parse_ids(text)
        if ids
        else loaded.tokenizer.encode(text, parse_special=parse_special)
    )
    with loaded.session(**cache.options()) as session:
        stream = session.stream(given, progress=not as_json, **options)
        has_text = loaded.info["tokenizer"] is not None
        if echo and not as_json:
            sys.stdout.write(text if has_text else " ".join(map(str, given)) + " ")
        chunks = []
        for chunk in stream:
            chunks.append(chunk)
            if not as_json:
                write(chunk, has_text)
        if as_json:
            common.print_json(report(stream, given, chunks))
        else:
            print()
        if stats if stats is not None else sys.stderr.isatty() and not as_json:
            show_stats(stream.stats, chunks[-1].finish_reason)


def write(chunk: Chunk, has_text: bool) -> None:
    """The chunk's text; ids where the model has no tokenizer."""
    if has_text:
        sys.stdout.write(chunk.text)
    elif chunk.token is not None:
        sys.stdout.write(f"{chunk.token} ")
    sys.stdout.flush()


def report(stream: Stream, prompt: Any, chunks: list[Chunk]) -> dict[str, Any]:
    """A generation as JSON."""
    made = [chunk for chunk in chunks if chunk.token is not None]
    out: dict[str, Any] = {
        "text": "".join(chunk.text for chunk in chunks),
        "ids": [chunk.token for chunk in made],
        "logprobs": [chunk.logprob for chunk in made],
        "finish_reason": chunks[-1].finish_reason,
        "prompt_ids": [int(token) for token in prompt],
        "stats": stream.stats.as_dict(),
        "options": [option._asdict() for option in stream.options],
    }
    if any(chunk.top_logprobs for chunk in made):
        out["top_logprobs"] = [[top._asdict() for top in chunk.top_logprobs] for chunk in made]
    return out


def show_stats(stats: Stats, finish_reason: str | None) -> None:
    """One line on stderr."""
    common.note(
        f"prompt {stats.prompt_tokens} tokens, {stats.prompt_tokens_per_second:.1f} per second; "
        f"new {stats.new_tokens} tokens, {stats.tokens_per_second:.1f} per second; {finish_reason}"
    )

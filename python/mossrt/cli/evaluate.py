"""mossrt evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from mossrt.cli import common
from mossrt.model import inspect
from mossrt.research import FormatScore, Report, evaluate
from mossrt.tokenizer import Ids


@common.command
def run(
    model: common.ModelPath,
    text: Annotated[
        Path, typer.Option("--text", "-f", help='The text to predict, UTF-8; "-": stdin.')
    ],
    dtype: Annotated[
        str, typer.Option(help="Formats to judge, separated by commas, as for loading.")
    ] = "auto",
    reference: Annotated[str, typer.Option(help="The format to compare with.")] = "float32",
    kv: Annotated[
        str | None,
        typer.Option(help="Formats of the cache, separated by commas; each with every dtype."),
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a window; default: 512, or all positions.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="The text is several, with this between them; none follows another."),
    ] = None,
    parse_special: Annotated[
        bool, typer.Option(help="<eom> and the like in the text are control tokens.")
    ] = True,
    ids: Annotated[bool, typer.Option("--ids", help="The text is token ids.")] = False,
    threads: common.Threads = None,
    backend: common.Backend = "native",
    architecture: common.Architecture = None,
    option: common.MoreLoading = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Says what weight formats cost in accuracy: each against a reference, on the same tokens.

    Perplexity, KL(reference || format) of the next token in nats, share of tokens with the same
    best successor, relative error of the residual stream after each layer. The reference and one
    format are in memory at a time.
    """
    given = common.text_input(
        "-" if str(text) == "-" else None, None if str(text) == "-" else text, "text"
    )
    if split == "":
        common.fail(
            "--split needs the text that stands between the texts, found nothing", common.USAGE
        )
    parts = [part for part in given.split(split) if part] if split else [given]
    texts: list[str | Ids] = [common.parse_ids(part) if ids else part for part in parts]
    dtypes = names(dtype, "--dtype")
    options = common.load_options(
        option, dtype=dtype, threads=threads, backend=backend, architecture=architecture
    )
    del options["dtype"]  # each in turn
    infos = [inspect(model, dtype=one, **options) for one in (reference, *dtypes)]
    common.show_notes(*infos, quiet=quiet)
    report = evaluate(
        model,
        texts,
        dtypes,
        reference,
        kv_dtypes=[None] if kv is None else names(kv, "--kv"),
        context=context,
        parse_special=parse_special,
        progress=True,
        **options,
    )
    if as_json:
        common.print_json(report.as_dict())
    else:
        common.print_table(table(report))
        common.note(
            f"{report.tokens} tokens predicted in {report.windows} windows of at most "
            f"{report.context} tokens"
        )


def names(given: str, option: str) -> list[str]:
    """The names of a list with commas, each once, in order."""
    found = list(dict.fromkeys(part.strip() for part in given.split(",")))
    if not all(found):
        common.fail(f"{option} needs names separated by commas, found {given!r}", common.USAGE)
    return found


def heading(score: FormatScore, with_kv: bool) -> str:
    name = f"auto = {score.held_as}" if score.dtype == "auto" else score.dtype
    if with_kv:
        name += f", cache {score.kv_dtype}"
    return f"{name} (reference)" if score.is_reference else name


def small(value: float) -> str:
    """What is exactly 0 says so."""
    return f"{value:.2e}" if value else "0"


def table(report: Report) -> Table:
    """Formats beside one another, since layers may be many."""
    made = Table(box=box.MARKDOWN)
    made.add_column("", no_wrap=True)
    with_kv = len({score.kv_dtype for score in report.formats}) > 1
    for score in report.formats:
        made.add_column(heading(score, with_kv), justify="right")

    def row(name: str, cells: list[str]) -> None:
        made.add_row(name, *cells)

    scores = report.formats
    row("bits per weight", [f"{score.bits_per_weight:.2f}" for score in scores])
    row("weights", [common.human_bytes(score.weight_bytes) for score in scores])
    row("perplexity", [f"{score.perplexity:.4f}" for score in scores])
    found = [score.divergence for score in scores]
    row("perplexity, ratio", ["" if d is None else f"{d.perplexity_ratio:.5f}" for d in found])
    for name, key in (
        ("KL, mean", "kl_mean"),
        ("KL, 99 %", "kl_99"),
        ("KL, 99.9 %", "kl_99_9"),
        ("KL, largest", "kl_max"),
    ):
        row(name, ["" if d is None else small(getattr(d, key)) for d in found])
    row("same top-1", ["" if d is None else f"{100 * d.same_top1:.2f} %" for d in found])
    layers = max(len(d.layer_errors) for d in found if d is not None)
    for layer in range(layers):
        cells = ["" if d is None else small(d.layer_errors[layer]) for d in found]
        row(f"error after layer {layer}", cells)
    return made

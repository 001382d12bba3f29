"""The commands in one application."""

from __future__ import annotations

from typing import Annotated

import typer

from mossrt import _mossrt
from mossrt.cli import bench, chat, convert, doctor, evaluate, generate, inspect, tokenize

app = typer.Typer(
    name="mossrt",
    help="Runs MOSS and MOSS-style checkpoints on CPUs. Results go to stdout, all else to stderr. "
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 bad model, 4 not enough memory, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("generate")(generate.run)
app.command("chat")(chat.run)
app.command("tokenize")(tokenize.run)
app.command("inspect")(inspect.run)
app.command("convert")(convert.run)
app.command("bench")(bench.run)
app.command("evaluate")(evaluate.run)
app.command("doctor")(doctor.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(_mossrt.version())
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    pass

"""mossrt convert"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mossrt.cli import common
from mossrt.errors import NotFound, SystemRefused
from mossrt.model import Model


@common.command
def run(
    model: common.ModelPath,
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file to write, as moss.mossrt.")],
    dtype: common.Dtype = "auto",
    threads: common.Threads = None,
    architecture: common.Architecture = None,
    option: common.MoreLoading = None,
    quiet: common.Quiet = False,
) -> None:
    """Writes one packed file, which every command takes in place of MODEL and loads faster.

    It appears whole or not at all, and holds config.json and the tokenizer too.
    """
    options = common.load_options(
        option, dtype=dtype, threads=threads, architecture=architecture
    )
    if not Path(out).parent.is_dir():
        common.fail(f"there is no folder {Path(out).parent} to write {out} to; make it first")
    loaded = Model.from_pretrained(model, progress=True, **options)
    common.show_notes(loaded.info, quiet=quiet)
    try:
        loaded.save_packed(out, progress=True)
    except (NotFound, SystemRefused) as error:  # of OUT; the model has been read
        common.fail(str(error))
    common.note(f"wrote {out}: {common.human_bytes(os.path.getsize(out))}")

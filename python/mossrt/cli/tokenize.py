"""mossrt tokenize"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mossrt.cli import common


@common.command
def run(
    model: common.ModelPath,
    text: Annotated[str | None, typer.Argument(help='The text; "-", or nothing: stdin.')] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text here.")] = None,
    decode: Annotated[bool, typer.Option("--decode", help="The other way: ids to text.")] = False,
    add_special: Annotated[
        bool, typer.Option(help="Add bos or eos where the tokenizer's config asks for them.")
    ] = True,
    parse_special: Annotated[
        bool, typer.Option(help="<eom> and the like in the text are control tokens.")
    ] = False,
    added_tokens: Annotated[str, typer.Option(help="lossless or hf-4.25.")] = "lossless",
    show: Annotated[bool, typer.Option("--show", help="One token a line: id and text.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only how many there are.")] = False,
    as_json: common.AsJson = False,
) -> None:
    """Turns text into token ids, or ids into text. Reads the tokenizer's files only."""
    tokenizer = common.open_tokenizer(model, added_tokens)
    given = common.text_input(text, file, "ids" if decode else "text")
    if decode:
        found = tokenizer.decode(common.parse_ids(given))
        if as_json:
            common.print_json({"text": found})
        else:
            sys.stdout.write(found + ("\n" if sys.stdout.isatty() else ""))
        return
    ids = [int(i) for i in tokenizer.encode(given, add_special, parse_special)]
    if as_json:
        tokens = [tokenizer.token_bytes(i).decode("utf-8", "replace") for i in ids]
        common.print_json({"ids": ids, "tokens": tokens, "count": len(ids)})
    elif count:
        print(len(ids))
    elif show:
        for i in ids:
            token = tokenizer.token_bytes(i)
            try:
                print(f"{i}\t{json.dumps(token.decode('utf-8'), ensure_ascii=False)}")
            except UnicodeDecodeError:
                print(f"{i}\t{token!r}")
    else:
        print(*ids)

"""What the commands share: options, output, exit codes."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

from mossrt.errors import Code, Error
from mossrt.tokenizer import Tokenizer

P = ParamSpec("P")

FAILED, USAGE, BAD_MODEL, NO_MEMORY, INTERRUPTED = 1, 2, 3, 4, 130
_EXIT_CODES = {
    Code.INVALID_ARGUMENT: USAGE,
    Code.NOT_FOUND: BAD_MODEL,
    Code.IO: BAD_MODEL,
    Code.FORMAT: BAD_MODEL,
    Code.UNSUPPORTED: BAD_MODEL,
    Code.OUT_OF_MEMORY: NO_MEMORY,
    Code.CANCELLED: INTERRUPTED,
}

errors = Console(stderr=True, highlight=False, soft_wrap=True)

ModelPath = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Checkpoint directory, packed file, or owner/name of the hub."
    ),
]
# Groups in --help.
_MODEL, _GENERATION = "Model", "Generation"
Dtype = Annotated[
    str,
    typer.Option(
        help="auto (as in the file), float32, float16, bfloat16, int8 or int4 (also as int4-g64).",
        rich_help_panel=_MODEL,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads that compute; default: physical cores.", rich_help_panel=_MODEL
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        help="native, reference, eigen, openblas or cblas:/path/lib.so.", rich_help_panel=_MODEL
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(help="Where config.json cannot tell, as codegen2.", rich_help_panel=_MODEL),
]
KvDtype = Annotated[
    str | None,
    typer.Option(
        help="Cache: auto (as the matrices), float32, bfloat16, int8.", rich_help_panel=_MODEL
    ),
]
Context = Annotated[
    int | None,
    typer.Option(min=1, help="Most tokens of prompt and answer.", rich_help_panel=_MODEL),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No notes about the checkpoint.", rich_help_panel=_MODEL),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        "-n",
        min=-1,
        help="-1: until the context is full.",
        rich_help_panel=_GENERATION,
    ),
]
DoSample = Annotated[
    bool | None,
    typer.Option(
        "--do-sample/--greedy",
        help="Draw at random, or take the best.",
        rich_help_panel=_GENERATION,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(min=0.0, help="Logits are divided by it.", rich_help_panel=_GENERATION),
]
TopK = Annotated[
    int | None,
    typer.Option(min=0, help="Keep the k most probable tokens.", rich_help_panel=_GENERATION),
]
TopP = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="Keep this probability mass.", rich_help_panel=_GENERATION),
]
MinP = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Keep this share of the best's probability.",
        rich_help_panel=_GENERATION,
    ),
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(min=0.0, help="1 is off.", rich_help_panel=_GENERATION)
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Equal seeds give equal text.", rich_help_panel=_GENERATION),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        help="Text that ends generation; may be given several times.", rich_help_panel=_GENERATION
    ),
]
More = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="Any other generation option, as min_p=0.1.",
        rich_help_panel=_GENERATION,
    ),
]
MoreLoading = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="Any other load option; overrides=lm_head.*=float16, or a JSON list of such.",
        rich_help_panel=_MODEL,
    ),
]
ShowStats = Annotated[
    bool | None, typer.Option("--stats/--no-stats", help="Speed on stderr; default: on a terminal.")
]


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Says why on stderr and exits."""
    errors.print(Text.assemble(("error: ", "bold red"), message))
    raise typer.Exit(code)


def note(message: str) -> None:
    """One line on stderr."""
    errors.print(Text(message, style="dim"))


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turns exceptions into messages and exit codes."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="replace")
        try:
            function(*args, **kwargs)
            sys.stdout.flush()
        except Error as error:
            fail(str(error), _EXIT_CODES.get(error.code, FAILED))
        except MemoryError as error:
            fail(str(error) or "not enough memory", NO_MEMORY)
        except BrokenPipeError:
            # The reader has gone; nothing is left to write when Python flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except (ValueError, TypeError) as error:
            fail(str(error), USAGE)
        except KeyboardInterrupt:
            errors.print()
            raise typer.Exit(INTERRUPTED) from None

    return guarded


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(table: Any) -> None:
    """On stdout; as wide as it needs to be, and without padding, where nobody looks at it."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=10_000, file=io.StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    print("\n".join(lines).strip("\n"))


def show_notes(*infos: Mapping[str, Any], quiet: bool = False, generates: bool = False) -> None:
    """The notes in what `Model.info` or `inspect` say, each once, wherever stderr goes.

    generates: the command says itself whether settings of generation_config.json fit.
    """
    for text in dict.fromkeys(text for info in infos for text in info["notes"]):
        if not quiet and not (generates and text.startswith("generation will fail:")):
            note(f"note: {text}")


def open_tokenizer(path: str, added_tokens: str = "lossless") -> Tokenizer:
    """Only the tokenizer of a checkpoint."""
    return Tokenizer.from_pretrained(path, added_tokens)


def text_input(given: str | None, file: Path | None, what: str) -> str:
    """A text from the command line, a file or stdin ("-", or nothing with something piped in)."""
    if given is not None and file is not None:
        fail(f"give the {what} or a file, not both", USAGE)
    if given is not None and given != "-":
        return given
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except OSError as error:
            fail(f"{file}: {error.strerror}; give a text file, or the {what} itself", USAGE)
        except UnicodeDecodeError as error:
            fail(f"{file}, byte {error.start}: expected UTF-8", USAGE)
    if given is None and sys.stdin.isatty():
        fail(f"there is no {what}: give it as an argument, or pipe it in", USAGE)
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        fail(f"the {what} on stdin is not UTF-8: {error}", USAGE)


def parse_ids(text: str) -> list[int]:
    """Ids separated by spaces or commas, or a JSON list of them."""
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    ids = []
    for word in words:
        try:
            ids.append(int(word))
        except ValueError:
            fail(f"ids are numbers separated by spaces or commas, found {word[:60]!r}", USAGE)
    return ids


def more_options(given: list[str] | None) -> dict[str, object]:
    """KEY=VALUE pairs; a value is JSON if it can be read so, else a string."""
    options: dict[str, object] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            fail(f"--option needs KEY=VALUE, found {pair!r}", USAGE)
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


def load_options(given: list[str] | None, **flags: object) -> dict[str, Any]:
    """Options of loading: KEY=VALUE pairs, and those that have flags of their own."""
    options = more_options(given)
    for name in options.keys() & flags.keys():
        fail(f"-o {name}=... is an option of its own here: --{name}", USAGE)
    return options | flags


def human_bytes(n: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            break
        n /= 1024
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.2f} {unit}"


def human_count(n: int) -> str:
    """5517824 -> "5.52 M"."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return str(n)

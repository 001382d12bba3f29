"""The command's options."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mossrt.cli import common, groups
from mossrt.cli.chat import models, tools
from mossrt.cli.chat.logs import Kept, keep
from mossrt.cli.chat.setup import Setup, read_profile
from mossrt.cli.chat.talk import Talk

CONVERSATION, PLUGINS, INPUT = "Conversation", "Plugins", "Input and output"
ALTERNATIVES = 5  # of each token, for /why


@groups.command
def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Checkpoint directory, packed file, or owner/name of the hub; without it, those "
            "at hand are listed.",
            show_default=False,
        ),
    ] = None,
    models_folder: Annotated[
        Path | None,
        typer.Option(
            "--models", metavar="DIR", help="Folder to look for models in; also MOSSRT_MODELS."
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="moss-plugin (default with plugins), moss (default without), readme, demo, vortex, "
            "opencompass, or FILE.json of your own.",
            rich_help_panel=CONVERSATION,
        ),
    ] = None,
    meta: Annotated[
        Path | None,
        typer.Option(
            help="File with the whole meta instruction; an empty one: none.",
            rich_help_panel=CONVERSATION,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Go on with a conversation that /save wrote.",
            rich_help_panel=CONVERSATION,
        ),
    ] = None,
    on_full: Annotated[
        str,
        typer.Option(
            help="When the context is full: cut (oldest results, then turns) or error.",
            rich_help_panel=CONVERSATION,
        ),
    ] = "cut",
    reserve: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens kept free for what the model writes.", rich_help_panel=CONVERSATION
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(help="YYYY-MM-DD, for profiles that state it.", rich_help_panel=CONVERSATION),
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            help="Calculate, Solve, NAME=MODULE:FUNCTION or NAME=FILE.py:FUNCTION; may be "
            "given several times.",
            rich_help_panel=PLUGINS,
        ),
    ] = None,
    search_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Search finds passages in the texts of this folder.",
            rich_help_panel=PLUGINS,
        ),
    ] = None,
    searxng: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Search asks this SearXNG.", rich_help_panel=PLUGINS),
    ] = None,
    no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins",
            help="Without Calculate and Solve, which are there otherwise.",
            rich_help_panel=PLUGINS,
        ),
    ] = False,
    commands: Annotated[
        str,
        typer.Option(
            help="The model's commands: tolerant or strict reading, or constrained writing.",
            rich_help_panel=PLUGINS,
        ),
    ] = "tolerant",
    max_commands: Annotated[
        int | None, typer.Option(min=0, help="Most that run in a turn.", rich_help_panel=PLUGINS)
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Colour tells how sure the model was.", rich_help_panel=INPUT
        ),
    ] = False,
    thoughts: Annotated[
        bool | None,
        typer.Option(
            help="Thoughts, commands and results on stderr; default: on a terminal.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="All that is piped in is one message; default: each line.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    stats: Annotated[
        bool, typer.Option("--stats", help="Speed after each answer.", rich_help_panel=INPUT)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one event a line.", rich_help_panel=INPUT)
    ] = False,
    *,
    sampling: groups.Sampling,
    loading: groups.Loading,
    cache: groups.Cache,
) -> None:
    """Holds a conversation, in a terminal or by what is piped in.

    MOSS models think, run commands (Calculate and Solve; others by
    options) and answer; other models continue what they are given. In a
    terminal /help lists what else can be typed. Piped in, each line is a
    message. Answers go to stdout, all else to stderr.
    """
    generation = sampling.options()
    typed = sys.stdin.isatty() and not as_json
    if typed:
        generation.setdefault("top_logprobs", ALTERNATIVES)
    logs = keep()
    asked = tools.plugins(plugin or [], search_folder, searxng)
    logs.show(common.note)
    given_profile = read_profile(profile)
    given_meta = None if meta is None else common.text_input(None, meta, "meta instruction")
    if resume is not None and not resume.is_file():
        common.fail(f"there is no saved conversation {resume}", common.USAGE)
    path = model if model is not None else models.choose(models_folder)
    setup = Setup(
        model=loading.load(path, generates=True),
        profile=given_profile,
        meta=given_meta,
        plugins=asked,
        offered=tools.offered(no_plugins, [one.name for one in asked]),
        limits={
            "on_full": on_full,
            "reserve": reserve,
            "commands": commands,
            "max_commands": max_commands,
        },
        date=date,
        session=cache.options(),
        generation=generation,
    )
    _hold(setup, resume, typed, as_json, _Shown(thoughts, probabilities, whole, stats, logs))


@dataclass
class _Shown:
    """What is shown, and what a message is."""

    thoughts: bool | None
    probabilities: bool
    whole: bool
    stats: bool
    logs: Kept


def _hold(setup: Setup, resume: Path | None, typed: bool, as_json: bool, shown: _Shown) -> None:
    # Line editing is loaded where somebody edits.
    from mossrt.cli.chat import piped
    from mossrt.cli.chat.render import Renderer
    from mossrt.cli.chat.screen import Screen

    talk: Talk = setup.open() if resume is None else setup.load(resume)
    screen = Screen()
    if shown.probabilities and not (screen.colours or as_json):
        common.note("note: probabilities are not shown, since there are no colours here")
    everything = shown.thoughts if shown.thoughts is not None else typed
    renderer = Renderer(screen, everything, shown.probabilities and screen.colours, shown.logs)
    if not typed:
        piped.hold(talk, shown.whole, renderer, as_json, shown.stats)
        return
    from mossrt.cli.chat.terminal import Terminal

    terminal = Terminal(setup, talk, screen, renderer, shown.stats)
    if resume is not None:
        terminal.file = resume
    terminal.run()

"""Commands that are typed in the place of a message."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mossrt.cli.chat import why
from mossrt.cli.chat.piped import stats_line

if TYPE_CHECKING:
    from mossrt.cli.chat.terminal import Terminal


@dataclass(frozen=True)
class Command:
    """What follows the name, what it does in a line, and what does it; True ends the program."""

    usage: str
    help: str
    run: Callable[[Terminal, str], bool | None]


def run(terminal: Terminal, text: str) -> bool:
    """Obeys a command; True: the program ends. Errors: ValueError: what is wrong with it."""
    name, _, argument = text.partition(" ")
    name, line_end, below = name.partition("\n")
    argument = (below + " " + argument if line_end else argument).strip()
    command = COMMANDS.get(name)
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, 1, cutoff=0.5)
        meant = f"did you mean {near[0]}?" if near else "/help lists them."
        raise ValueError(
            f"there is no command {name}; {meant} (A message that begins with a slash is written "
            "with two.)"
        )
    if argument and not command.usage:
        raise ValueError(f"{name} takes nothing behind it, found {argument[:60]!r}")
    return bool(command.run(terminal, argument))


def _reset(terminal: Terminal, argument: str) -> None:
    while terminal.talk.undo():
        pass
    terminal.note("a new conversation")


def _save(terminal: Terminal, argument: str) -> None:
    force = argument.startswith("-f ")
    path = Path(argument[3:].strip() if force else argument) if argument else terminal.file
    if path is None:
        raise ValueError("/save needs a file: /save talk.json")
    path = path.expanduser()
    if path.exists() and path != terminal.file and not force:
        raise ValueError(f"{path} exists; /save -f {path} writes over it")
    terminal.talk.save(path)
    terminal.file = path
    terminal.note(f"saved to {path}")


def _load(terminal: Terminal, argument: str) -> None:
    if not argument:
        raise ValueError("/load needs a file: /load talk.json")
    terminal.load(Path(argument).expanduser())


def _system(terminal: Terminal, argument: str) -> None:
    if argument:
        metas = {"none": "", "default": terminal.first_meta}
        terminal.renew(metas.get(argument, argument))
        return
    meta = terminal.talk.info["meta"]
    terminal.say(meta["text"].rstrip("\n") or "(there is no meta instruction)")
    terminal.note(f"({meta['source']})" if meta["text"] else "")
    for text in meta["notes"]:
        terminal.note(f"note: {text}")


def _plugins(terminal: Terminal, argument: str) -> None:
    running = terminal.talk.info["plugins"]
    known = {one.name: one for one in (*terminal.setup.offered, *terminal.setup.plugins)}
    if not running:
        terminal.say(f"none (profile {terminal.talk.info['profile']})")
    for name in running:
        terminal.say(f"{name}: {known[name].description}" if name in known else name)


def _stats(terminal: Terminal, argument: str) -> None:
    stats, info = terminal.talk.stats, terminal.talk.info
    if stats.new_tokens:
        terminal.say(f"last turn: {stats_line(stats)}")
    terminal.say(
        f"conversation: {counted(info['turns'])}, {info['tokens']} of {info['context']} tokens"
    )


def _regenerate(terminal: Terminal, argument: str) -> None:
    terminal.play(lambda monitor: terminal.talk.again(monitor=monitor), anew=True)
    options = terminal.setup.model.generation_options(**terminal.setup.generation)
    if not next(one.value for one in options if one.key == "do_sample"):
        terminal.note("the best token is always taken, so it stays the same; --do-sample draws")


def _edit(terminal: Terminal, argument: str) -> None:
    turn = terminal.talk.turn
    if turn is None:
        raise ValueError("there is no message to edit yet")
    terminal.edit(turn.human)


def _undo(terminal: Terminal, argument: str) -> None:
    turns = terminal.talk.info["turns"]
    if not turns:
        raise ValueError("there is nothing to take back")
    terminal.talk.undo()
    terminal.note(f"taken back: {_short(turns[-1]['human'])}")


def _why(terminal: Terminal, argument: str) -> None:
    tokens, tokenizer = terminal.talk.tokens, terminal.talk.model.tokenizer
    if not tokens:
        raise ValueError("there is no answer to explain: none was written since the start")
    if not any(token.top for token in tokens):
        raise ValueError("there are no alternatives, since the option top_logprobs is 0")
    if argument:
        index = _index(argument, len(tokens), "token")
        why.show_one(terminal.screen, tokenizer, index + 1, tokens[index])
    else:
        why.show_all(terminal.screen, tokenizer, tokens)


def _branch(terminal: Terminal, argument: str) -> None:
    words = argument.split()
    if len(words) != 2:
        raise ValueError("/branch needs a token and an alternative by their numbers in /why")
    tokens = terminal.talk.tokens
    if not tokens:
        raise ValueError("there is no answer to branch from: none was written since the start")
    index = _index(words[0], len(tokens), "token")
    top = tokens[index].top
    token = top[_index(words[1], len(top), "alternative")].token
    terminal.play(lambda monitor: terminal.talk.branch(index, token, monitor=monitor), anew=True)


def _index(text: str, most: int, what: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text) - 1
    raise ValueError(f"{text[:40]!r} is no {what}: there are 1 to {most}, see /why")


def _probabilities(terminal: Terminal, argument: str) -> None:
    terminal.switch_probabilities()


def _help(terminal: Terminal, argument: str) -> None:
    shown = {name: f"{name} {command.usage}".rstrip() for name, command in COMMANDS.items()}
    width = max(map(len, shown.values()))
    for name, command in COMMANDS.items():
        terminal.say(f"{shown[name]:{width}}  {command.help}")
    terminal.say(
        "\nEnter sends; Alt-Enter or Ctrl-J begins a new line. Ctrl-C stops an answer, Ctrl-D "
        "ends.\nUp and down, Ctrl-R: earlier messages. Ctrl-X Ctrl-E: your editor.\n"
        "A message that begins with a slash is written with two: //like this."
    )


def _exit(terminal: Terminal, argument: str) -> bool:
    return True


def counted(turns: Sequence[object]) -> str:
    """How many turns there are, in words."""
    return "1 turn" if len(turns) == 1 else f"{len(turns)} turns"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


COMMANDS = {
    "/reset": Command("", "begin a new conversation", _reset),
    "/undo": Command("", "take back the last turn", _undo),
    "/edit": Command("", "change the last message and send it again", _edit),
    "/regenerate": Command("", "write the last answer anew", _regenerate),
    "/why": Command("[N]", "the last answer's tokens with their alternatives", _why),
    "/branch": Command("N K", "from token N on, write anew with its K-th alternative", _branch),
    "/probabilities": Command("", "colour tells how sure the model was; again: off", _probabilities),
    "/system": Command("[TEXT]", "show the meta instruction, or begin anew with another", _system),
    "/plugins": Command("", "list the plugins", _plugins),
    "/stats": Command("", "speed and length", _stats),
    "/save": Command("[FILE]", "save the conversation; -f FILE writes over one", _save),
    "/load": Command("FILE", "go on with a saved conversation", _load),
    "/help": Command("", "this list", _help),
    "/exit": Command("", "end, as Ctrl-D does", _exit),
}  # fmt: skip

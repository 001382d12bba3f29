"""How conversations are opened: by the command, /reset, /system and /load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mossrt.chat import Conversation, Plugin, ProfileLike
from mossrt.cli import common
from mossrt.cli.chat.continuation import Continuation
from mossrt.cli.chat.talk import Talk
from mossrt.errors import InvalidArgument
from mossrt.model import Model


@dataclass
class Setup:
    """What a conversation is made of.

    plugins: asked for. offered: used where the profile runs commands. limits: reserve, commands
    and the like. session: context and kv_dtype. generation: options of `Model.generate`.
    """

    model: Model
    profile: ProfileLike = None
    meta: str | None = None
    plugins: Sequence[Plugin] = ()
    offered: Sequence[Plugin] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    session: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def knows_turns(self) -> bool:
        """Whether the model is to be talked to in MOSS's protocol."""
        tokenizer = self.model.tokenizer
        return self.profile is not None or None not in map(tokenizer.token_id, ("<eoh>", "<eom>"))

    def open(self) -> Talk:
        """A new conversation."""
        if not self.knows_turns:
            if self.plugins:
                raise ValueError(
                    "this model has no tokens of MOSS's protocol (<eoh>, <eom>) and so no plugins; "
                    "a profile of your own (--profile FILE.json) may name others"
                )
            return Continuation(self.model, self.meta or "", **self.session, **self.generation)
        if self.offered:
            try:
                return self._open([*self.offered, *self.plugins])
            except InvalidArgument:  # the profile runs no commands, or what is wrong anyway
                pass
        return self._open(self.plugins)

    def _open(self, plugins: Sequence[Plugin]) -> Conversation:
        return Conversation(
            self.model,
            self.profile,
            list(plugins),
            meta=self.meta,
            date=self.date,
            **self.limits,
            **self.session,
            **self.generation,
        )

    def load(self, path: Path) -> Talk:
        """One that was saved. Errors: OSError, ValueError."""
        if not self.knows_turns:
            raise ValueError("this model has no turns of MOSS's protocol: nothing can be loaded")
        try:
            return Conversation.load(
                self.model,
                path,
                [*self.offered, *self.plugins],
                **self.limits,
                **self.session,
                **self.generation,
            )
        except KeyError as error:
            raise ValueError(f"{path}: {error.args[0]}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no saved conversation: {error}") from None


def read_profile(given: str | None) -> ProfileLike:
    """A profile's name, or the file of one's own."""
    if given is None or not (given.endswith(".json") or "/" in given):
        return given
    import json

    cure = "give the file of a profile as docs/conversation.md describes it"
    try:
        text = Path(given).read_text(encoding="utf-8")
        found = json.loads(text)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].split()
        common.fail(
            f"{given}, line {error.lineno}, column {error.colno}: not JSON: "
            f"{error.msg[:1].lower()}{error.msg[1:]}, found "
            f"{repr(rest[0][:40]) if rest else 'the end of the text'}; {cure}",
            common.USAGE,
        )
    except OSError as error:
        common.fail(f"{given}: {error.strerror}; {cure}", common.USAGE)
    except UnicodeDecodeError as error:
        common.fail(f"{given}, byte {error.start}: expected UTF-8; {cure}", common.USAGE)
    except (ValueError, RecursionError) as error:  # digits and brackets that Python refuses
        why = str(error).partition(";")[0]
        common.fail(
            f"{given}: expected JSON that Python reads, found too long a number or too many "
            f"brackets ({why[:1].lower()}{why[1:]}); {cure}",
            common.USAGE,
        )
    if not isinstance(found, dict):
        common.fail(
            f"{given}: expected a JSON object, found {json.dumps(found)[:60]}; {cure}", common.USAGE
        )
    return found

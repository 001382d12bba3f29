"""Options that several commands take together: each group is a class, and one parameter of a command."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from mossrt.cli import common
from mossrt.model import Model


@dataclasses.dataclass
class Sampling:
    """How tokens are chosen and when a generation ends."""

    max_new_tokens: common.MaxNewTokens = None
    do_sample: common.DoSample = None
    temperature: common.Temperature = None
    top_k: common.TopK = None
    top_p: common.TopP = None
    min_p: common.MinP = None
    repetition_penalty: common.RepetitionPenalty = None
    seed: common.Seed = None
    stop: common.Stop = None
    option: common.More = None

    def options(self) -> dict[str, Any]:
        """As the library takes them; --option goes before the others."""
        given = dataclasses.asdict(self)
        del given["option"]
        return given | {"stop": self.stop or None} | common.more_options(self.option)


@dataclasses.dataclass
class Loading:
    """How a model is held and computed."""

    dtype: common.Dtype = "auto"
    threads: common.Threads = None
    backend: common.Backend = "native"
    architecture: common.Architecture = None
    quiet: common.Quiet = False

    def load(
        self, path: str, generates: bool = False, option: common.MoreLoading = None
    ) -> Model:
        """With a progress bar on a terminal, and the model's notes on stderr."""
        flags = dataclasses.asdict(self)
        del flags["quiet"]
        model = Model.from_pretrained(path, progress=True, **common.load_options(option, **flags))
        common.show_notes(model.info, quiet=self.quiet, generates=generates)
        return model


@dataclasses.dataclass
class Cache:
    """What a session remembers, and how."""

    kv_dtype: common.KvDtype = None
    context: common.Context = None

    def options(self) -> dict[str, Any]:
        """Of `Model.session`."""
        return dataclasses.asdict(self)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """`common.command` for a function some of whose parameters are groups: typer sees their fields."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, given in inspect.signature(function).parameters.items():
        if not dataclasses.is_dataclass(hints[name]):
            parameters.append(given.replace(annotation=hints[name], kind=given.KEYWORD_ONLY))
            continue
        groups[name] = hints[name]
        types = get_type_hints(hints[name], include_extras=True)
        parameters += [
            given.replace(name=field.name, default=field.default, annotation=types[field.name])
            for field in dataclasses.fields(hints[name])
        ]

    @functools.wraps(function)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            values[name] = group(**{field: values.pop(field) for field in fields})
        function(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {one.name: one.annotation for one in parameters}
    return common.command(expanded)

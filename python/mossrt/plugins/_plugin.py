"""Functions that a conversation's commands run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mossrt.monitor import Monitor

log = logging.getLogger("mossrt.chat")

LOOK = 0.05  # seconds between two looks at the monitor

# What a plugin may return: a text, nothing for a failure, or a list of findings, best first: texts
# or (title, text).
Found: TypeAlias = str | tuple[str, str]
Result: TypeAlias = str | Sequence[Found] | None
# How the library takes it.
PlainResult: TypeAlias = str | list[tuple[str, str]] | None


@dataclass(frozen=True)
class Plugin:
    """A command by name.

    function: from the text between the command's quotes to its result; it runs on a thread of its
    own. What it raises, and a result later than `timeout` seconds, count as a failure, which the
    model sees as "No result." and the logger "mossrt.chat" in full. Python cannot end a thread: a
    function that is late, or whose turn was cancelled, runs on and is not listened to; one that
    takes long should look at the monitor (`Monitor.cancelled`), or have limits of its own.
    """

    name: str
    function: Callable[[str], object]
    description: str = ""
    timeout: float = 20.0


Plugins: TypeAlias = (
    Mapping[str, Callable[[str], object]] | Iterable[Plugin | Callable[[str], object]] | None
)


def plugin_table(plugins: Plugins) -> dict[str, Plugin]:
    """Plugins by name: a mapping, or a list of `Plugin` and of functions, which keep their names."""
    if plugins is None:
        return {}
    if isinstance(plugins, Mapping):
        listed = [Plugin(name, function) for name, function in plugins.items()]
    elif isinstance(plugins, Iterable):
        listed = [_plugin(one) for one in plugins]
    else:
        kind = type(plugins).__name__
        raise TypeError(f"plugins must be a mapping or a list of plugins, found {kind}")
    table: dict[str, Plugin] = {}
    for plugin in listed:
        if not callable(plugin.function):
            kind = type(plugin.function).__name__
            raise TypeError(f"plugin {plugin.name} must be callable, found {kind}")
        if plugin.name in table:
            raise ValueError(f"two plugins have the name {plugin.name}; each needs its own")
        table[plugin.name] = plugin
    return table


def _plugin(given: Plugin | Callable[[str], object]) -> Plugin:
    if isinstance(given, Plugin):
        return given
    name = getattr(given, "__name__", None)
    if not callable(given) or not isinstance(name, str):
        raise TypeError(f"a plugin must be a Plugin or a function, found {type(given).__name__}")
    return Plugin(name, given, (getattr(given, "__doc__", None) or "").strip())


def _plain(value: object) -> PlainResult:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [("", one) if isinstance(one, str) else (str(one[0]), str(one[1])) for one in value]
    return str(value)


def run_commands(
    commands: Sequence[tuple[str, str]],
    table: Mapping[str, Plugin],
    monitor: Monitor | None = None,
) -> list[PlainResult] | None:
    """Runs (name, argument) side by side and waits for each no longer than its plugin may take.

    None: the monitor was cancelled.
    """
    done: queue.SimpleQueue[tuple[int, PlainResult]] = queue.SimpleQueue()

    def run(index: int, plugin: Plugin, argument: str) -> None:
        result: PlainResult = None
        try:
            result = _plain(plugin.function(argument))
        except Exception:
            log.warning("%s(%r) failed", plugin.name, argument, exc_info=True)
        done.put((index, result))

    start = time.monotonic()
    deadlines: dict[int, float] = {}
    for index, (name, argument) in enumerate(commands):
        plugin = table[name]
        deadlines[index] = start + plugin.timeout
        # A daemon: one that never returns must not keep the program from ending.
        threading.Thread(target=run, args=(index, plugin, argument), daemon=True).start()
    results: list[PlainResult] = [None] * len(commands)
    while deadlines:
        if monitor is not None and monitor.cancelled:
            return None
        now = time.monotonic()
        for index in [index for index, deadline in deadlines.items() if deadline <= now]:
            log.warning("%s(%r) took too long", *commands[index])
            del deadlines[index]
        if not deadlines:
            break
        try:
            index, result = done.get(timeout=min(LOOK, min(deadlines.values()) - now))
        except queue.Empty:
            continue
        if deadlines.pop(index, None) is not None:
            results[index] = result
    return results

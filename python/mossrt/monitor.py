"""Progress and cancellation of long calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

from mossrt import _mossrt

Progress: TypeAlias = bool | Callable[[str, int, int], object]


class Monitor:
    """Watches one long call at a time: `from_pretrained`, `eval`, `generate`, `stream`.

    progress: called as `progress(stage, done, total)` at most every 50 ms and at the end of a
    stage; stages are "load" (bytes) and "prefill" (tokens). What it raises, the call raises.

    >>> monitor = mossrt.Monitor()
    >>> monitor.cancel()
    >>> with model.session() as s:
    ...     s.eval([1, 2, 3], monitor=monitor)
    Traceback (most recent call last):
      ...
    mossrt.errors.Cancelled: ...
    """

    def __init__(self, progress: Callable[[str, int, int], object] | None = None) -> None:
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable, found {type(progress).__name__}")
        self._monitor = _mossrt.Monitor(progress)

    def cancel(self) -> None:
        """Ends the call that uses the monitor within 100 ms, and every later one; from any thread.

        `eval` and `from_pretrained` raise `mossrt.Cancelled`; a generation ends with the finish
        reason "cancelled".
        """
        self._monitor.cancel()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Monitor belongs to a call of this process and cannot be pickled")


def monitor_for(monitor: Monitor | None, progress: Progress) -> _mossrt.Monitor:
    """The monitor of a call: the caller's own, or a new one that shows progress if asked."""
    if monitor is not None:
        if progress:
            raise ValueError("give progress to the Monitor, or leave monitor out, not both")
        if not isinstance(monitor, Monitor):
            raise TypeError(f"monitor must be a mossrt.Monitor, found {type(monitor).__name__}")
        return monitor._monitor
    if progress is True:
        return _mossrt.Monitor(ProgressBar()) if sys.stderr.isatty() else _mossrt.Monitor()
    if not progress:
        return _mossrt.Monitor()
    return Monitor(progress)._monitor


class ProgressBar:
    """A bar on stderr that vanishes at the end of its stage."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            # Drawn by the ticks: a thread of its own would outlive a call that fails.
            auto_refresh=False,
        )
        self._tasks: dict[str, progress.TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            if done >= total:
                return  # over before there was anything to show
            self._tasks[stage] = self._bar.add_task(stage)
            self._bar.start()
        self._bar.update(self._tasks[stage], completed=done, total=total, refresh=True)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Takes the bar away."""
        self._bar.stop()
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks.clear()

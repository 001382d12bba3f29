"""Progress and cancellation of long calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from mossrt import _mossrt

Progress: TypeAlias = bool | Callable[[str, int, int], object]


class Monitor:
    """Watches one long call at a time: `from_pretrained`, `save_packed`, `eval`, `generate`,
    `stream`, `Session.save`, `save_bytes`, `Model.restore_session`.

    progress: called as `progress(stage, done, total)` at most every 50 ms and at the end of a
    stage; stages are "load", "write", "save" and "restore" (bytes), "prefill" (tokens) and "eval"
    (layers, where a session is saved or restored for the first time). What it raises, the call raises.

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
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel()` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Ends the call that uses the monitor within 100 ms, and every later one; from any thread.

        The last step of `save`, in which the disk is waited for, is not cut short.

        `eval` and `from_pretrained` raise `mossrt.Cancelled`; a generation ends with the finish
        reason "cancelled".
        """
        self._cancelled = True
        self._monitor.cancel()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Monitor belongs to a call of this process and cannot be pickled")


class Watch:
    """What one call looks at: the caller's monitor, or a new one that shows progress if asked.

    As a context manager it takes a bar away that a failed call has left.
    """

    def __init__(self, monitor: Monitor | None, progress: Progress) -> None:
        self._bar: ProgressBar | None = None
        if monitor is not None:
            if progress:
                raise ValueError("give progress to the Monitor, or leave monitor out, not both")
            if not isinstance(monitor, Monitor):
                raise TypeError(f"monitor must be a mossrt.Monitor, found {type(monitor).__name__}")
            self.monitor = monitor._monitor
        elif progress is True and sys.stderr.isatty():
            self._bar = ProgressBar()
            self.monitor = _mossrt.Monitor(self._bar)
        else:
            self.monitor = Monitor(None if isinstance(progress, bool) else progress)._monitor

    def __enter__(self) -> _mossrt.Monitor:
        return self.monitor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class ProgressBar:
    """A bar on stderr for stages that take longer than a moment; it vanishes at their end."""

    PATIENCE = 0.5  # seconds

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
        self._task: progress.TaskID | None = None
        self._stage = ""
        self._begin = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if total <= 1:
            return  # each new token, evaluated on its own
        if stage != self._stage:
            self._stage, self._begin = stage, time.monotonic()
        if done >= total:
            self.stop()
        elif self._task is not None:
            self._bar.update(self._task, completed=done, refresh=True)
        elif time.monotonic() - self._begin > self.PATIENCE:
            self._task = self._bar.add_task(stage, completed=done, total=total)
            self._bar.start()

    def stop(self) -> None:
        """Takes the bar away."""
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None
        self._stage = ""

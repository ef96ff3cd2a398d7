"""Showing how far long work has come: rate, time left, and the figures of the moment.

In: counts from whoever works. Out: a live bar in a terminal or notebook, a line now and then in a log file, or nothing.
The library works with `Progress`, which shows nothing; the command line and notebooks hand in one that does.
"""

import contextlib
import importlib.util
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.progress


class ProgressTask(Protocol):
    """One piece of long work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Say that `n` more units are done; `note` holds the figures of the moment."""


class Progress:
    """Shows nothing; the base of those that do."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str = "texts") -> Iterator[ProgressTask]:
        """Yield a `Task` for work of `total` units (None where unknown)."""
        yield _SilentTask()

    def say(self, sentence: str) -> None:
        """Tell something that happened in the middle of the work."""


class _SilentTask:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass


class BarsOnly(Progress):
    """Shows how far work is as another one does, and leaves out its sentences.

    Parameters
    ----------
    shown
        The other one.
    """

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str = "texts") -> Iterator[ProgressTask]:
        """Yield the other's task."""
        with self._shown.task(description, total, unit) as task:
            yield task


class LiveProgress(Progress):
    """A live bar on standard error or in a notebook cell; in a log file, a line every half minute.

    Parameters
    ----------
    log_every
        Seconds between two lines where standard error is not a terminal.
    """

    def __init__(self, log_every: float = 30.0) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._log_every = log_every

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str = "texts") -> Iterator[ProgressTask]:
        """Yield a `Task` shown as a bar or as log lines."""
        # In a notebook rich draws with ipywidgets, and without them warns and shows nothing.
        widgets = self._console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
        if self._console.is_terminal or widgets:
            with self._bar() as bar:
                yield _BarTask(bar, bar.add_task(description, total=total, unit=unit, note="", rate=""), unit)
        else:
            task = _LoggedTask(self, description, total, unit, self._log_every)
            yield task
            task.finish()

    def say(self, sentence: str) -> None:
        """Print the sentence on standard error, above a live bar if there is one."""
        self._console.print(sentence, soft_wrap=True, markup=False)

    def _bar(self) -> "rich.progress.Progress":
        from rich import progress

        return progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}"),
            console=self._console,
            refresh_per_second=4,
            transient=True,
        )


class _BarTask:
    def __init__(self, bar: "rich.progress.Progress", task_id: "rich.progress.TaskID", unit: str) -> None:
        self._bar, self._id, self._unit = bar, task_id, unit
        self._started, self._done, self._note = time.monotonic(), 0, ""

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        rate = _rate(self._done, time.monotonic() - self._started, self._unit)
        self._bar.update(self._id, advance=n, note=self._note, rate=rate)


class _LoggedTask:
    def __init__(self, owner: Progress, description: str, total: int | None, unit: str, every: float) -> None:
        self._owner, self._description, self._total, self._unit, self._every = owner, description, total, unit, every
        self._started = self._last = time.monotonic()
        self._done, self._note = 0, ""

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            left = ""
            if self._total and self._done:
                left = f", {(now - self._started) * (self._total - self._done) / self._done:.0f} s left"
            self._owner.say(f"{self._line(now)}{left}")

    def finish(self) -> None:
        if self._last > self._started:  # short work stays silent
            self._owner.say(self._line(time.monotonic()))

    def _line(self, now: float) -> str:
        of = f"/{self._total:,}" if self._total else ""
        rate = _rate(self._done, now - self._started, self._unit)
        return f"{self._description}: {self._done:,}{of} {self._unit}, {rate}{', ' + self._note if self._note else ''}"


def _rate(done: int, seconds: float, unit: str) -> str:
    return f"{done / seconds:,.1f} {unit}/s" if seconds > 0 else ""


def in_notebook() -> bool:
    """Return whether this is an IPython kernel, where a bar belongs in the cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.has_trait("kernel")


def default_progress() -> Progress:
    """Return what library calls use unless told otherwise: a bar in notebooks, nothing elsewhere."""
    return LiveProgress() if in_notebook() else Progress()

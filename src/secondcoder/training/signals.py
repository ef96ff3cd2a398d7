"""Ctrl-C, and a scheduler's SIGTERM: finish the step, save, leave; at the second press, leave at once.

In: signals. Out: `Stopped`, raised where long work says how far it has come, and so between two steps of it.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from secondcoder.errors import InterruptedRunError
from secondcoder.progress import Progress, ProgressTask

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the user, or the system, wants this training to end."""

    def __init__(self) -> None:
        self.asked = False


class Stopped(Exception):  # noqa: N818  # not an error
    """The work was asked to end, and is between two steps."""


class StoppableProgress(Progress):
    """Shows what another one shows, and raises `Stopped` out of any work that advances after it was asked to stop."""

    def __init__(self, shown: Progress, stop: Stop) -> None:
        self._shown, self._stop = shown, stop

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str = "texts") -> Iterator[ProgressTask]:
        """Yield the other's task."""
        with self._shown.task(description, total, unit) as task:
            yield _StoppableTask(task, self._stop)

    def say(self, sentence: str) -> None:
        """Tell it where the other one tells it."""
        self._shown.say(sentence)


class _StoppableTask:
    def __init__(self, shown: ProgressTask, stop: Stop) -> None:
        self._shown, self._stop = shown, stop

    def advance(self, n: int = 1, note: str = "") -> None:
        self._shown.advance(n, note)
        if self._stop.asked:
            raise Stopped


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Yield a `Stop` that the first signal sets; the second one is passed on to whoever listened before.

    Python hands signals to the main thread only: in another one nothing is changed. The handler prints nothing, since
    it may have come in the middle of a print.

    Raises
    ------
    InterruptedRunError
        If the block came to its end without heeding the signal: what follows must not go on as if none had come.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    unheeded: list[int] = []

    def heed(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        unheeded.append(number)
        give_back()

    try:
        for number in _SIGNALS:
            before[number] = signal.signal(number, heed)
        yield stop
    finally:
        give_back()
    if unheeded and before[unheeded[0]] is not signal.SIG_IGN:
        raise InterruptedRunError(
            "Training was interrupted when it had come to its end; everything is saved.",
            "Go on with the same command and --resume.",
        )

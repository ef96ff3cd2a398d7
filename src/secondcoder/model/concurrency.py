"""Batches computed side by side, in threads that neither stop each other nor keep the process from ending.

In: a backend, and what is to be computed with it. Out: the results, in order.
"""

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

from secondcoder.errors import ModelError
from secondcoder.model.watchdog import CURE, GRACE, TICK, Stall, stall_limit, watching

T = TypeVar("T")
U = TypeVar("U")
THREAD_NAME = "secondcoder-batch-"
"""How the names of the threads begin."""


class _StandsStillError(ModelError):
    """A batch made no progress: its thread is not to be waited for again."""


class Parallel(Protocol):
    """What computes so many batches at once."""

    @property
    def at_once(self) -> int:
        """Batches that are worth computing side by side."""


# Libraries in C++ make tables on first use, under a guard of their own and with Python's lock: two threads that come
# there together may each hold what the other waits for. So the first batch of a backend is computed before others are.
_FIRST_USE = threading.Lock()
_USED: "weakref.WeakSet[Parallel]" = weakref.WeakSet()


def compute_batches(backend: Parallel, compute: Callable[[T], U], items: Sequence[T]) -> Generator[U]:
    """Yield what `compute` makes of each item with a backend, in order; the backend's first one is computed alone.

    Raises
    ------
    ModelError
        If it makes no progress for `secondcoder.model.watchdog.stall_limit` seconds. The threads are left behind.
    """
    with watching() as beat:
        begun = 0
        if items and backend not in _USED:
            with _FIRST_USE:
                backend.at_once  # noqa: B018  # compiles
                found = compute(items[0])
                _USED.add(backend)
            beat()
            begun = 1
            yield found
        for found in side_by_side(compute, items[begun:], backend.at_once):
            beat()
            yield found


def side_by_side(compute: Callable[[T], U], items: Sequence[T], at_once: int) -> Generator[U]:
    """Yield what `compute` makes of each item, in order, so many of them under way at a time.

    Raises
    ------
    ModelError
        As `compute_batches`.
    """
    if at_once == 1:
        yield from map(compute, items)
        return
    waiting: queue.SimpleQueue[tuple[T, Future[U]] | None] = queue.SimpleQueue()
    coming: deque[Future[U]] = deque()
    # Daemons: an executor's threads would be waited for when the process ends, for ever where one stands still.
    threads = [
        threading.Thread(target=_work, args=(compute, waiting), name=f"{THREAD_NAME}{i}", daemon=True)
        for i in range(at_once)
    ]
    patience = GRACE
    try:
        for thread in threads:
            thread.start()
        for item in items:
            coming.append(Future())
            waiting.put((item, coming[-1]))
            if len(coming) > 2 * at_once:  # enough that none waits, and results do not pile up
                yield _next(coming)
        while coming:
            yield _next(coming)
    except _StandsStillError:
        patience = 0.0
        raise
    finally:
        _end(threads, waiting, coming, patience)


def _work(compute: Callable[[T], U], waiting: queue.SimpleQueue[tuple[T, Future[U]] | None]) -> None:
    while (given := waiting.get()) is not None:
        item, future = given
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(compute(item))
            except BaseException as error:
                future.set_exception(error)
        del given, item, future  # a batch that is done is not held while the next one is waited for


def _next(coming: deque[Future[U]]) -> U:
    """Return the next result, and take it out."""
    if _stands_still([coming[0]], limit := stall_limit()):
        raise _StandsStillError(f"No batch was finished in {limit:.0f} s: the computing stands still.", CURE)
    found = coming[0].result()
    coming.popleft()
    return found


def _stands_still(futures: Sequence[Future[U]], limit: float) -> bool:
    """Wait for all of them; return whether they made no progress for so many seconds and are still under way."""
    stall = None
    while wait(futures, timeout=TICK).not_done:
        stall = stall or Stall()
        if stall.tick() >= limit:
            return True
    return False


def _end(
    threads: Sequence[threading.Thread],
    waiting: queue.SimpleQueue[tuple[T, Future[U]] | None],
    coming: Iterable[Future[U]],
    patience: float,
) -> None:
    """Begin nothing more, and wait for what is under way, whatever else is pressed, unless it stands still so long.

    A process that ends while a thread of it computes in C++ is aborted. Python's own wait for threads does not do:
    interrupted, it takes them for finished.
    """
    running, again = [future for future in coming if not future.cancel()], None
    for _ in threads:
        waiting.put(None)
    while True:
        try:
            if not _stands_still(running, patience):
                for thread in threads:
                    if thread.ident is not None:
                        thread.join(GRACE)
            break
        except KeyboardInterrupt as pressed:
            again = pressed
    if again is not None:
        raise again

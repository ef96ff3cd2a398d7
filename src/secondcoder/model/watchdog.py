"""Ends a process whose computing stands still, also where one of its threads holds Python's lock for ever.

In: a sign of life after each batch. Out: nothing, or the end of the process with a message on standard error. A thread
that stops in C++ may hold Python's lock, and then no signal handler, timer or thread of the process runs any more. So
a second process watches: this file, run by its path. It ends when the process that it watches ends.
"""

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil

VARIABLE = "SECONDCODER_STALL_SECONDS"
DEFAULT_LIMIT = 120.0
"""Seconds without a finished batch, in which the process computes next to nothing, after which it is ended."""
GRACE = 5.0
"""As `DEFAULT_LIMIT`, after Ctrl-C; the second process gives twice that."""
TICK = 0.5
_MARGIN = 15.0  # the process itself may raise an error first, which says more
# What still computes is given ten times as long: a batch of a large model on a busy machine.
_COMPUTING = 0.1
# Threads that wait for Python's lock wake up 200 times a second, and use up to 2 % of a core.
_IDLE_SHARE = 0.05
_BEGIN, _BEAT, _END = b"B", b".", b"E"  # signals come through the same pipe, by their numbers, which are below 65

CURE = (
    "What was finished is saved: give the same command again (train: with --resume). If it happens again, use "
    f"--backend torch; where the machine is only slow, set {VARIABLE} to more seconds, or to 0 to wait for ever."
)


class Stall:
    """For how long a process has made no progress, in seconds.

    It is counted in small steps, so that a laptop's sleep does not count; time in which the process is stopped
    (Ctrl-Z) does not either, and time in which it computes counts a tenth.

    Parameters
    ----------
    process
        The process; this one unless given.
    clock
        Returns seconds, and never goes back.
    """

    def __init__(self, process: psutil.Process | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._process, self._clock = process or psutil.Process(), clock
        self.reset()

    def reset(self) -> None:
        """Count from 0: a batch was finished."""
        self.seconds, self._last, self._used = 0.0, self._clock(), self._cpu_seconds()

    def tick(self) -> float:
        """Count the time since the last call, and return the seconds; to be called every `TICK` seconds."""
        now, used = self._clock(), self._cpu_seconds()
        passed = min(now - self._last, 4 * TICK)
        if passed > 0 and self._process.status() != psutil.STATUS_STOPPED:
            self.seconds += passed * (_COMPUTING if used - self._used > _IDLE_SHARE * passed else 1.0)
        self._last, self._used = now, used
        return self.seconds

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def stall_limit() -> float:
    """Return after how many seconds without progress computing is ended; infinite where it is waited for ever.

    Raises
    ------
    SettingsError
        If the environment names something else than a number from 0 on.
    """
    told = os.environ.get(VARIABLE) or str(DEFAULT_LIMIT)
    try:
        asked = float(told)
    except ValueError:
        asked = -1.0
    if not asked >= 0:
        from secondcoder.errors import SettingsError

        raise SettingsError(f"{VARIABLE} is {told!r}.", "Set it to a number of seconds, or to 0 to wait for ever.")
    return asked or float("inf")


class _Watchdog:
    """The connection of a process with the one that watches it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._pipe = 0, -1
        self._watcher: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[Callable[[], None]]:
        """Have the block watched; yield what is to be called after each batch."""
        if stall_limit() == float("inf"):
            yield lambda: None
            return
        pipe = self._connect()
        self._tell(pipe, _BEGIN)
        try:
            with _signals_told_to(pipe):
                yield lambda: self._tell(pipe, _BEAT)
        finally:
            self._tell(pipe, _END)

    def _connect(self) -> int:
        """Return the pipe to the watcher, which is started if need be; -1 where the system allows none."""
        with self._lock:
            if self._owner != os.getpid():  # not yet, or this is a fork of the one it watches
                self._owner, self._pipe = os.getpid(), -1
                with contextlib.suppress(OSError):
                    if sys.executable:  # there is none where Python is part of another program
                        self._start()
            return self._pipe

    def _start(self) -> None:
        reading, writing = os.pipe()
        try:
            self._watcher = subprocess.Popen(
                [sys.executable, "-P", __file__, str(os.getpid()), str(stall_limit())],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and Ctrl-Z are not for it
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        if hasattr(os, "set_blocking"):
            os.set_blocking(writing, False)
        self._pipe = writing
        atexit.register(self._part, writing, self._watcher)

    @staticmethod
    def _part(pipe: int, watcher: "subprocess.Popen[bytes]") -> None:
        """Let the watcher go, when the process ends in order."""
        with contextlib.suppress(OSError):
            os.close(pipe)
        with contextlib.suppress(subprocess.TimeoutExpired):
            watcher.wait(2)

    @staticmethod
    def _tell(pipe: int, what: bytes) -> None:
        if pipe >= 0:
            with contextlib.suppress(OSError):  # the watcher is gone, or was stopped by hand
                os.write(pipe, what)


watching = _Watchdog().watching


@contextlib.contextmanager
def _signals_told_to(pipe: int) -> Iterator[None]:
    """Have Python's handler in C write signals into the pipe too, which needs no lock; others' pipes stay."""
    if pipe < 0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    if before != -1:  # an event loop's
        signal.set_wakeup_fd(before)
        yield
        return
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)


def watch(process: psutil.Process, signs: "queue.SimpleQueue[bytes]", limit: float) -> str:
    """Return why a process is to be ended; nothing when it has ended itself.

    Parameters
    ----------
    process
        It.
    signs
        What it writes into the pipe; empty bytes when it has closed it.
    limit
        Seconds without progress.
    """
    depth, interrupted, stall = 0, False, Stall(process)
    while True:
        try:
            came = signs.get(timeout=TICK)
        except queue.Empty:
            if os.getppid() != process.pid:
                return ""
        else:
            if not came:
                return ""
            for sign in came:
                depth += (sign == _BEGIN[0]) - (sign == _END[0])
                interrupted = sign == signal.SIGINT
                stall.reset()
        if depth <= 0:
            continue
        seconds = stall.tick()
        if interrupted and seconds >= 2 * GRACE:
            return f"Interrupted; the computing did not end within {2 * GRACE:.0f} s, so the process was ended."
        if seconds >= limit:
            return f"No batch was finished in {limit:.0f} s, and a thread holds up all others: the process was ended."


def _run(pid: int, limit: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows gives it to all
    signs: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while came := os.read(0, 4096):
            signs.put(came)
        signs.put(b"")

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if why := watch(process, signs, limit + min(limit, _MARGIN)):
            sys.stderr.write(f"\nerror: {why}\n  {CURE}\n")
            sys.stderr.flush()
            process.kill()


if __name__ == "__main__":
    _run(int(sys.argv[1]), float(sys.argv[2]))

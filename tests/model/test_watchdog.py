import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from secondcoder.errors import SettingsError
from secondcoder.model import watchdog
from secondcoder.model.watchdog import Stall, stall_limit, watching

# The program, whose worker stops in C, in its third batch, with Python's lock (PyDLL) or without it (CDLL).
STALLS = """
import ctypes
import secondcoder.cli.main
from secondcoder.__main__ import main
from secondcoder.model.concurrency import compute_batches

class Backend:
    at_once = 2

stop = ctypes.{library}(None).pause

def compute(i):
    if i == 2:
        print("stops", flush=True)
        while True:
            stop()

secondcoder.cli.main.app = lambda words: list(compute_batches(Backend(), compute, range(8)))
secondcoder.cli.main._check_config = lambda: None
main()
"""


def stalled(library: str, limit: str) -> "subprocess.Popen[str]":
    started = subprocess.Popen(
        [sys.executable, "-c", STALLS.format(library=library)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, watchdog.VARIABLE: limit},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert started.stdout.readline().strip() == "stops"
    return started


@pytest.mark.skipif(os.name != "posix", reason="there is no pause() in C elsewhere")
@pytest.mark.parametrize(
    ("library", "code"), [pytest.param("PyDLL", -signal.SIGKILL, marks=pytest.mark.slow), ("CDLL", 2)]
)
def test_computing_that_stands_still_ends_with_what_to_do(library, code):
    with stalled(library, "2") as process:
        _, told = process.communicate(timeout=240)
    assert process.returncode == code
    assert "error: No batch was finished" in told
    assert "give the same command again" in told


@pytest.mark.skipif(os.name != "posix", reason="there is no pause() in C elsewhere")
@pytest.mark.parametrize(
    ("library", "code"), [pytest.param("PyDLL", -signal.SIGKILL, marks=pytest.mark.slow), ("CDLL", 130)]
)
def test_ctrl_c_ends_computing_that_stands_still(library, code):
    with stalled(library, "100000") as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=240)
    assert process.returncode == code
    assert "Interrupted" in told
    assert "Traceback" not in told


class Machine:
    """A process and a clock that a test sets."""

    def __init__(self) -> None:
        self.now, self.used, self.state = 0.0, 0.0, psutil.STATUS_SLEEPING

    def cpu_times(self):
        return SimpleNamespace(user=self.used, system=0.0)

    def status(self):
        return self.state

    def seconds_after(self, stall: Stall, passed: float, computed: float = 0.0) -> float:
        for _ in range(round(passed / watchdog.TICK)):
            self.now += watchdog.TICK
            self.used += computed * watchdog.TICK
            stall.tick()
        return stall.seconds


def test_time_without_progress_is_counted_until_a_batch_is_finished():
    machine = Machine()
    stall = Stall(machine, lambda: machine.now)
    assert machine.seconds_after(stall, 50) == pytest.approx(50)
    stall.reset()
    assert stall.seconds == 0


def test_threads_that_only_wait_for_pythons_lock_do_not_compute():
    machine = Machine()
    assert machine.seconds_after(Stall(machine, lambda: machine.now), 50, computed=0.02) == pytest.approx(50)


def test_a_batch_that_is_being_computed_is_given_ten_times_as_long():
    machine = Machine()
    assert machine.seconds_after(Stall(machine, lambda: machine.now), 50, computed=0.5) == pytest.approx(5)


def test_neither_a_laptops_sleep_nor_a_stopped_process_stands_still():
    machine = Machine()
    stall = Stall(machine, lambda: machine.now)
    machine.now += 36_000  # the clock goes on in sleep, on some systems
    assert stall.tick() <= 4 * watchdog.TICK
    machine.state = psutil.STATUS_STOPPED
    before = stall.seconds
    assert machine.seconds_after(stall, 1000) == before


def test_the_limit_is_the_environments_and_zero_waits_for_ever(monkeypatch):
    monkeypatch.delenv(watchdog.VARIABLE, raising=False)
    assert stall_limit() == watchdog.DEFAULT_LIMIT
    monkeypatch.setenv(watchdog.VARIABLE, "7.5")
    assert stall_limit() == 7.5
    monkeypatch.setenv(watchdog.VARIABLE, "0")
    assert stall_limit() == float("inf")


@pytest.mark.parametrize("told", ["soon", "-1", "nan"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(monkeypatch, told):
    monkeypatch.setenv(watchdog.VARIABLE, told)
    with pytest.raises(SettingsError, match=told):
        stall_limit()


def test_an_event_loops_way_of_hearing_signals_stays_its_own():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        with watching():
            assert signal.set_wakeup_fd(writing) == writing
    finally:
        assert signal.set_wakeup_fd(before) == writing
        os.close(reading)
        os.close(writing)


def test_signals_are_heard_as_before_once_nothing_is_computed():
    before = signal.set_wakeup_fd(-1)
    try:
        with watching():
            pass
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)

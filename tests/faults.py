"""A disk that fails on demand, for tests that nothing is ever half-written.

In: some work and the folder that it writes to. Out: the same work done again and again in a child process, each time
with another of its file operations refused (`Faults.sweep`) or with the process killed there (`Faults.sweep_kills`).

The child has ``faults.c`` preloaded, which says what is counted and what it cannot see. Write a test file that is its
own child::

    def train_with_faults(faults: Faults, folder: Path) -> None:
        corpus = make_corpus()  # what need not be repeated

        def work() -> None:
            train(corpus, output=folder / "run")

        def prepare() -> None:
            shutil.rmtree(folder / "run", ignore_errors=True)

        def check(stopped: StorageError | Killed | None) -> None:
            assert stopped is None or not (folder / "run" / "model").exists()

        faults.sweep(folder, work, prepare=prepare, check=check, choose=lambda calls: range(1, len(calls) + 1, 5))


    def test_a_training_on_a_failing_disk_leaves_no_half_model(tmp_path):
        run_with_faults(__file__, folder=tmp_path)


    if __name__ == "__main__":
        train_with_faults(Faults(), Path(sys.argv[1]))

A child takes one import of torch for thousands of faults. What it prints goes to the test, or into its failure.
"""

import atexit
import ctypes
import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from secondcoder import storage
from secondcoder.errors import StorageError

CURES: Mapping[int, str] = {
    errno.ENOSPC: "Free space",
    errno.EROFS: "Choose a folder that you may write to",
    errno.EIO: "The device failed",
}
"""The faults that are tried, and what the cure of the `StorageError` must say for each."""

_SOURCE = Path(__file__).with_suffix(".c")
_ROOT = _SOURCE.parents[1]
_MEMORY = Path("/dev/shm")
_ROOM = 1 << 28  # bytes
# A forked process that computes waits for ever for the threads that its parent had.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Killed(Exception):
    """What `check` is handed where the process was killed."""


def run_with_faults(script: str | Path, *arguments: object, folder: Path, timeout: float = 120) -> str:
    """Return what a Python script prints in a process whose disk can be made to fail; its failure is the test's.

    Skips the test where there is no Linux or no C compiler.

    Parameters
    ----------
    script
        A file (an absolute path, such as ``__file__``), or else the code itself. Its first argument is an empty folder
        to watch; `tests` can be imported.
    arguments
        Further arguments.
    folder
        Where the child works, such as ``tmp_path``; the folder to watch is in memory if there is room for one, since
        syncing to a real disk takes most of the time.
    timeout : float, seconds
    """
    code = [script] if Path(script).is_absolute() else ["-c", script]
    path = os.pathsep.join([str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).strip(os.pathsep)
    in_memory = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    with tempfile.TemporaryDirectory(dir=_MEMORY if in_memory else folder) as disk:
        done = subprocess.run(
            [sys.executable, "-P", *code, disk, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **_ONE_THREAD, "LD_PRELOAD": str(_library()), "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def _library() -> Path:
    """Return faults.c, compiled once for all tests of this process."""
    if sys.platform != "linux":
        pytest.skip("faults are injected by LD_PRELOAD, which needs Linux")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("the library that injects faults has to be compiled, and there is no cc")
    folder = Path(tempfile.mkdtemp(prefix="secondcoder-faults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    flags = ["-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra"]
    subprocess.run([compiler, *flags, "-o", folder / "faults.so", _SOURCE, "-ldl", "-pthread"], check=True)
    return folder / "faults.so"


class Faults:
    """The controls of the preloaded library; only in a child of `run_with_faults`."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        try:
            self._watch, self._arm, self._disarm = library.faults_watch, library.faults_arm, library.faults_disarm
            self._count, self._struck, self._trace = library.faults_count, library.faults_struck, library.faults_trace
        except AttributeError:
            raise RuntimeError("faults.c is not preloaded: start this through run_with_faults") from None
        self._watch.argtypes, self._arm.argtypes = [ctypes.c_char_p], [ctypes.c_long, ctypes.c_int]
        self._count.restype = self._struck.restype = ctypes.c_long
        self._trace.restype = ctypes.c_char_p

    def watch(self, folder: Path) -> None:
        """Count what is done to files under a folder, from now on."""
        if self._watch(os.fsencode(folder)) != 0:
            raise FileNotFoundError(folder)

    def arm(self, n: int, error: int) -> None:
        """Count anew, and refuse call `n` (1 is the next one) with an errno; -SIGKILL kills the process there."""
        self._arm(n, error)

    def disarm(self) -> None:
        """Refuse nothing more; the count and the trace stay until the next `arm`."""
        self._disarm()

    @property
    def count(self) -> int:
        """How many calls were counted since arming."""
        return int(self._count())

    @property
    def struck(self) -> bool:
        """Whether the fault has come since arming."""
        return bool(self._struck())

    @property
    def trace(self) -> list[str]:
        """The calls since arming: number, operation, path below the watched folder, ``<-`` what was done to it."""
        return os.fsdecode(self._trace()).splitlines()

    def calls(self, work: Callable[[], object]) -> list[str]:
        """Return the trace of some work without a fault."""
        self.arm(0, 0)
        work()
        return self.trace

    def sweep(
        self,
        folder: Path,
        work: Callable[[], object],
        *,
        check: Callable[[StorageError | Killed | None], object],
        prepare: Callable[[], object] = lambda: None,
        errors: Mapping[int, str] = CURES,
        choose: Callable[[list[str]], Iterable[int]] = lambda calls: range(1, len(calls) + 1),
    ) -> dict[str, int]:
        """Do the work with each of its calls refused in turn; return how often it was ``refused`` and ``survived``.

        Work that stops must stop with a `StorageError` whose cure fits the fault.

        Parameters
        ----------
        folder
            What is watched.
        work
            Repeatable, with the same calls each time.
        check
            Is handed the error, or None where the work came to its end; asserts what must hold then.
        prepare
            Makes the old state, whatever is there.
        errors
            By errno, what the cure must say.
        choose
            Takes the trace of the work, returns the numbers of the calls to refuse; for work with many of them.
        """
        tally = {"refused": 0, "survived": 0}
        for n in self._steps(folder, work, prepare, check, choose):
            for number, cure in errors.items():
                prepare()
                stopped = None
                self.arm(n, number)
                try:
                    try:
                        work()
                    except StorageError as error:
                        stopped = error
                    finally:
                        self.disarm()
                    assert stopped is None or self.struck, f"{stopped!r} without a fault"
                    assert stopped is None or cure in stopped.cure, f"{cure!r} is not in {stopped.cure!r}"
                    check(stopped)
                except BaseException as error:
                    error.add_note(f"with {errno.errorcode[number]} at call {n} of:\n" + "\n".join(self.trace))
                    raise
                if self.struck:
                    tally["survived" if stopped is None else "refused"] += 1
        return tally

    def sweep_kills(
        self,
        folder: Path,
        work: Callable[[], object],
        *,
        check: Callable[[StorageError | Killed | None], object],
        prepare: Callable[[], object] = lambda: None,
        choose: Callable[[list[str]], Iterable[int]] = lambda calls: range(1, len(calls) + 1),
    ) -> int:
        """Do the work in forks of this process that are killed at each of its calls in turn; return how many were.

        A call that writes several bytes has written half of them then. The parameters are those of `sweep`; `check` is
        called by the parent, with `Killed`. Work must not need threads that were started before.
        """
        killed = 0
        for n in self._steps(folder, work, prepare, check, choose):
            prepare()
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                try:
                    storage._PROCESS = uuid.uuid4().hex[:8]  # a fork is another process only if it says so
                    self.arm(n, -signal.SIGKILL)
                    work()
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status in (0, -signal.SIGKILL), f"the fork failed before call {n}"
            try:
                check(Killed() if status else None)
            except BaseException as error:
                error.add_note(f"killed at call {n}" if status else f"with fewer than {n} calls")
                raise
            killed += status != 0
        return killed

    def _steps(
        self,
        folder: Path,
        work: Callable[[], object],
        prepare: Callable[[], object],
        check: Callable[[StorageError | Killed | None], object],
        choose: Callable[[list[str]], Iterable[int]],
    ) -> Iterable[int]:
        """Return the calls to try, after the work has been seen to go well without a fault."""
        self.watch(folder)
        prepare()
        calls = self.calls(work)
        check(None)
        assert calls, f"the work does not touch {folder}"
        return choose(calls)

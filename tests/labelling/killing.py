"""Labellings in processes of their own, which are killed at any moment.

In: what to label into what, and after how long to kill. Out: how the process ended, and how long it took. The processes
are forks of one that has imported everything and done nothing. In the tests `Labellings` is what they talk to; this
file run as a script is the process that forks.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
import uuid
from pathlib import Path
from typing import Any

ROWS_AT_A_TIME = 50
PART_ROWS = 400


class Labellings:
    """Labels in processes that can be killed."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._server = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def run(self, source: Path, output: Path, *, kill_after: float | None = None) -> tuple[int, float]:
        """Label a file, or begin to; return the exit code (below 0, the signal) and the seconds it took."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"source": str(source), "output": str(output), "kill_after": kill_after}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code, seconds = json.loads(self._server.stdout.readline())
        return code, seconds

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate()


def serve() -> None:
    """Read requests, fork, answer; until there are no more."""
    from secondcoder.labelling import chunks, journal, label

    label.CHUNK_ROWS = chunks.CHUNK_ROWS = ROWS_AT_A_TIME
    journal.PART_ROWS = PART_ROWS
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(**json.loads(line))) + "\n")
        sys.stdout.flush()


def _run(source: str, output: str, kill_after: float | None) -> tuple[int, float]:
    ended, telling = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _label(source, output)
    os.close(telling)  # the child's copy is closed by its end
    select.select([ended], [], [], kill_after)
    os.kill(child, signal.SIGKILL) if kill_after is not None else None
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ended)
    return code, time.monotonic() - started


def _label(source: str, output: str) -> Any:
    code = 1
    try:
        from secondcoder import storage
        from secondcoder.labelling.label import label_file
        from tests.labelling.fake import FakeModel

        storage._PROCESS = uuid.uuid4().hex[:8]  # a fork is another process only if it says so
        label_file(FakeModel(), source, Path(output), allow_rejects=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()

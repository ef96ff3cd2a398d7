"""The command line in processes of its own, which can be killed, or sent any signal, wherever they are.

In: the words of a command, and what is to be sent where. Out: how the process ended, what it said, where it was. The
processes are forks of one that has imported everything and done nothing: an import takes seconds, and what is tested
takes one. In the tests `Commands` is what they talk to; this file run as a script is the process that forks.
"""

import contextlib
import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PLACES = {
    "beginning the run": ("secondcoder.runs.train", "start_run"),
    "loading the model": ("secondcoder.runs.train", "start_for"),
    "going back": ("secondcoder.training.checkpoints", "TrainingCheckpoints.newest"),
    "frozen layers": ("secondcoder.training.activation_cache", "cache_activations"),
    "head": ("secondcoder.training.loop", "start_from_logistic"),
    "step": ("secondcoder.training.steps", "Stepper.take"),
    "dev": ("secondcoder.model.model", "Model.score_encoded"),
    "checkpoint": ("secondcoder.training.checkpoints", "CheckpointFolder.save"),
    "temperature": ("secondcoder.training.classifier", "calibrate"),
    "saving the model": ("secondcoder.runs.run", "Run.store_model"),
    "comparing the saved model": ("secondcoder.runs.train", "_compare_saved"),
    "baselines": ("secondcoder.runs.train", "fit_baselines"),
    "evaluation": ("secondcoder.runs.run", "Run.store_evaluation"),
    "mistakes": ("secondcoder.runs.train", "store_mistakes"),
    "report": ("secondcoder.runs.run", "Run.write_report"),
    "clearing away": ("secondcoder.runs.train", "finish_run"),
}
"""Where a training can be: the functions that say so as they begin and end. One that is called by another is silent."""

ALSO = ("secondcoder.cli.main", "transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert")
"""What is imported beforehand, besides what the places are in; no more than that, as no thread may be started."""

START = "reading the file"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Order:
    """A signal to send.

    Attributes
    ----------
    signal
        Its number.
    place, nth
        Where: the nth time, from 1, that the process comes to one of `PLACES`; without a place, at the start.
    delay : float, seconds
        So long afterwards. With 0, the process does not go on before the signal is there.
    """

    signal: int
    place: str = ""
    nth: int = 1
    delay: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code
        Its exit code; below 0, the signal that killed it.
    said
        On standard output and standard error.
    places
        Where it was, in order, each with the seconds since the start; an empty name is between two places.
    sent
        How many of the signals were sent.
    """

    code: int
    said: str
    places: list[tuple[str, float]]
    sent: int

    @property
    def last(self) -> str:
        """Where it was at its end."""
        named = [place for place, _ in self.places]
        return named[-1] or f"after {next(place for place in reversed(named) if place)}"


class Commands:
    """Runs commands of secondcoder, each in a process of its own."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path}
        self._server = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet, **dict.fromkeys(ONE_THREAD, "1")},
        )

    def run(self, *words: object, folder: Path, orders: Sequence[Order] = ()) -> Ended:
        """Run ``secondcoder`` with these words, in a folder."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"words": [str(word) for word in words], "folder": str(folder), "orders": [asdict(o) for o in orders]}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        ended = json.loads(self._server.stdout.readline())
        return Ended(**{**ended, "places": [tuple(place) for place in ended["places"]]})

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate()


def serve() -> None:
    """Read requests, fork, answer; until there are no more."""
    for module in (*(module for module, _ in PLACES.values()), *ALSO):
        importlib.import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        ended = _run(request["words"], Path(request["folder"]), [Order(**order) for order in request["orders"]])
        sys.stdout.write(json.dumps(asdict(ended)) + "\n")
        sys.stdout.flush()


def _run(words: list[str], folder: Path, orders: list[Order]) -> Ended:
    said = folder / f"said-{uuid.uuid4().hex[:8]}.txt"
    events, telling = os.pipe()
    waiting, going_on = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(events)
            os.close(going_on)
            _be_the_command(words, folder, said, telling, waiting, [order for order in orders if order.delay == 0])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(telling)
    os.close(waiting)
    try:
        places, sent = _follow(child, events, going_on, orders)
    finally:
        os.close(events)
        os.close(going_on)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = said.read_text(encoding="utf-8")
    said.unlink()
    return Ended(code, text, places, sent)


def _follow(child: int, events: int, going_on: int, orders: list[Order]) -> tuple[list[tuple[str, float]], int]:
    """Listen to where the process is until its end, and send the signals; return where it was, and how many."""
    started = time.monotonic()
    places, seen, half, due = [(START, 0.0)], Counter([""]), b"", None
    left = deque(orders)
    while True:
        if due is None and left and seen[left[0].place] >= left[0].nth and left[0].delay:
            due = time.monotonic() + left[0].delay
        ready, _, _ = select.select([events], [], [], None if due is None else max(0.0, due - time.monotonic()))
        if not ready:
            os.kill(child, left.popleft().signal)
            due = None
            continue
        chunk = os.read(events, 1 << 16)
        if not chunk:  # it has ended
            return places, len(orders) - len(left)
        *lines, half = (half + chunk).split(b"\n")
        for place in (line.decode() for line in lines):
            places.append((place, time.monotonic() - started))
            seen[place] += bool(place)
            if left and not left[0].delay and place and seen[left[0].place] >= left[0].nth:
                os.kill(child, left.popleft().signal)
                with contextlib.suppress(BrokenPipeError):  # that killed it
                    os.write(going_on, b".")


def _be_the_command(words: list[str], folder: Path, said: Path, telling: int, waiting: int, held: list[Order]) -> None:
    """Do what the words say, as the command would in a process of its own; does not return."""
    from secondcoder import storage
    from secondcoder.cli.main import main

    os.chdir(folder)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    storage._PROCESS = uuid.uuid4().hex[:8]  # a fork is another process only if it says so
    seen: Counter[str] = Counter()
    inside: list[str] = []

    def announce(place: str) -> None:
        os.write(telling, f"{place}\n".encode())
        seen[place] += 1
        if place and any(order.place == place and order.nth == seen[place] for order in held):
            os.read(waiting, 1)

    for place, (module, name) in PLACES.items():
        owner: Any = importlib.import_module(module)
        *path, last = name.split(".")
        owner = functools.reduce(getattr, path, owner)
        setattr(owner, last, _announced(getattr(owner, last), place, announce, inside))
    code: Any = 1
    try:
        main(words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _announced(function: Any, place: str, announce: Any, inside: list[str]) -> Any:
    @functools.wraps(function)
    def announced(*given: Any, **named: Any) -> Any:
        if inside:
            return function(*given, **named)
        inside.append(place)
        try:
            announce(place)
            return function(*given, **named)
        finally:
            inside.clear()
            announce("")

    return announced


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    serve()

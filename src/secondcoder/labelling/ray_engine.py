"""Windows labelled by workers in other processes and on other machines, which Ray starts and watches.

In: how a model is loaded, and the settings. Out: an `Engine`. Each worker is a Ray actor that holds the model once, on
one GPU or on so many cores. This process reads, sends the texts of a window to a worker, takes the added columns back
in the order of the input, and writes: what is on the disk is made as by one process, and either goes on with the
other's work.

Ray Data is not used. It does not keep the order unless told, its own way of going on after a stop is a beta that scans
all input again, it cuts blocks by its own measure of memory, and it reads less than our readers do (packed CSV, lines
that are no rows). Plain actors give order, the same parts, and memory that does not grow, in fewer lines. The price:
one process reads and writes; docs/clusters.md says how many rows a second that is, and what to do beyond.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa

from secondcoder.environment import machine, prepare_environment, versions
from secondcoder.errors import ModelError, RunError, SecondcoderError
from secondcoder.labelling.columns import AddedColumns, Scorer
from secondcoder.labelling.engines import Engine, label_cells, min_confidence, text_cells
from secondcoder.labelling.ray_cluster import Needs, choose_needs, connected
from secondcoder.labelling.windows import Window
from secondcoder.labelling.work import differences
from secondcoder.progress import Progress, Task
from secondcoder.settings import LabelSettings

START_SECONDS = 600.0  # for all workers to be there with the model loaded
_AHEAD = 2  # windows given to one worker: one that it works on, one that is on its way
_WAITING = 4  # windows for each worker that are read and not written; one slow window holds up those behind it
_HELD_BYTES = 1 << 30  # of them
_RESTARTS = 3  # of one worker; what it worked on is then done again


class Worker:
    """A process with the model; Ray makes an actor of it.

    Parameters
    ----------
    load
        Returns the model.
    threads
        Which it computes with. Ray would set one, or as many as the machine has cores.
    """

    def __init__(self, load: Callable[[], Scorer], threads: int) -> None:
        prepare_environment()
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # those of the tokenizer
        self._load, self._threads = load, threads

    @cached_property
    def _model(self) -> Scorer:
        # Not in __init__: an error there reaches the user as a lost actor, without its class and cure.
        import torch

        torch.set_num_threads(self._threads)
        return self._load()

    def describe(self) -> dict[str, Any]:
        """Return what the model is, and what it computes on."""
        model = self._model
        about = model.summary()
        return {
            "label_names": list(model.label_names),
            "text_column": model.text_column,
            "sha256": model.sha256,
            "min_confidence": min_confidence(model),
            "model": about,
            "versions": versions(),
            "hardware": _hardware(str(about.get("device"))),
        }

    def label(self, cells: pa.RecordBatch, added: AddedColumns) -> list[pa.Array]:
        """Return the values of the added columns for the text cells of a window."""
        return label_cells(self._model, cells, added, _Silent())


class RayEngine(Engine):
    """Labels windows on workers, several at once.

    Parameters
    ----------
    ray
        The module, connected.
    load
        Returns the model; called in each worker.
    needs
        How many workers, with what.

    Attributes
    ----------
    hardware
        The processors or GPUs that the workers compute on.
    """

    def __init__(self, ray: Any, load: Callable[[], Scorer], needs: Needs) -> None:
        self._ray, self.needs = ray, needs
        actor = ray.remote(Worker).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            max_restarts=_RESTARTS,
            max_task_retries=_RESTARTS,
        )
        self._workers = [actor.remote(load, needs.cpus) for _ in range(needs.workers)]
        try:
            self._about, self.hardware = self._meet()
        except BaseException:
            self.stop()
            raise

    @property
    def label_names(self) -> tuple[str, ...]:
        """The k classes."""
        return tuple(self._about["label_names"])

    @property
    def text_column(self) -> str | None:
        """The column that the training texts came from."""
        found: str | None = self._about["text_column"]
        return found

    @property
    def sha256(self) -> str:
        """Hash of what computes the scores."""
        return str(self._about["sha256"])

    @property
    def min_confidence(self) -> float | None:
        """The confidence that was chosen for the model, or None."""
        found: float | None = self._about["min_confidence"]
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the model is and what a worker computes with."""
        return dict(self._about["model"])

    def label(
        self, windows: Iterable[Window], added: AddedColumns, *, text: str, task: Task
    ) -> Iterator[tuple[Window, list[pa.Array]]]:
        """Yield each window, in order, when it is labelled; some are read ahead, so many for each worker."""
        coming = iter(windows)
        given: deque[tuple[Window, Any]] = deque()  # in order
        working: dict[Any, int] = {}  # what is not done yet, and by whom
        load, held, ended = [0] * len(self._workers), 0, False
        while True:
            while not ended and min(load) < _AHEAD and len(given) < _WAITING * len(load) and held < _HELD_BYTES:
                window = next(coming, None)
                if ended := window is None:
                    break
                who = load.index(min(load))
                reference = self._workers[who].label.remote(text_cells(window, text), added)
                given.append((window, reference))
                working[reference] = who
                load[who] += 1
                held += window.size
            if not given:
                return
            if given[0][1] in working:
                done, _ = self._ray.wait(list(working), num_returns=1)
                for reference in done:
                    load[working.pop(reference)] -= 1
                continue
            window, reference = given.popleft()
            columns = self._get(reference)
            held -= window.size
            task.advance(window.rows().num_rows)
            yield window, columns

    def stop(self) -> None:
        """End the workers."""
        for worker in self._workers:
            with contextlib.suppress(Exception):  # Ray itself may be gone
                self._ray.kill(worker)

    def _meet(self) -> tuple[dict[str, Any], list[str]]:
        """Return what all workers say of themselves, and their different hardware."""
        asked = [worker.describe.remote() for worker in self._workers]
        done, missing = self._ray.wait(asked, num_returns=len(asked), timeout=START_SECONDS)
        if missing:
            raise RunError(
                f"Only {len(done)} of {self.needs} were there after {START_SECONDS / 60:.0f} minutes.",
                "Name fewer --workers or --cpus, or wait until the cluster is free.",
            )
        found = [self._get(reference) for reference in asked]
        hardware = sorted({about.pop("hardware") for about in found})
        for about in found:
            if differing := differences(about, found[0]) or differences(about, {"versions": versions()}):
                raise ModelError(
                    f"The workers would not label alike: {'; '.join(differing)}.",
                    "Install the same versions everywhere, and let all machines see the same model folder.",
                )
        return found[0], hardware

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, SecondcoderError):
                raise error.cause from error
            raise
        except errors.RayError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(
                f"A worker on Ray was lost and could not be replaced: {first}",
                "What was labelled is kept: give the same command again. If memory ran out, name fewer --workers.",
            ) from error


@contextlib.contextmanager
def ray_engine(load: Callable[[], Scorer], settings: LabelSettings, progress: Progress) -> Iterator[RayEngine]:
    """Yield workers that are ready; when the block ends they are ended, and Ray too where it was started here.

    Parameters
    ----------
    load
        Returns the model; called in each worker, on whatever machine that is.
    settings
        ``address``, ``workers``, ``cpus`` and ``device``.
    progress
        Told what works.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    SettingsError
        If no cluster answers at the address, or it has not what is asked for.
    RunError
        If workers do not start.
    ModelError
        If the workers find no model, or different ones.
    """
    with connected(settings) as ray:
        needs = choose_needs([node["Resources"] for node in ray.nodes() if node["Alive"]], settings)
        progress.say(f"Starting {needs} on Ray.")
        engine = RayEngine(ray, load, needs)
        if needs.gpus and engine.summary().get("device") == "cpu" and settings.device == "auto":
            engine.stop()  # what the model computes with knows no GPU (OpenVINO): do not hold any
            needs = choose_needs([{"CPU": node["Resources"].get("CPU", 0.0)} for node in ray.nodes()], settings)
            engine = RayEngine(ray, load, needs)
        if len(engine.hardware) > 1:
            progress.say(
                f"The workers compute on different hardware ({', '.join(engine.hardware)}): which of them labels a "
                "text may change the last digits of its probability."
            )
        try:
            yield engine
        finally:
            engine.stop()


def _hardware(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name())
    return str(machine()["processor"])


class _Silent:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass

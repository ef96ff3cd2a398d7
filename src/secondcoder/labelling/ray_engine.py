"""Windows labelled by workers in other processes and on other machines, which Ray starts and watches.

In: how a model is loaded, and the settings. Out: an `Engine`. Each worker is a Ray actor that holds the model once, on
one GPU or on so many cores. This process reads, sends the texts of a chunk to a worker, takes the added columns back
in the order of the input, and writes: what is on the disk is made as by one process, and either goes on with the
other's work.

Ray Data is not used. It does not keep the order unless told, its own way of going on after a stop is a beta that scans
all input again, it cuts blocks by its own measure of memory, and it reads less than our readers do (packed CSV, lines
that are no rows). Plain actors give order, the same parts, and memory that does not grow, in fewer lines. The price:
one process reads and writes; docs/clusters.md says how many rows a second that is, and what to do beyond.
"""

import contextlib
import functools
import importlib
import logging
import os
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from secondcoder.environment import machine, prepare_environment, versions
from secondcoder.errors import MissingExtraError, ModelError, RunError, SecondcoderError, SettingsError
from secondcoder.labelling.chunks import Chunk
from secondcoder.labelling.columns import AddedColumns, Scorer
from secondcoder.labelling.engines import Engine, label_cells, min_confidence, text_cells
from secondcoder.labelling.journal import differences
from secondcoder.progress import Progress, ProgressTask
from secondcoder.settings import LabelSettings

_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 1 << 29  # where we start Ray: for chunks on their way
_MOST_GPU_CORES = 8  # for a worker with a GPU, which tokenises on them
# Processes of other users reach the loopback device too, and who reaches Ray can run programs: hence the token. Ray
# takes the machine's outward address, whatever is asked of it, except where it thinks itself on a desktop system. Its
# workers would give way to every other process (nice 15).
_PRIVATE = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


@dataclass(frozen=True)
class Needs:
    """How many workers, and what each of them has for itself."""

    workers: int
    cpus: int
    gpus: int

    @property
    def each(self) -> str:
        """What one has, in words."""
        return f"{self.cpus} core{'s' if self.cpus > 1 else ''}{' and a GPU' if self.gpus else ''}"

    def __str__(self) -> str:
        return f"{self.workers} worker{'s' if self.workers > 1 else ''} with {self.each}{' each' * (self.workers > 1)}"


def choose_needs(nodes: list[dict[str, float]], settings: LabelSettings) -> Needs:
    """Return how many workers there will be, with what, on machines that have so many CPU and GPU.

    Raises
    ------
    SettingsError
        If there is no room for one.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    gpus = int(settings.device == "cuda" or (settings.device == "auto" and bool(with_gpu)))
    cpus = settings.cpus or 1
    if gpus and settings.cpus is None and with_gpu:
        cpus = max(1, min(_MOST_GPU_CORES, *(int(node.get("CPU", 0) // node["GPU"]) for node in with_gpu)))
    room = sum(
        int(min(node.get("CPU", 0) // cpus, node["GPU"]) if gpus else node.get("CPU", 0) // cpus)
        for node in (with_gpu if gpus else nodes)
    )
    if not room and settings.workers is None:
        have = f"{sum(node.get('CPU', 0) for node in nodes):.0f} cores, {sum(n.get('GPU', 0) for n in nodes):.0f} GPUs"
        raise SettingsError(
            f"No machine of the Ray cluster ({have}) has room for a worker {Needs(1, cpus, gpus).each}.",
            "Name fewer --cpus or another --device; where machines are added on demand, name the number of --workers.",
        )
    return Needs(settings.workers or room, cpus, gpus)


@contextlib.contextmanager
def connected(settings: LabelSettings) -> Iterator[Any]:
    """Yield the module, connected to the cluster at the address, or to a Ray of this machine alone.

    Parameters
    ----------
    settings
        ``address``; without one, ``workers`` and ``cpus``.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    SettingsError
        If no cluster answers at the address.
    RunError
        If a Ray that is started here would be reached from elsewhere.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import
    with contextlib.ExitStack() as held:
        if settings.address is None:
            held.enter_context(_environment(_PRIVATE | {"RAY_AUTH_TOKEN": _token()}))
        try:
            ray = importlib.import_module("ray")
        except ImportError as error:
            raise MissingExtraError("Ray is not installed.", "Run: pip install 'secondcoder[ray]'.") from error
        if not ray.is_initialized():  # else the caller has connected it
            held.callback(ray.shutdown)
            _join(ray, settings.address) if settings.address else _start(ray, settings, held)
        yield ray


@functools.cache
def _token() -> str:
    """Return a token for this process, which reads it once."""
    return secrets.token_hex(32)


def _start(ray: Any, settings: LabelSettings, held: contextlib.ExitStack) -> None:
    # Paths of sockets may be 107 characters long.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if len(tempfile.gettempdir()) > 30 else None)
    held.callback(shutil.rmtree, folder, ignore_errors=True)
    held.callback(ray.shutdown)
    cores = (settings.workers or 1) * (settings.cpus or 1)  # more than there are, if so wanted
    try:
        ray.init(
            address="local",
            num_cpus=max(cores, _cores()),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_STORE_BYTES,
            _node_ip_address=_LOOPBACK,
            _temp_dir=folder,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise RunError(
            f"Ray does not start on this machine: {str(error).strip().splitlines()[0]}",
            "Start it by ray start --head and name --address auto, or leave --engine ray out.",
        ) from error
    if (found := ray.util.get_node_ip_address()) != _LOOPBACK:
        raise RunError(
            f"Ray listens on {found}, where other machines could reach it.",
            "Start Ray as it should be, and name its --address.",
        )


def _cores() -> int:
    """Return how many cores this process may use; a scheduler gives it a few of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _join(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise SettingsError(
            f"No Ray cluster can be joined at {address!r}: {error}",
            "Start one with ray start, and name its address, or auto on one of its machines.",
        ) from error


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Let variables of the environment be so, and then as they were."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


START_SECONDS = 600.0  # for all workers to be there with the model loaded
_AHEAD = 2  # chunks given to one worker: one that it works on, one that is on its way
_WAITING = 4  # chunks for each worker that are read and not written; one slow chunk holds up those behind it
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
        """Return the values of the added columns for the text cells of a chunk."""
        return label_cells(self._model, cells, added, _Silent())


class RayEngine(Engine):
    """Labels chunks on workers, several at once.

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
        self, chunks: Iterable[Chunk], added: AddedColumns, *, text: str, task: ProgressTask
    ) -> Iterator[tuple[Chunk, list[pa.Array]]]:
        """Yield each chunk, in order, when it is labelled; some are read ahead, so many for each worker."""
        coming = iter(chunks)
        given: deque[tuple[Chunk, Any]] = deque()  # in order
        working: dict[Any, int] = {}  # what is not done yet, and by whom
        load, held, ended = [0] * len(self._workers), 0, False
        while True:
            while not ended and min(load) < _AHEAD and len(given) < _WAITING * len(load) and held < _HELD_BYTES:
                chunk = next(coming, None)
                if ended := chunk is None:
                    break
                who = load.index(min(load))
                reference = self._workers[who].label.remote(text_cells(chunk, text), added)
                given.append((chunk, reference))
                working[reference] = who
                load[who] += 1
                held += chunk.size
            if not given:
                return
            if given[0][1] in working:
                done, _ = self._ray.wait(list(working), num_returns=1)
                for reference in done:
                    load[working.pop(reference)] -= 1
                continue
            chunk, reference = given.popleft()
            columns = self._get(reference)
            held -= chunk.size
            task.advance(chunk.rows().num_rows)
            yield chunk, columns

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

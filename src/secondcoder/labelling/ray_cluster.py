"""Ray itself: a running cluster is joined, or one of this machine alone is started, and what there is room for.

In: settings. Out: the connected module, and `Needs`. What we start listens on the loopback device only, asks for a
token, has no dashboard and reports nothing.
"""

import contextlib
import functools
import importlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from secondcoder.errors import MissingExtraError, RunError, SettingsError
from secondcoder.settings import LabelSettings

_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 1 << 29  # where we start Ray: for windows on their way
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

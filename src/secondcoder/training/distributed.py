"""One training in several processes, on one machine or many: who this process is, and sums over all of them.

In: what ``torchrun`` or ``accelerate launch`` set in the environment. Out: `Ranks`. A process that was started plainly
is alone, and then nothing here does anything.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from secondcoder.errors import RunError, SecondcoderError, SettingsError


class LeaderFailedError(RunError):
    """The first of several processes failed, and has said why."""


@dataclass(frozen=True)
class Ranks:
    """The processes of one training.

    Attributes
    ----------
    index
        This process's number, from 0; 0 leads, and only the leader writes.
    count
        How many there are.
    here
        How many of them are on this machine, and share its memory.
    """

    index: int = 0
    count: int = 1
    here: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.index == 0

    def share(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's rows of a step: dealt out by length to and fro, so that all have as much to do."""
        if self.count == 1:
            return rows
        dealt = rows[np.argsort(-lengths[rows], kind="stable")]
        turn, place = np.divmod(np.arange(len(dealt)), self.count)
        mine: NDArray[np.int64] = dealt[np.where(turn % 2, self.count - 1 - place, place) == self.index]
        return mine

    def add_up(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.count > 1:
            # One message for all of a kind: a message for each of a hundred small tensors is mostly waiting.
            tensors = list(tensors)
            for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
                same = [tensor for tensor in tensors if tensor.dtype == dtype]
                flat = torch.cat([tensor.reshape(-1) for tensor in same])
                with self._connected():
                    dist.all_reduce(flat)
                for tensor, summed in zip(same, flat.split([t.numel() for t in same]), strict=True):
                    tensor.copy_(summed.view_as(tensor))

    def any_wishes(self, wishes: Iterable[bool], *, device: torch.device) -> list[bool]:
        """Return which of the wishes some process has."""
        counted = torch.tensor(list(wishes), dtype=torch.int32, device=device)
        self.add_up([counted])
        return [bool(wish) for wish in counted]

    def copy_from_leader(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by the leader's."""
        if self.count > 1:
            for tensor in tensors:
                with self._connected():
                    dist.broadcast(tensor, 0)

    def from_leader(self, value: Any) -> Any:
        """Return the leader's value (plain Python values only)."""
        if self.count == 1:
            return value
        box = [value]
        with self._connected():
            dist.broadcast_object_list(box)
        return box[0]

    @contextlib.contextmanager
    def sharing_failure(self) -> Iterator[None]:
        """Fail in every process if the leader does in this block, in which it works and the others wait."""
        failure: SecondcoderError | None = None
        try:
            yield
        except SecondcoderError as error:
            failure = error
        leaders: SecondcoderError | None = self.from_leader(failure)
        if failure is not None:
            raise failure
        if leaders is not None:
            raise LeaderFailedError(leaders.what, leaders.cure)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by number (plain Python values only)."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with self._connected():
            dist.all_gather_object(found, value)
        return found

    @contextlib.contextmanager
    def ignoring_sigterm(self) -> Iterator[None]:
        """Disregard SIGTERM inside the block, but for a training that listens to it; a process alone does as ever.

        Launchers send it to all their processes when they are told to stop, after the scheduler may have sent it, and
        when one process has left: the leader would die while it writes down how it ended. What does not leave by
        itself is killed soon after.
        """
        if self.count == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise RunError(
                f"Process {self.index} of {self.count} lost the others: {reason}",
                "See what they said before they left; then go on with the same command and --resume.",
            ) from error


ALONE = Ranks()


def join_ranks(*, on_cpu: bool) -> Ranks:
    """Return this process's place among those that were launched together, each on a card of its own if there are any.

    Parameters
    ----------
    on_cpu
        Whether to compute on the CPU, and so to talk by gloo.

    Raises
    ------
    SettingsError
        If they have no way to talk to each other.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched == 1:
        return ALONE
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not on_cpu:
        if not torch.cuda.is_available():
            raise SettingsError(
                f"{launched} processes were launched, and cannot work together on this device.",
                "Use --device cpu or cuda and launch them with torchrun or accelerate launch; or start one process.",
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    elif "OMP_NUM_THREADS" not in os.environ:  # a launcher of the user's own; torchrun sets it
        torch.set_num_threads(max(1, (psutil.cpu_count(logical=False) or 1) // here))
    if not dist.is_initialized():
        try:
            dist.init_process_group("gloo" if on_cpu else "nccl")
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise SettingsError(
                f"{launched} processes were launched, and do not find each other: {reason}",
                "Launch them with torchrun or accelerate launch, which set RANK, MASTER_ADDR and MASTER_PORT.",
            ) from error
    return Ranks(dist.get_rank(), dist.get_world_size(), here)


def part_ranks() -> None:
    """End the talk between the processes, if there was any; this process does nothing more with them."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()

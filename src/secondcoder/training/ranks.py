"""One training in several processes, on one machine or many: who this process is, and sums over all of them.

In: what ``torchrun`` or ``accelerate launch`` set in the environment. Out: `Ranks`. A process that was started plainly
is alone, and then nothing here does anything.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import PartialState
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ranks:
    """The processes of one training.

    Attributes
    ----------
    index
        This process's number, from 0; 0 leads, and only the leader writes.
    count
        How many there are.
    """

    index: int = 0
    count: int = 1

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
                dist.all_reduce(flat)
                for tensor, summed in zip(same, flat.split([t.numel() for t in same]), strict=True):
                    tensor.copy_(summed.view_as(tensor))

    def from_leader(self, value: Any) -> Any:
        """Return the leader's value (plain Python values only)."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by number (plain Python values only)."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()


def join_ranks(*, on_cpu: bool) -> Ranks:
    """Return this process's place among those that were launched together, each on a card of its own if there are any.

    Parameters
    ----------
    on_cpu
        Whether to compute on the CPU, and so to talk by gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    state = PartialState(cpu=on_cpu)
    return Ranks(state.process_index, state.num_processes)

"""What one training keeps on disk to go on from, and how it comes back.

In: the training's state. Out: checkpoints that carry the conditions they were made under, and are refused for other
texts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import ModelError, RunError
from secondcoder.model.model import Model
from secondcoder.training.checkpoints import Checkpoint, CheckpointFolder, Tensors, read_best, read_checkpoint
from secondcoder.training.exactness import conditions, differences, fingerprint, generator_states
from secondcoder.training.ranks import Ranks
from secondcoder.training.steps import Parameters


class Keeper:
    """Saves and brings back one training.

    Parameters
    ----------
    model
        That is trained.
    train, dev
        Its texts.
    parameters
        Those of its weights that are trained; the others come from the pre-trained model again.
    folder
        Where checkpoints are.
    ranks
        The processes that train it; the leader writes, and all must be able to read.

    Raises
    ------
    RunError
        If not all of them were given the same.
    """

    def __init__(
        self, model: Model, train: Corpus, dev: Corpus, parameters: Parameters, folder: Path, ranks: Ranks
    ) -> None:
        self.folder = folder
        self._model, self._parameters, self._ranks = model, parameters, ranks
        self._checkpoints = CheckpointFolder(folder)
        self._fingerprint = fingerprint(train, dev, model.network)
        if len(set(ranks.gather(self._fingerprint))) > 1:
            raise RunError(
                "The processes that train together were given different texts, labels or pre-trained weights.",
                "Give every machine the same files and the same command.",
            )
        self._newest: Path | None = None

    def save(self, tensors: Tensors, plain: dict[str, Any], *, is_best: bool) -> None:
        """Write a checkpoint: the weights and generators as they are, and what is given; all processes call it."""
        tensors = tensors | generator_states(self._ranks)
        plain = plain | {"fingerprint": self._fingerprint, "conditions": conditions(self._model, self._ranks)}
        with self._ranks.sharing_failure():
            if self._ranks.leads:
                weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
                self._newest = self._checkpoints.save(Checkpoint(weights, tensors, plain), is_best=is_best)
        self._newest = self._ranks.from_leader(self._newest)

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """Return the newest whole checkpoint, if there is one; damaged ones are named, skipped and put aside.

        Raises
        ------
        ModelError
            If it belongs to other texts, labels or pre-trained weights.
        """
        found = self._checkpoints.newest() if self._ranks.leads else None
        for reason in self._checkpoints.damaged:
            say(f"Damaged, and skipped: {reason}")
        self._newest = self._ranks.from_leader(found)
        if self._newest is None:
            self._put_damaged_aside()
            say("There is no whole checkpoint to go on from: training starts from its beginning.")
            return None
        checkpoint = read_checkpoint(self._newest)
        if checkpoint.plain["fingerprint"] != self._fingerprint:
            raise ModelError(
                f"The checkpoints in {self.folder} belong to other texts, labels or pre-trained weights.",
                "Train into another folder, without --resume.",
            )
        self._put_damaged_aside()
        for difference in differences(checkpoint.plain["conditions"], conditions(self._model, self._ranks)):
            say(f"The result may differ in its last bits from a training without a break: {difference}.")
        return checkpoint

    def _put_damaged_aside(self) -> None:
        if self._ranks.leads:
            self._checkpoints.put_aside_after(self._newest)

    def forget(self) -> None:
        """Remove what an earlier training left: the first checkpoint of this one would take its best for its own."""
        if self._ranks.leads:
            self._checkpoints.clear()

    def best(self) -> Tensors:
        """Return the weights of the best epoch so far."""
        if self._newest is None:
            raise ModelError("No epoch was finished.", "Train longer.")
        return read_best(self._newest)

    def load(self, weights: Tensors) -> None:
        """Put weights into the model."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])

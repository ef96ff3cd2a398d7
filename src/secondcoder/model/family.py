"""What is known of a family of models, and of the pre-trained weights that can be had of it.

In: nothing. Out: `Family` and `Checkpoint`; `secondcoder.model.families` is the table of them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Checkpoint:
    """Pre-trained weights of a family that can be had.

    Attributes
    ----------
    name
        On the hub, or ``minilm``.
    parameters
        Weights, in millions.
    computed
        Weights that each token is multiplied with, in millions: the layers', without the table of the vocabulary.
    languages
        Those that it was pre-trained on.
    """

    name: str
    parameters: float
    computed: float
    languages: str = "English"

    def to_dict(self) -> dict[str, Any]:
        """Return the checkpoint as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Attributes
    ----------
    model_type
        transformers' name of it, as ``config.json`` has it.
    title
        What people call it.
    kind
        Reads in both directions (encoder), only backwards (decoder), or has both.
    checkpoints
        Weights that can be had, the one to begin with first.
    quirks
        What is peculiar, and what is done about it here.
    when
        When to take it.
    positions_behind_padding
        Whether positions are counted from behind the padding token's id, so that fewer tokens are read than it says.
    cost
        Seconds for short sentences, in those that BERT takes with as many `Checkpoint.computed` weights.
    computes_bf16
        Whether it can compute in bf16; if not, it computes in fp32.
    explained
        Whether words can be credited with what the network says.
    converts
        Whether OpenVINO can compute it; if not, torch labels.
    """

    model_type: str
    title: str
    kind: Kind
    checkpoints: tuple[Checkpoint, ...]
    quirks: str
    when: str
    positions_behind_padding: bool = False
    cost: float = 1.0
    computes_bf16: bool = True
    explained: bool = True
    converts: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the family as plain JSON values."""
        return {**asdict(self), "checkpoints": [checkpoint.to_dict() for checkpoint in self.checkpoints]}

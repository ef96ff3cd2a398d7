"""How fast models compute on this machine.

In: names of pre-trained models, or their sizes. Out: seconds for a thousand sentences, measured where the weights are
at hand, else estimated from networks of two sizes with random weights, which compute as fast as with others.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoModelForSequenceClassification, BertConfig, PretrainedConfig, PreTrainedModel

from secondcoder.errors import MissingExtraError
from secondcoder.model.backends import computing, place, resolve_device, resolve_precision
from secondcoder.model.families import BY_TYPE, FAMILIES, Checkpoint, Family
from secondcoder.model.pretrained import (
    MINILM,
    explain_loading,
    load_pretrained,
    locate,
    quiet_transformers,
    read_config,
)

TOKENS = 32
"""Length of the sentences that are timed, in tokens."""
_ROWS = {"cpu": 16, "mps": 256, "cuda": 512}
_REPEATS = 2
# Numbers of a training step beside the weights: gradients, and what the optimizer keeps is not timed.
_BYTES_PER_WEIGHT = 4 * 2.5
_REFERENCES = (
    {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
)


@dataclass(frozen=True)
class Speed:
    """How long 1,000 sentences of `TOKENS` tokens take on this machine.

    Attributes
    ----------
    label
        Seconds to label them, by torch.
    train
        Seconds to train on them once, all layers.
    measured
        Whether this model was timed; else both are estimates.
    """

    label: float
    train: float
    measured: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the speed as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Timed:
    """A model with its speed."""

    family: Family
    checkpoint: Checkpoint
    speed: Speed


def time_models(folders: Sequence[str] = (), say: Callable[[str], None] = lambda _: None) -> list[Timed]:
    """Return the table's models with their speed on this machine, and those in the folders before them.

    Parameters
    ----------
    folders
        Models to time besides those of the table: folders, or names of models that are at hand.
    say
        Told what is being timed.

    Raises
    ------
    ModelError
        If one of the folders is not a model that can be trained.
    """
    found = [_time_folder(name, say) for name in folders]
    say("Timing networks of two sizes.")
    references = [_time_size(size) for size in _REFERENCES]
    for family in FAMILIES:
        for checkpoint in family.checkpoints:
            folder = at_hand(checkpoint.name)
            if folder is not None and _fits(checkpoint.parameters):
                say(f"Timing {checkpoint.name}.")
                found.append(Timed(family, checkpoint, _time_checkpoint(folder)[0]))
            else:
                found.append(Timed(family, checkpoint, estimate(family, checkpoint, references)))
    return found


def estimate(family: Family, checkpoint: Checkpoint, references: Sequence[tuple[float, Speed]]) -> Speed:
    """Return how fast a model should be, from the network that is nearest to it in size.

    Parameters
    ----------
    family
        Says how much more work its kind does with the same weights.
    checkpoint
        Says with how many weights each token is multiplied.
    references
        Networks that were timed: such weights in millions, and the speed.
    """
    size, speed = min(references, key=lambda reference: abs(math.log(reference[0] / checkpoint.computed)))
    factor = family.cost * checkpoint.computed / size
    return Speed(speed.label * factor, speed.train * factor, measured=False)


def at_hand(name: str) -> str | None:
    """Return the folder of a model whose weights are on this machine, without asking the hub; None if they are not."""
    if name == MINILM:
        try:
            return locate(name)
        except MissingExtraError:
            return None
    found = try_to_load_from_cache(name, "config.json")
    if not isinstance(found, str) or not (Path(found).parent / "model.safetensors").exists():
        return None
    return str(Path(found).parent)


def _time_folder(name: str, say: Callable[[str], None]) -> Timed:
    say(f"Timing {name}.")
    within = Path(name) / "model"  # of a run
    location = str(within) if (within / "config.json").is_file() else locate(name)
    if not Path(location).is_dir():
        location = at_hand(name) or location
    with explain_loading(name):
        speed, network = _time_checkpoint(location)
    total = sum(p.numel() for p in network.parameters()) / 1e6
    table = sum(p.numel() for p in network.get_input_embeddings().parameters()) / 1e6
    return Timed(
        BY_TYPE[network.config.model_type], Checkpoint(name, round(total, 1), round(total - table, 1), ""), speed
    )


def _time_checkpoint(location: str) -> tuple[Speed, PreTrainedModel]:
    with quiet_transformers():
        read_config(location)
        network = load_pretrained(location, label_names=("a", "b"), seed=0, attention_dropout=0.0).network
    return _time(network), network


def _time_size(size: dict[str, int]) -> tuple[float, Speed]:
    """Return how many millions of weights a token is multiplied with in a network of this size, and its speed."""
    config: PretrainedConfig = BertConfig.from_dict(size | {"vocab_size": 1000, "attention_probs_dropout_prob": 0.0})
    with quiet_transformers(), torch.random.fork_rng():
        network = AutoModelForSequenceClassification.from_config(config)
    computed = sum(p.numel() for p in network.base_model.encoder.parameters()) / 1e6
    return computed, _time(network)


def _time(network: PreTrainedModel) -> Speed:
    """Return how long a network takes for 1,000 sentences."""
    device = resolve_device("auto")
    able = BY_TYPE[network.config.model_type].computes_bf16
    precision = resolve_precision("auto", device) if able else "fp32"
    place(network, device)
    rows = _ROWS[device.type]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, network.config.vocab_size, (rows, TOKENS), generator=generator)
    ends = getattr(network.config, "eos_token_id", None)
    if network.config.is_encoder_decoder and isinstance(ends, int):  # one end of sentence for each, as it wants
        ids[ids == ends] = 5
        ids[:, -1] = ends
    batch = {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}

    def label() -> None:
        with torch.inference_mode(), computing(device, precision):
            network(**batch).logits.float().cpu()

    def train() -> None:
        with computing(device, precision):
            loss = network(**batch).logits.float().square().sum()
        loss.backward()
        network.zero_grad(set_to_none=True)
        loss.item()

    network.eval()
    return Speed(_fastest(label) * 1000 / rows, _fastest(train) * 1000 / rows, measured=True)


def _fastest(work: Callable[[], None]) -> float:
    """Return the seconds of the fastest of some repeats, after one that warms up."""
    work()
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _fits(parameters: float) -> bool:
    """Return whether a network of so many millions of weights can be timed beside what runs here."""
    available: int = psutil.virtual_memory().available
    return parameters * 1e6 * _BYTES_PER_WEIGHT < available / 2

"""How much memory a training step takes on this machine, before it is taken.

In: a network and the lengths of its texts. Out: a token budget that fits. On a card nothing is estimated: there,
running out of memory is an error that a step recovers from; here, the system would kill the process.
"""

from pathlib import Path

import psutil
from transformers import PreTrainedModel

from secondcoder.settings import TrainSettings

# Numbers that a transformer layer keeps for the backward pass, in hidden sizes per token: its input, query, key,
# value, attention's result, two norms, and the feed-forward part before and behind its activation, with dropout masks.
_KEPT_PER_TOKEN = 24
_BYTES = 4
# What is left to everything else on the machine.
_USABLE = 0.8
_CGROUP = Path("/sys/fs/cgroup")


def fitting_budget(
    network: PreTrainedModel, settings: TrainSettings, *, wanted: int, longest: int
) -> tuple[int, str | None]:
    """Return the token budget that fits into free memory, at most `wanted`, and what to tell the user, if anything.

    Parameters
    ----------
    network
        On the CPU, with the weights that are not trained marked so.
    settings
        A budget that is named there is kept.
    wanted
        Padded tokens of one pass.
    longest
        Longest text in tokens; a pass holds at least one text.
    """
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    fixed = trained * 3 * _BYTES  # gradient and the optimizer's two averages; the weights themselves are there already
    config = network.config
    per_token = _KEPT_PER_TOKEN * config.num_hidden_layers * config.hidden_size * _BYTES
    free = _free_memory() * _USABLE
    fits = int((free - fixed) / per_token)
    budget = settings.token_budget or max(longest, min(wanted, fits))
    needed = fixed + max(budget, longest) * per_token
    if needed > free:
        return budget, (
            f"Training needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB can be used: the system "
            "may kill it. Set a smaller --max-length, train fewer layers (--freeze), choose a smaller model, or close "
            "other programs."
        )
    if budget < wanted and settings.token_budget is None:
        return budget, f"Memory is short: steps are cut into passes of at most {budget} tokens."
    return budget, None


def _free_memory() -> int:
    """Bytes that can be had: of the machine, or of the container if it is given fewer."""
    free: int = psutil.virtual_memory().available
    try:
        limit, used = (_CGROUP / "memory.max").read_text(), (_CGROUP / "memory.current").read_text()
        return free if limit.strip() == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):
        return free

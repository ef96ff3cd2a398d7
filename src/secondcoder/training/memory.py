"""How much memory a training step takes on this machine, before it is taken.

In: a network and the lengths of its texts. Out: a token budget that fits. On a card nothing is estimated: there,
running out of memory is an error that a step recovers from; here, the system would kill the process.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from transformers import PreTrainedModel

from secondcoder.model.backends import TRAINING_TOKENS
from secondcoder.settings import TrainSettings

# Numbers that a transformer layer keeps for the backward pass, in hidden sizes per token: its input, query, key,
# value, attention's result, two norms, and the feed-forward part before and behind its activation, with dropout masks.
# And numbers that each trained weight takes besides itself: its gradient, the optimizer's two averages, and about one
# more for copies in use. Highest peak over three steps, above that before them, against the estimate, in MB. MiniLM,
# fp32, 128 tokens: 780 : 817 in passes of 2,048 tokens, 2,034 : 2,176 of 8,192; 512 tokens: 785 : 817, 2,166 : 2,176;
# bf16, 128 tokens: 698 : 817, 1,792 : 2,176; 256 tokens: 748 : 817, 1,943 : 2,176. A BERT of base size, fp32, 128
# tokens: 2,482 : 2,658 of 1,024, 4,891 : 5,376 of 4,096.
_KEPT_PER_TOKEN = 24
# Adapters add what they say to what their layers say, and so keep twice as much. MiniLM, fp32, 512 tokens, passes of
# 4,096: 1,869 : 1,830; without adapters 1,256 : 1,270.
_KEPT_WITH_ADAPTERS = 48
# What libraries take for themselves, in bytes; the numbers above have it in them, one layer alone has not. MiniLM,
# fp32, 512 tokens, passes of 4,096, layers computed again: 887 and 1,003 : 952.
_BESIDE = 400_000_000
_KEPT_PER_WEIGHT = 4
_BYTES = 4
# What is left to everything else on the machine.
_USABLE = 0.8
_CGROUP, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def fitting_budget(
    network: PreTrainedModel, settings: TrainSettings, *, wanted: int, longest: int, processes: int = 1
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
    processes
        How many do the same on this machine, each with a model of its own.
    """
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    fixed = _KEPT_PER_WEIGHT * trained * _BYTES
    config = network.config
    layers = config.num_hidden_layers + (config.decoder_layers if config.is_encoder_decoder else 0)
    of_layer = _KEPT_PER_TOKEN if settings.lora is None else _KEPT_WITH_ADAPTERS
    # Of layers that are computed again, the inputs; and all of one, while it is.
    kept = layers + of_layer if settings.checkpoint_activations else of_layer * layers
    fixed += _BESIDE if settings.checkpoint_activations else 0
    per_token = kept * config.hidden_size * _BYTES
    free = _free_memory() * _USABLE / processes
    fits = int((free - fixed) / per_token)
    budget = settings.token_budget or max(longest, min(wanted, fits))
    needed = fixed + max(budget, longest) * per_token
    if needed > free:
        return budget, (
            f"Training needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB can be used: the system "
            "may kill it. Set a smaller --max-length or --token-budget, train fewer layers (--freeze), compute them "
            "again (--checkpoint-activations), choose a smaller model, or close other programs."
        )
    if budget < wanted and settings.token_budget is None:
        return budget, f"Memory is short: steps are cut into passes of at most {budget} tokens."
    return budget, None


def choose_budget(
    network: PreTrainedModel, settings: TrainSettings, *, longest: int, here: int, say: Callable[[str], None]
) -> int:
    """Return the token budget of a training: the one named, else its device's, on a CPU no more than fits in memory.

    Parameters
    ----------
    network, settings, longest
        As in `fitting_budget`.
    here
        Processes on this machine that train together.
    say
        Where to tell the user something.
    """
    budget = settings.token_budget or TRAINING_TOKENS[network.device.type]
    if network.device.type == "cpu":
        budget, warning = fitting_budget(network, settings, wanted=budget, longest=longest, processes=here)
        if warning:
            say(warning)
    return budget


def _free_memory() -> int:
    """Bytes that can be had: of the machine, or of the container or the scheduler's job if it is given fewer."""
    free: int = psutil.virtual_memory().available
    return max(0, min([free, *_left_to_cgroups()]))


def _left_to_cgroups() -> Iterator[int]:
    """Yield the bytes that are left to this process's control group, and to each that it is in, where there is a limit.

    Files that were read are counted as used until their memory is wanted by somebody else: those are left too.
    """
    with contextlib.suppress(OSError):
        for line in _OWN_CGROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                root, limit, used, files = _CGROUP, "memory.max", "memory.current", "inactive_file"
            elif controllers == "memory":  # version 1
                root, limit, used = _CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
                files = "total_inactive_file"
            else:
                continue
            group = root / path.strip("/")
            for folder in (group, *group.parents[: len(group.parts) - len(root.parts)]):
                with contextlib.suppress(OSError, ValueError, KeyError):  # no limit, or, in a container, no such group
                    kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())[files]
                    yield int((folder / limit).read_text()) - int((folder / used).read_text()) + int(kept)

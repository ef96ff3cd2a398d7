"""How a model was trained, in the words of a methods paragraph.

In: `ReportContent`. Out: sentences. A sentence stands there only if the thing was done.
"""

from collections.abc import Mapping
from typing import Any

from secondcoder.reporting.content import ReportContent
from secondcoder.reporting.formatting import format_metric


def training_told(c: ReportContent, cited: list[str]) -> str:
    """Return how the model was trained, in sentences; what they cite is added to `cited`."""
    s = c.settings
    if s.get("epochs") == 0:
        frozen = "The encoder stayed as pre-trained; its head is a logistic regression on what the encoder says."
        return " ".join([frozen, *_chosen(s)])
    epochs, batch, rate = s.get("epochs"), s.get("batch_size"), s.get("learning_rate")
    how = f"{epochs} epoch{'s' if epochs != 1 else ''}" if epochs else "some epochs"
    how += f" in steps of {batch} texts" if batch else ""
    how += f" by AdamW with a peak learning rate of {rate:g}" if isinstance(rate, float) else ""
    text = f"Training took {how}."
    if s.get("label_shares") and c.best_epoch != 0:  # the head before any step learned one class a text
        text += (
            " It learned the share of coders that gave each class; the figures are against the class that most gave."
        )
    if s.get("recipe") == "contrastive":
        cited.append("tunstall2022")
        text += (
            " It drew texts of one class together and pushed those of different classes apart, by the cosine of what "
            "the head reads; the head is a logistic regression on that (after Tunstall et al. 2022)."
        )
    if s.get("freeze"):
        text += f" The lower {s['freeze']:.0%} of the layers stayed as pre-trained."
    if s.get("lora"):
        cited.append("hu2022")
        text += f" Low-rank adapters (rank {s['lora']}) and the head were trained, and merged (Hu et al. 2022)."
    if s.get("class_weights"):
        same = "having and not having it count" if c.task == "multi-label" else "each counts"
        each = f", so that {same} the same" if s["class_weights"] == "balanced" else ""
        text += f" Classes were weighted in the loss{each}; probabilities are those of so weighted classes."
    if c.metric and c.best_epoch is not None:
        text += f" The epoch with the best {format_metric(c.metric)} on dev was kept (epoch {c.best_epoch})."
    if len(c.seed_figures) > 1:
        values = list(c.seed_figures.values())
        mean = sum(values) / len(values)
        spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        text += (
            f" Of {len(values)} trainings with different random seeds (on dev: mean {mean:.3f}, standard deviation "
            f"{spread:.3f}) the best on dev was kept."
        )
    return " ".join([text.strip(), *_chosen(s)])


def _chosen(s: Mapping[str, Any]) -> list[str]:
    """Return how recipe and settings were chosen, where others were tried."""
    said = []
    if s.get("recipes_on_train"):
        said.append(
            f"The recipe “{s['recipe']}” was chosen by cross-validation on the train part ({s['recipes_on_train']})."
        )
    if s.get("tuned"):
        said.append(f"The settings were chosen by their figure on dev: they are {s['tuned']}.")
    return said

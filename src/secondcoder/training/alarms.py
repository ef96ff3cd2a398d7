"""What should be said loudly about a training, with what to try.

In: what the model says about dev. Out: findings.
"""

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import labels_decided
from secondcoder.model.model import Scores
from secondcoder.training.baselines import MajorityClass
from secondcoder.training.fitting import dev_thresholds


def predicts_one_class(dev: Corpus, scores: Scores, epoch: int) -> Finding | None:
    """Return a warning if every dev text was given one and the same label."""
    if len(scores.logits) < 2:
        return None
    separator, several = dev.separator, dev.multi_label
    limits = dev_thresholds(dev, scores)
    given = set(labels_decided(scores.probabilities, dev.label_names, limits, multi_label=several, separator=separator))
    if len(given) > 1:
        return None
    (label,) = given
    what = f"the label {label!r}" if label else "no label"
    return Finding(
        "one-class",
        "warning",
        f"After epoch {epoch}, the model gives every one of the {len(scores.logits):,} dev texts {what}.",
        "If it stays so: train longer (--epochs), try another --learning-rate (a tenth, or three times), look whether "
        "the labels can be told from the texts, or label more texts of the rare classes.",
    )


def below_majority(train: Corpus, dev: Corpus, metric: str, best: float) -> Finding | None:
    """Return a warning if the model's best figure on dev is no better than that of always saying the same."""
    always = MajorityClass().fit(train).predict_proba(dev.texts)
    figure = points_of_rows(dev, always).figure(metric)
    if is_better(metric, best, figure):
        return None
    return Finding(
        "below-majority",
        "warning",
        f"On dev the model is no better than always giving the most frequent label: {metric} {best:.3f} against "
        f"{figure:.3f}. Do not use its labels.",
        "Label more texts, train longer (--epochs), try another --learning-rate, or look whether the labels can be "
        "told from the texts at all.",
    )

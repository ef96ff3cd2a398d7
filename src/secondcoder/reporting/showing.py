"""What the report's content means: the stored values as objects, which of them lead, and their pictures.

In: `ReportContent`. Out: `Shown`, which the templates and the methods paragraph read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secondcoder.evaluation.figures import Evaluation
from secondcoder.evaluation.label_errors import LabelError
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.mistakes import Mistakes
from secondcoder.evaluation.selection import Guarantee
from secondcoder.reporting import curves, figures
from secondcoder.reporting.content import ReportContent
from secondcoder.reporting.drawing import Picture
from secondcoder.reporting.formatting import MODEL, NAMES, TFIDF

FEW_GROUPS = 10
"""With fewer groups than these an interval speaks for the groups at hand, and hardly for others."""
PARTS = ("test", "folds", "dev")
"""The order in which they lead: what judged once, what was not learned from, what chose."""


@dataclass(frozen=True)
class Shown:
    """What the report shows, read and drawn.

    Attributes
    ----------
    evaluations
        By part, in the order of `PARTS`, and there by who: the model first, then the baselines.
    mistakes
        By part, in the same order.
    words
        Of the part whose mistakes are shown: the words of each confident mistake with their weights, and what was not
        read, as stored.
    label_errors
        Of the same part, the most doubtful first.
    guarantee, curve
        As `secondcoder.evaluation` has them.
    pictures
        By name; what could not be drawn for want of numbers is not in it.
    """

    evaluations: Mapping[str, Mapping[str, Evaluation]]
    mistakes: Mapping[str, Mistakes] = field(default_factory=dict)
    words: Sequence[Mapping[str, Any]] = ()
    label_errors: tuple[LabelError, ...] = ()
    guarantee: Guarantee | None = None
    curve: LearningCurve | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)

    @property
    def judged_on(self) -> str | None:
        """The part whose figures lead, or None where nothing was judged."""
        return next(iter(self.evaluations), None)

    @property
    def main(self) -> Mapping[str, Evaluation]:
        """The evaluations of the part that leads."""
        return self.evaluations[self.judged_on] if self.judged_on else {}

    @property
    def prospects(self) -> tuple[str, ...]:
        """What more labels would bring, in sentences: half as many again, and twice as many, in round numbers."""
        if self.curve is None:
            return ()
        rounded = [int(float(f"{share * self.curve.largest:.1g}")) for share in (0.5, 1.0)]
        return tuple(dict.fromkeys(self.curve.sentence(max(1, more)) for more in rounded))

    @property
    def erring_on(self) -> str | None:
        """The part whose mistakes are shown: that with most rows of those that were not learned from."""
        return max(self.mistakes, key=lambda part: self.mistakes[part].overall.n, default=None)


def show(content: ReportContent) -> Shown:
    """Return the content as objects, with its pictures."""
    shown = read(content)
    return replace(shown, pictures=_pictures(content, shown))


def read(content: ReportContent) -> Shown:
    """Return the content as objects, without pictures."""
    shown = Shown(
        evaluations={
            part: {
                who: Evaluation.from_dict(content.evaluations[part][who])
                for who in _in_order(content.evaluations[part])
            }
            for part in PARTS
            if MODEL in content.evaluations.get(part, {})
        },
        mistakes={
            part: Mistakes.from_dict(content.mistakes[part]["mistakes"]) for part in PARTS if part in content.mistakes
        },
        guarantee=None if content.guarantee is None else Guarantee.from_dict(content.guarantee),
        curve=None if content.curve is None else LearningCurve.from_dict(content.curve),
    )
    if shown.erring_on:
        stored = content.mistakes[shown.erring_on]
        errors = tuple(LabelError.from_dict(error) for error in stored.get("label_errors", ()))
        shown = replace(shown, words=stored.get("words", ()), label_errors=errors)
    return shown


def _pictures(content: ReportContent, shown: Shown) -> dict[str, Picture]:
    found: dict[str, Picture] = {}

    def draw(name: str, picture: Callable[..., Picture], *given: object) -> None:
        found[name] = picture(f"p{len(found)}", *given)

    if content.parts:
        draw("shares", figures.class_shares, content.label_names, content.parts)
    for name in ("train_loss", content.metric):
        points = [entry for entry in content.history if isinstance(entry.get(name), int | float)]
        if len({entry.get("epoch") for entry in points}) > 1:
            draw(name, curves.training, points, name, (content.best_seed, content.best_epoch))
    if len(content.seed_figures) > 1:
        draw("seeds", curves.seeds, content.seed_figures, content.metric, content.best_seed)
    if shown.judged_on:
        _draw_judged(shown, draw)
    if shown.curve:
        draw("curve", curves.learning, shown.curve)
    if shown.erring_on:
        _draw_errors(shown.mistakes[shown.erring_on], draw)
    return found


def _draw_errors(mistakes: Mistakes, draw: Callable[..., None]) -> None:
    if len(mistakes.by_length) > 1:
        draw("length", figures.errors_by_length, mistakes)
    if mistakes.worst_groups:
        draw("groups", figures.errors_by_group, mistakes)


def _draw_judged(shown: Shown, draw: Callable[..., None]) -> None:
    model = shown.main[MODEL]
    draw("classes", figures.class_figures, model, shown.main.get(TFIDF))
    if model.calibration and model.calibration.bins:
        draw("reliability", curves.reliability, model.calibration, model.uncalibrated)
    if model.risk_coverage and len(model.risk_coverage.points) > 1:
        draw("risk", curves.risk_coverage, model.risk_coverage, shown.guarantee)


def _in_order(whos: Iterable[str]) -> list[str]:
    """Return the model first, then the baselines, the stronger kind before the weaker."""
    known = list(NAMES)
    return sorted(whos, key=lambda who: known.index(who) if who in known else len(known))

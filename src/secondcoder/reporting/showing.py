"""What the report's content means: the stored values as objects, which of them lead, and their pictures.

In: `ReportContent`. Out: `Shown`, which the templates and the methods paragraph read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from secondcoder.evaluation.error_analysis import Mistakes
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.label_errors import LabelError
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.selective import Guarantee
from secondcoder.reporting.content import ReportContent
from secondcoder.reporting.formatting import MODEL, NAMES

if TYPE_CHECKING:
    from secondcoder.reporting.drawing import Picture

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
    occlusion
        How well these weights agree with leaving each word out; None where that was not looked at.
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
    occlusion: float | None = None
    label_errors: tuple[LabelError, ...] = ()
    guarantee: Guarantee | None = None
    curve: LearningCurve | None = None
    pictures: Mapping[str, "Picture"] = field(default_factory=dict)

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
    # Here, not at the top: matplotlib takes as long to import as all else, and labelling needs no pictures.
    from secondcoder.reporting.pictures import draw_all

    shown = read(content)
    return replace(shown, pictures=draw_all(content, shown))


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
        shown = replace(shown, words=stored.get("words", ()), occlusion=stored.get("occlusion"), label_errors=errors)
    return shown


def _in_order(whos: Iterable[str]) -> list[str]:
    """Return the model first, then the baselines, the stronger kind before the weaker."""
    known = list(NAMES)
    return sorted(whos, key=lambda who: known.index(who) if who in known else len(known))

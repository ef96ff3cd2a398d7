"""The pictures of a report: which there are, by what there is to show.

In: `ReportContent` and what was read of it. Out: `Picture`s by name.
"""

from collections.abc import Callable

from secondcoder.evaluation.error_analysis import Mistakes
from secondcoder.reporting import curves, figures
from secondcoder.reporting.content import ReportContent
from secondcoder.reporting.drawing import Picture
from secondcoder.reporting.formatting import MODEL, TFIDF
from secondcoder.reporting.showing import Shown


def draw_all(content: ReportContent, shown: Shown) -> dict[str, Picture]:
    """Return the pictures by name."""
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
        draw("reliability", curves.reliability, model.calibration, model.uncalibrated, model.sets is not None)
    if model.risk_coverage and len(model.risk_coverage.points) > 1:
        draw("risk", curves.risk_coverage, model.risk_coverage, shown.guarantee)

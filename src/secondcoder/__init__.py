"""secondcoder: train a second coder on hand-labelled texts, judge it honestly, label the corpus.

The public names are imported on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secondcoder.corpus.checks import check as check
    from secondcoder.corpus.corpus import Corpus as Corpus
    from secondcoder.corpus.reading import read as read
    from secondcoder.errors import SecondcoderError as SecondcoderError
    from secondcoder.estimator import SentenceClassifier as SentenceClassifier
    from secondcoder.evaluation.evaluate import evaluate as evaluate
    from secondcoder.evaluation.evaluation import Evaluation as Evaluation
    from secondcoder.labelling.label import label as label
    from secondcoder.model.loading import load_model as load
    from secondcoder.model.model import Model as Model
    from secondcoder.runs.compare import compare as compare
    from secondcoder.runs.cross_fitting import cross_fit as cross_fit
    from secondcoder.runs.run import Run as Run
    from secondcoder.runs.train import train as train
    from secondcoder.runs.tune import tune as tune
    from secondcoder.splits.split import Split as Split
    from secondcoder.splits.split import split as split

_HOMES = {
    "Corpus": "corpus.corpus",
    "Evaluation": "evaluation.evaluation",
    "Model": "model.model",
    "Run": "runs.run",
    "SecondcoderError": "errors",
    "SentenceClassifier": "estimator",
    "Split": "splits.split",
    "check": "corpus.checks",
    "compare": "runs.compare",
    "cross_fit": "runs.cross_fitting",
    "evaluate": "evaluation.evaluate",
    "label": "labelling.label",
    "load": "model.loading:load_model",
    "read": "corpus.reading",
    "split": "splits.split",
    "train": "runs.train",
    "tune": "runs.tune",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.environment").prepare_environment()  # before transformers reads its environment
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted(_HOMES)

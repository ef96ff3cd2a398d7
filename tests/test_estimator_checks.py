"""scikit-learn's own checks, where they apply to text.

Its checks feed matrices of numbers, and so it runs none but the first on an estimator whose tags say that it takes
text only. Here each row of numbers is spelled out as a text, three words a number, and all the checks are run on that.
What they ask of parameters, tags, labels, shapes, cloning, pickling, repetition and order applies to text, and so does
their demand to learn three clouds of points. What they ask of numbers as numbers does not: `NOT_FOR_TEXT`. A check that
stands there and would pass, or that there is no more, fails a test.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import estimator_checks_generator

from secondcoder import SentenceClassifier
from tests.tiny import make_encoder

NOT_FOR_TEXT = {
    "check_complex_data": "asks for a message about complex numbers in X; here they are refused as labels in y",
    "check_estimators_empty_data_messages": "asks for a message about 0 features; the row is refused as an empty text",
    "check_estimators_nan_inf": "asks to refuse NaN and infinity among the numbers of X; spelled out, they are words",
    "check_fit2d_predict1d": "asks for advice to reshape a row of numbers; it is refused with advice to give strings",
    "check_n_features_in": "asks for n_features_in_, the number of columns; texts have none",
    "check_n_features_in_after_fitting": "asks for n_features_in_, and to compare it in predict; texts have no columns",
}


class OnNumbers(SentenceClassifier):
    """Spells out rows of numbers as texts; whatever else it is given, the estimator gets as it is."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> "OnNumbers":
        X = as_array(X)
        if is_matrix(X):
            self._width = X.shape[1]
        super().fit(spell(X), y, groups)
        return self

    def predict_proba(self, X: Any) -> Any:
        X = as_array(X)
        # One of the checks transposes X; that the model learns is its better half, and worth this line.
        if is_matrix(X) and X.shape[1] != getattr(self, "_width", X.shape[1]):
            raise ValueError(f"{X.shape[1]} numbers a row, and {self._width} when it was fitted.")
        return super().predict_proba(spell(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


def as_array(given: Any) -> Any:
    return given if hasattr(given, "todense") else np.asarray(given)


def is_matrix(given: Any) -> bool:
    return isinstance(given, np.ndarray) and given.ndim == 2 and given.dtype.kind != "c"


def spell(given: Any) -> Any:
    """Return a text for each row: -1.375 in the first column is "am2 7 5", its halves and the digits that are left."""
    if not is_matrix(given):
        return given
    return [" ".join(map(spell_number, "abcdefghijklmnopqrstuvwxyz", row)) for row in given]


def spell_number(column: str, number: Any) -> str:
    halves, rest = divmod(int(abs(number) * 200), 100)
    return f"{column}{'m' if number < 0 else 'p'}{halves} {rest // 10} {rest % 10}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder of spelled-out numbers in it."""
    folder = tmp_path_factory.mktemp("checks")
    make_encoder(folder / "tiny", spell(np.random.default_rng(0).normal(scale=1.5, size=(500, 10))))
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two hundred tiny fits: ten times slower where threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# The model is named relative to the working folder, as there is no fixture yet when checks are collected.
NUMBERS = OnNumbers(model="tiny", epochs=2, batch_size=8, learning_rate=0.003, device="cpu", freeze=0.0)


def checks_of(estimator: OnNumbers) -> list[Any]:
    """Return scikit-learn's checks; that of learning, and those that repeat another one, are slow."""
    checks = estimator_checks_generator(estimator, expected_failed_checks=NOT_FOR_TEXT, mark="xfail")
    return [
        pytest.param(*check, marks=pytest.mark.slow)
        if type(check) is tuple and (check[1].keywords or check[1].func.__name__ == "check_classifiers_train")
        else check
        for check in checks
    ]


def name_of(part: Any) -> str:
    """Return what a check is called, with what it is given; nothing of the estimator, which is always the same."""
    return "numbers" if isinstance(part, OnNumbers) else "-".join([part.func.__name__, *part.keywords])


@pytest.mark.parametrize(("estimator", "check"), checks_of(NUMBERS), ids=name_of)
@pytest.mark.usefixtures("one_thread")
def test_scikit_learn_s_checks_pass_on_numbers_spelled_out(
    estimator: OnNumbers, check: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if check.func.__name__ == "check_classifiers_train":  # the one that looks at what was learned, from 240 rows
        estimator = clone(estimator).set_params(epochs=12)
    check(estimator)


def test_every_excluded_check_is_one_that_scikit_learn_has() -> None:
    names = [check.func.__name__ for _, check in estimator_checks_generator(NUMBERS)]
    assert set(NOT_FOR_TEXT) <= set(names)
    assert len(names) > 50


def test_scikit_learn_has_one_check_only_for_an_estimator_of_text_and_it_passes() -> None:
    with pytest.warns(SkipTestWarning, match="requires input"):
        checks = list(estimator_checks_generator(SentenceClassifier()))
    assert [check.func.__name__ for _, check in checks] == ["check_estimator_cloneable"]
    checks[0][1](SentenceClassifier())


def test_tags_say_that_it_classifies_rows_of_text() -> None:
    tags = SentenceClassifier().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (True, True, False)
    assert tags.target_tags.required
    assert not tags.non_deterministic

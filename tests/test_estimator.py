import inspect
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import secondcoder as sc
from secondcoder import SentenceClassifier, estimator
from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import DataError, SettingsError, StorageError
from secondcoder.model.model import Model
from secondcoder.settings import DEFAULT_SEED, SplitSettings, TrainSettings
from secondcoder.splits.split import Split
from secondcoder.training.loop import Fit
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows

TEXTS, LABELS = (list(column) for column in zip(*make_rows(32), strict=True))
GROUPS = [f"g{i // 4}" for i in range(32)]

Tiny = Callable[..., SentenceClassifier]


@pytest.fixture
def tiny(encoder_folder: Path) -> Tiny:
    def make(**parameters: Any) -> SentenceClassifier:
        quick = {"epochs": 1, "batch_size": 8, "learning_rate": 0.005, "device": "cpu", "freeze": 0.0}
        return SentenceClassifier(model=str(encoder_folder), **(quick | parameters))

    return make


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Corpus]:
    """The train and dev parts of the last fit."""
    seen: dict[str, Corpus] = {}

    def spy(start: Any, train: Corpus, dev: Corpus, **rest: Any) -> tuple[Model, Fit]:
        seen.update(train=train, dev=dev)
        return real(start, train, dev, **rest)

    real = estimator.fit_seeds
    monkeypatch.setattr(estimator, "fit_seeds", spy)
    return seen


def test_it_learns_32_sentences(tiny: Tiny) -> None:
    classifier = tiny(epochs=20).fit(TEXTS, LABELS)
    assert classifier.score(TEXTS, LABELS) > 0.9
    assert len(classifier.history_) == 20
    assert classifier.history_[classifier.best_epoch_ - 1]["macro-f1"] == max(
        entry["macro-f1"] for entry in classifier.history_
    )


@pytest.mark.numeric
def test_it_gives_bit_for_bit_the_model_that_train_gives_on_the_same_parts(
    tiny: Tiny, parts: dict[str, Corpus], tmp_path: Path
) -> None:
    classifier = tiny(seed=7).fit(TEXTS, LABELS)
    split = Split(**parts, test=parts["dev"], by="stratified", settings=SplitSettings(), seed=7)
    settings = {field.name: getattr(classifier, field.name) for field in fields(TrainSettings)}
    run = sc.train(split, output=tmp_path / "run", seed=7, **settings)
    assert np.array_equal(run.model.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.numeric
def test_two_fits_with_one_seed_give_bit_identical_probabilities_and_another_seed_others(tiny: Tiny) -> None:
    first, second, other = (tiny(seed=seed).fit(TEXTS, LABELS).predict_proba(TEXTS) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_parameters_are_the_settings_of_training_and_four_more() -> None:
    parameters = inspect.signature(SentenceClassifier).parameters
    settings = {field.name: field.default for field in fields(TrainSettings)}
    assert {name: parameters[name].default for name in parameters if name in settings} == settings
    assert {name: parameters[name].default for name in parameters if name not in settings} == {
        "dev": SplitSettings().dev,
        "positive": None,
        "seed": DEFAULT_SEED,
        "progress": None,
    }
    assert {name: p.annotation for name, p in parameters.items() if name in settings} == {
        field.name: field.type for field in fields(TrainSettings)
    }


def test_a_clone_has_the_parameters_and_is_not_fitted(tiny: Tiny) -> None:
    fitted = tiny(positive="social", dev=6, progress=False).fit(TEXTS, LABELS)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy.get_params()["dev"] == 6
    assert copy.set_params(epochs=3).epochs == 3
    with pytest.raises(NotFittedError):
        copy.predict(TEXTS)


@pytest.mark.parametrize("use", ["predict", "predict_proba", "save"])
def test_what_needs_a_model_says_that_fit_comes_first(tiny: Tiny, use: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(tiny(), use)(TEXTS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"seed": None}, "seed is None"),
        ({"seed": -1}, "seed is -1"),
        ({"dev": 0}, "dev is 0"),
    ],
)
def test_a_parameter_out_of_bounds_is_refused_by_fit_and_not_before(
    tiny: Tiny, parameters: dict[str, Any], message: str
) -> None:
    classifier = tiny(**parameters)
    with pytest.raises(SettingsError, match=message):
        classifier.fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("pair", "dtype"),
    [
        (("economic", "social"), "U"),
        ((10, 2), "i"),
        ((0.0, 1.0), "f"),
        ((True, False), "b"),
    ],
)
def test_labels_come_back_in_the_type_that_they_came_in(tiny: Tiny, pair: tuple[Any, Any], dtype: str) -> None:
    y = [pair[label == "social"] for label in LABELS]
    classifier = tiny().fit(TEXTS, y)
    assert classifier.classes_.tolist() == sorted(pair)
    predicted = classifier.predict(TEXTS)
    assert predicted.dtype.kind == classifier.classes_.dtype.kind == dtype
    assert set(predicted.tolist()) <= set(pair)


@pytest.mark.parametrize("dtype", ["str", "object", "category"])
def test_pandas_columns_are_taken_whatever_their_index(tiny: Tiny, dtype: str) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": pd.Series(LABELS, dtype=dtype)}).set_index(pd.Index(range(100, 132)))
    expected = tiny().fit(TEXTS, LABELS)
    classifier = tiny().fit(frame["text"], frame["label"])
    assert np.array_equal(classifier.predict_proba(frame["text"]), expected.predict_proba(TEXTS))
    assert classifier.predict(frame["text"]).tolist() == expected.predict(TEXTS).tolist()


def test_columns_of_probabilities_follow_the_sorted_classes_where_the_model_orders_naturally(tiny: Tiny) -> None:
    y = [("a2", "a10", "b")[i % 3] for i in range(32)]
    classifier = tiny().fit(TEXTS, y)
    assert classifier.classes_.tolist() == ["a10", "a2", "b"]
    assert classifier.model_.label_names == ("a2", "a10", "b")
    probabilities = classifier.predict_proba(TEXTS)
    assert np.array_equal(probabilities, classifier.model_.predict_proba(TEXTS)[:, [1, 0, 2]])
    assert classifier.predict(TEXTS).tolist() == classifier.model_.predict(TEXTS)


def test_no_texts_have_no_labels(tiny: Tiny) -> None:
    classifier = tiny().fit(TEXTS, LABELS)
    assert classifier.predict([]).shape == (0,)
    assert classifier.predict_proba([]).shape == (0, 2)


def test_an_empty_text_is_refused_by_fit_and_by_predict(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match=r"X\[1\] is an empty text"):
        tiny().fit([TEXTS[0], " ", *TEXTS[2:]], LABELS)
    classifier = tiny().fit(TEXTS, LABELS)
    with pytest.raises(DataError, match=r"X\[1\] is an empty text"):
        classifier.predict([TEXTS[0], ""])


def test_dev_is_a_stratified_part_of_the_rows_and_shares_no_text_with_train(
    tiny: Tiny, parts: dict[str, Corpus]
) -> None:
    tiny(dev=0.25).fit([*TEXTS, *TEXTS], [*LABELS, *LABELS])
    assert parts["dev"].label_counts() == {"economic": 8, "social": 8}
    assert len(parts["train"]) == 48
    assert not set(parts["dev"].texts) & set(parts["train"].texts)


def test_with_groups_none_of_them_stands_in_train_and_dev(tiny: Tiny, parts: dict[str, Corpus]) -> None:
    tiny().fit(TEXTS, LABELS, groups=GROUPS)
    assert set(parts["train"].groups or ()) | set(parts["dev"].groups or ()) == set(GROUPS)
    assert not set(parts["train"].groups or ()) & set(parts["dev"].groups or ())


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (["rare", *LABELS[1:]], None, "The label 'rare' has 1 different text"),
        (LABELS, ["one"] * 32, r"1 group\(s\) for 2 parts"),
        (LABELS, LABELS, r"train has 16 rows with the labels \['(economic|social)'\]"),
    ],
)
def test_what_leaves_no_proper_dev_is_refused_with_a_cure(
    tiny: Tiny, labels: list[str], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}.*\nGive more") as caught:
        tiny().fit(TEXTS, labels, groups)
    assert isinstance(caught.value, DataError)


def test_the_positive_class_is_named_as_it_stands_in_y_and_chooses_the_epoch(tiny: Tiny) -> None:
    classifier = tiny(positive=1).fit(TEXTS, [int(label == "social") for label in LABELS])
    assert classifier.model_.card.positive == "1"
    assert "f1:1" in classifier.history_[0]


def test_it_ends_a_pipeline_that_hands_the_groups_on(tiny: Tiny, parts: dict[str, Corpus]) -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, tiny(epochs=20))
    pipeline.fit([text.upper() for text in TEXTS], LABELS, sentenceclassifier__groups=GROUPS)
    assert not set(parts["train"].groups or ()) & set(parts["dev"].groups or ())
    assert set(parts["train"].texts) < set(TEXTS)
    assert pipeline.score(TEXTS, LABELS) > 0.8


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_by_group_takes_dev_by_group_too(tiny: Tiny, parts: dict[str, Corpus], routing: bool) -> None:
    classifier, groups = tiny(), np.array(GROUPS)
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            classifier.set_fit_request(groups=True)
            scores = cross_val_score(classifier, TEXTS, LABELS, cv=GroupKFold(2), params={"groups": groups})
        else:
            scores = cross_val_score(
                classifier, TEXTS, LABELS, cv=GroupKFold(2), groups=groups, params={"groups": groups}
            )
    assert scores.shape == (2,)
    assert len(parts["train"]) + len(parts["dev"]) == 16
    assert not set(parts["train"].groups or ()) & set(parts["dev"].groups or ())


@pytest.mark.slow
def test_a_search_over_epochs_takes_numpy_s_whole_numbers_and_refits_the_best(tiny: Tiny) -> None:
    texts, labels = zip(*make_rows(120), strict=True)
    search = GridSearchCV(tiny(), {"epochs": np.array([1, 12])}, cv=2, error_score="raise").fit(texts, labels)
    assert search.best_params_ == {"epochs": 12}
    assert len(search.best_estimator_.history_) == 12
    assert search.predict(TEXTS).shape == (32,)


def test_what_is_saved_is_loaded_by_secondcoder_and_writes_over_nothing(tiny: Tiny, tmp_path: Path) -> None:
    classifier = tiny().fit(TEXTS, LABELS)
    classifier.save(tmp_path / "model")
    assert np.array_equal(sc.load(tmp_path / "model").predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    with pytest.raises(StorageError, match="already there"):
        classifier.save(tmp_path)
    assert (tmp_path / "model").is_dir()


def test_fit_leaves_no_file_behind(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tiny().fit(TEXTS, LABELS)
    assert not list(tmp_path.iterdir())


def test_an_interruption_goes_up_and_leaves_what_was_fitted_before(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = tiny().fit(TEXTS, LABELS)
    before = classifier.predict_proba(TEXTS)
    real = Stepper.take

    def press(self: Stepper, *given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", press)
    with pytest.raises(KeyboardInterrupt):
        classifier.set_params(seed=7).fit(TEXTS, LABELS)
    assert np.array_equal(classifier.predict_proba(TEXTS), before)


def test_progress_is_shown_where_it_is_asked_for(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny().fit(TEXTS, LABELS)
    assert capsys.readouterr() == ("", "")
    tiny(progress=True).fit(TEXTS, LABELS)
    out, err = capsys.readouterr()
    assert not out
    assert "epoch 1/1: loss" in err

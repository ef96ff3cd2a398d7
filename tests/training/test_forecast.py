from dataclasses import replace

import pytest

from secondcoder.errors import SplitError
from secondcoder.evaluation.evaluate import evaluate_rows
from secondcoder.settings import TrainSettings
from secondcoder.training import forecast as module
from secondcoder.training.forecast import forecast
from secondcoder.training.recipes import cross_validate


@pytest.fixture
def settings(encoder_folder):
    return TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")


def test_labels_promise_what_rows_get_from_models_that_have_not_learned_from_them(corpus, settings):
    corpus = replace(corpus.take(range(60)), groups=None)
    found = forecast(corpus, settings, seed=1)
    assert (found.rows, found.drawn_from) == (60, 60)
    said = cross_validate(corpus, settings, seed=1)
    assert list(found.evaluations) == ["frozen", "tfidf"] == list(said)
    for way, evaluation in found.evaluations.items():
        assert evaluation.headline == evaluate_rows(corpus, said[way]).headline
    assert "With 60 labels of train expect macro-F1 about " in found.sentence
    assert "(TF-IDF); by cross-validation." in found.sentence
    figure = found.to_dict()["figures"]["tfidf"]
    assert figure["low"] <= figure["value"] <= figure["high"]


def test_of_many_or_long_texts_some_are_drawn_and_of_few_nothing_is_said(corpus, settings, monkeypatch):
    simple = TrainSettings(model="tfidf")
    assert forecast(corpus.take(range(39)), simple, seed=1) is None
    monkeypatch.setattr(module, "_MOST_ROWS", 60)
    found = forecast(replace(corpus, groups=None), simple, seed=1)
    assert (found.rows, list(found.evaluations)) == (60, ["tfidf"])
    assert "With 60 of the 120 labels of train expect macro-F1" in found.sentence
    monkeypatch.setattr(module, "_MOST_CHARACTERS", 10)
    assert forecast(replace(corpus, groups=None), simple, seed=1).rows == 40
    with pytest.raises(SplitError):
        forecast(replace(corpus, groups=("one",) * 60 + ("two",) * 60), simple, seed=1)

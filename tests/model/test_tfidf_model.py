"""TF-IDF with logistic regression as a classifier: what it says, its folder, and the words that it goes by."""

import json

import numpy as np
import pyarrow as pa
import pytest

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.errors import DataError, ModelError
from secondcoder.evaluation.calibration import TEMPERATURES
from secondcoder.model.loading import load_model
from secondcoder.model.tfidf_model import TfidfModel
from secondcoder.settings import TrainSettings
from secondcoder.training.tfidf_classifier import fit_tfidf
from tests.tiny import make_rows


def corpus_of(texts: list[str], labels: list[str], names: tuple[str, ...] = ("economic", "social")) -> Corpus:
    ids = tuple(map(str, range(len(texts))))
    source = Source("test", "0", {"text": "sentence"})
    return Corpus(
        ids=ids,
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=names,
        columns=pa.table({"text": texts}),
        source=source,
    )


@pytest.fixture(scope="module")
def model() -> TfidfModel:
    texts, labels = map(list, zip(*make_rows(120), strict=True))
    train, dev = corpus_of(texts[:80], labels[:80]), corpus_of(texts[80:], labels[80:])
    found, _ = fit_tfidf(train, dev, settings=TrainSettings(model="tfidf"), seed=0)
    found.temper(0.5)
    return found


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_what_was_saved_is_loaded_to_the_same_bits(model, folder):
    saved = load_model(folder)
    texts = [text for text, _ in make_rows(50, seed=3)]
    np.testing.assert_array_equal(saved.logits(texts), model.logits(texts))
    assert (saved.card, saved.sha256) == (model.card, model.sha256)
    assert (saved.text_column, saved.card.temperature) == ("sentence", 0.5)
    assert sum(n for _, n in saved.parts()) == saved.n_parameters
    json.dumps(saved.summary())


def test_a_text_is_scored_alike_whatever_is_beside_it(model, monkeypatch):
    texts = [*(text for text, _ in make_rows(40, seed=3)), "tax", "Ünïcode", "?!", "x" * 5000]
    together = model.logits(texts)
    np.testing.assert_array_equal(together[::-1], model.logits(texts[::-1]))
    np.testing.assert_array_equal(together, np.concatenate([model.logits([text]) for text in texts]))
    monkeypatch.setattr("secondcoder.model.tfidf_model._MOST_CHARACTERS", 100)
    np.testing.assert_array_equal(together, model.logits(texts))
    with pytest.raises(DataError, match="Text 2 is empty"):
        model.predict(["tax", " "])


@pytest.mark.parametrize("fault", ["missing", "cut", "other"])
def test_a_folder_that_is_not_whole_is_refused(folder, fault):
    path = folder / "tfidf.safetensors"
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        card = json.loads((folder / "secondcoder.json").read_text()) | {"label_names": ["economic", "other", "social"]}
        (folder / "secondcoder.json").write_text(json.dumps(card))
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert str(folder) in caught.value.what
    assert caught.value.cure


def test_a_class_that_train_does_not_have_is_never_given():
    texts, labels = map(list, zip(*make_rows(100), strict=True))
    names = ("economic", "never", "social")
    dev = corpus_of([*texts[80:], "a tax"], [*labels[80:], "never"], names)
    train = corpus_of(texts[:80], labels[:80], names)
    model, fit = fit_tfidf(train, dev, settings=TrainSettings(model="tfidf"), seed=0)
    assert np.isfinite(fit.best_scores.logits).all()
    assert 0 < model.best_temperature(np.array([*[0, 2] * 10, 1]), fit.best_scores) < 20
    for temperature in (*TEMPERATURES, 1.0):
        model.temper(temperature)
        assert model.predict_proba(texts)[:, 1].max() < 1e-12


def test_words_are_credited_with_what_they_add_to_the_margin(model):
    text = "the Tax, tax market of schools"
    found = model.explain([text], ["economic"]).texts[0]
    assert [text[word.start : word.end] for word in found.words] == text.split()
    weights = dict(zip(text.split(), (word.weight for word in found.words), strict=True))
    assert weights["market"] > 0 > weights["schools"]
    # Two classes: the margin is the difference of their logits; without any known term it is that of the intercepts.
    logits = model.logits([text, "☃"])
    margins = logits[:, 0] - logits[:, 1]
    assert found.margin == pytest.approx(margins[0], rel=1e-4)
    assert found.total == pytest.approx(margins[0] - margins[1], rel=1e-3)
    texts = [text for text, _ in make_rows(8, seed=5)]
    assert model.explain(texts, ["economic"] * 8).occlusion > 0.5


def test_characters_are_found_where_they_stand(model):
    terms = model.learned.terms
    for text in ("The TAXES, a  school\tof İstanbul", "a", "x!"):
        values = terms.transform([text])
        held = terms.held(text)
        assert {column for column, _, _ in held} == set(values.indices.tolist())
        assert all(0 <= start < end <= len(text) and text[start:end].strip() for _, start, end in held)

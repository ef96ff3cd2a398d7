import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import secondcoder as sc
from secondcoder.evaluation.tasks import task_rules
from secondcoder.progress import Progress
from secondcoder.runs.cross_fitting import cross_fit
from secondcoder.settings import TrainSettings
from secondcoder.training import embedding_baseline
from secondcoder.training.baselines import EMBEDDING_FILE, fit_baselines
from secondcoder.training.embedding_baseline import EmbeddingLogistic, sentence_embeddings
from secondcoder.training.loop import fit
from secondcoder.training.seeds import start_for
from tests.tiny import make_rows


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture(scope="module")
def sentence_folder(encoder_folder, tmp_path_factory):
    """A tiny encoder that says of itself that it takes the mean over tokens, as sentence-transformers do."""
    folder = tmp_path_factory.mktemp("sentences") / "encoder"
    shutil.copytree(encoder_folder, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture
def settings(sentence_folder):
    return TrainSettings(model=str(sentence_folder), device="cpu", precision="fp32")


@pytest.fixture
def train(corpus):
    return replace(corpus.take(range(60)), groups=None)


def fitted(settings, train, dev=None):
    embeddings = sentence_embeddings(settings, train, progress=Progress())
    return EmbeddingLogistic(embeddings, task_rules(train.task)).fit(train, dev)


def test_it_says_what_the_recipe_frozen_would(corpus, settings, train, tmp_path):
    frozen = replace(settings, recipe="frozen", effort="quick").resolved()
    model = start_for(train, frozen, seed=1)
    judged = corpus.take(range(60, 120))
    fit(model, train, judged, settings=frozen, seed=1, checkpoints=tmp_path / "c", judge_each=False)
    found = fitted(settings, train).predict_proba(judged.texts)
    assert np.allclose(found, model.predict_proba(judged.texts), atol=1e-4)


def test_it_is_the_same_after_it_was_kept_and_not_of_other_weights(corpus, settings, train, tmp_path):
    dev, judged = corpus.take(range(60, 90)), corpus.take(range(90, 120))
    found = fitted(settings, train, dev)
    assert found.temperature != 1.0
    found.save(tmp_path / "kept")
    embeddings, rules = sentence_embeddings(settings, train, progress=Progress()), task_rules(train.task)
    again = EmbeddingLogistic.load(tmp_path / "kept", embeddings, rules)
    assert np.array_equal(again.predict_proba(judged.texts), found.predict_proba(judged.texts))
    assert again.given == found.given
    assert EmbeddingLogistic.load(tmp_path / "nothing", embeddings, rules) is None
    vars(embeddings)["sha256"] = "of others"
    assert EmbeddingLogistic.load(tmp_path / "kept", embeddings, rules) is None


def test_each_text_is_read_once(settings, train, monkeypatch):
    read = []
    real = embedding_baseline.head_features

    def reading(model, inputs, progress):
        read.append(len(inputs.lengths))
        return real(model, inputs, progress)

    monkeypatch.setattr(embedding_baseline, "head_features", reading)
    embeddings = sentence_embeddings(settings, train, progress=Progress())
    twice = embeddings.of([*train.texts, *train.texts])
    assert np.array_equal(twice[:60], twice[60:])
    assert np.array_equal(embeddings.of(train.texts[:3]), twice[:3])
    assert read == [len(set(train.texts))]


def test_there_is_none_where_the_model_is_not_made_for_it_or_cannot_be_had(encoder_folder, settings, train, tmp_path):
    def said(*given):
        progress = Told()
        return sentence_embeddings(*given, progress=progress) is not None, progress.said

    assert said(settings, train) == (True, [])
    soft = replace(train, shares=np.full((60, 2), 0.5))
    for these, rows in (
        (replace(settings, model=str(encoder_folder)), train),
        (replace(settings, recipe="frozen"), train),
        (TrainSettings(model="tfidf"), train),
        (settings, soft),
    ):
        assert said(these, rows) == (False, [])
    found, told = said(replace(settings, model=str(tmp_path / "gone")), train)
    assert not found
    assert told[0].startswith("The baseline of sentence embeddings is left out: ")


def test_of_several_classes_a_text_there_is_a_regression_each(settings, tmp_path):
    rows = [
        {"text": f"{text} {i}", "label": [label] if i % 3 else ["economic", "social"]}
        for i, (text, label) in enumerate(make_rows(60))
    ]
    train = sc.read(rows, text="text", label="label")
    embeddings = sentence_embeddings(settings, train, progress=Progress())
    for _ in range(2):
        found = fit_baselines(train, train, kept=tmp_path, embeddings=embeddings)["embedding-logistic"]
        assert set(found.thresholds) == set(train.label_names)
        assert found.predict_proba(train.texts).shape == (60, 2)
        assert (tmp_path / EMBEDDING_FILE).is_file()


def test_of_one_label_nothing_is_learned(settings, train):
    same = replace(train, labels=("economic",) * 60)
    embeddings = sentence_embeddings(settings, same, progress=Progress())
    assert list(fit_baselines(same, embeddings=embeddings)) == ["majority", "tfidf-logistic"]


def test_a_run_tells_of_it_on_dev_on_test_and_in_folds(sentence_folder, tmp_path):
    rows = [{"text": text, "area": label} for text, label in make_rows(100)]
    parts = sc.split(sc.read(rows, text="text", label="area"), seed=7)
    run = sc.train(
        parts, output=tmp_path / "run", model=str(sentence_folder), device="cpu", precision="fp32", recipe="full",
        epochs=1, learning_rate=1e-4,
    )  # fmt: skip
    run.evaluate()
    cross_fit(run, 2)
    for part in ("dev", "test", "folds"):
        assert set(run.evaluations[part]) == {"model", "majority", "tfidf-logistic", "embedding-logistic"}
        assert "embedding-logistic" in run.leads[part]
    report = (run.folder / "report.html").read_text()
    assert "Sentence embedding + logistic regression" in report
    assert "before any training, the mean over 64 tokens at most" in report
    assert (run.folder / EMBEDDING_FILE).is_file()

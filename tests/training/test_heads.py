import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from secondcoder.corpus.reading import read
from secondcoder.environment import one_blas_thread
from secondcoder.errors import InterruptedRunError
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.backends import computing
from secondcoder.model.loading import start_model
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.heads import start_from_logistic
from secondcoder.training.loop import fit
from secondcoder.training.seeds import fit_seeds
from tests.precision import PRECISION
from tests.tiny import make_rows


@pytest.fixture
def model(encoder_folder):
    return start_model(TrainSettings(model=str(encoder_folder), device="cpu"), label_names=("a", "b", "c"), seed=1)


def pooled(model, texts):
    """Return what the head reads, in the model's precision; in float64, as it differs by less than a thousandth."""
    encoded = model.encoder.encode(texts)
    shape = (len(texts), int(encoded.lengths.max()))
    model.network.eval()
    with torch.no_grad(), computing(model.backend.device, model.precision):
        read = model.network.bert(**model.encoder.batch(encoded, np.arange(len(texts)), shape)).pooler_output
    return read.double().numpy()


def start(model, texts, targets):
    inputs = TokenInputs(model.encoder, model.encoder.encode(texts))
    start_from_logistic(model, inputs, np.array(targets), progress=Progress())


def test_regressions_are_fitted_in_one_thread_of_blas(model, monkeypatch):
    """The threads would wait for each other at every small step, and crawl beside other programs."""
    seen = set()

    def watched(self, *args, **kwargs):
        seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fitted(self, *args, **kwargs)

    fitted = LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", watched)
    texts = [text for text, _ in make_rows(12)]
    with threadpool_limits(2, user_api="blas"):
        start(model, texts, [0, 1, 2] * 4)
        assert seen == {1}
        seen.clear()
        fit_baselines(
            read([{"text": text, "label": "abc"[i % 3]} for i, text in enumerate(texts)], text="text", label="label")
        )
        assert seen == {1}
        after = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert after == {2}


def test_two_fits_at_a_time_leave_blas_as_it_was():
    """The limit is the whole process's: the second to leave must not put back what the first one had set."""
    entered, left = threading.Event(), threading.Event()

    def second():
        entered.set()
        with one_blas_thread():
            left.wait()

    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        thread = threading.Thread(target=second)
        with one_blas_thread():
            thread.start()
            entered.wait()
        left.set()
        thread.join()
        assert threads() == {2}


def centred(features):
    """Around zero, at a mean length of one."""
    found = features - features.mean(axis=0)
    return found / np.sqrt((found**2).sum(axis=1).mean())


@pytest.mark.numeric
def test_the_head_gives_the_probabilities_of_a_logistic_regression(model):
    """Too few rows to choose by cross-validation: C is fixed, and the reference is scikit-learn's own."""
    texts = [text for text, _ in make_rows(12)]
    targets = [0, 1, 2] * 4
    features = pooled(model, texts)
    scaled = centred(features)
    reference = LogisticRegression(C=10, max_iter=1000).fit(scaled, targets)
    start(model, texts, targets)
    assert np.allclose(model.predict_proba(texts), reference.predict_proba(scaled), atol=1e-4)


@pytest.mark.numeric
def test_of_two_classes_each_gets_half_of_the_difference(model):
    texts = [text for text, _ in make_rows(40)]
    start(model, texts, [0, 2] * 20)
    weight, bias = model.network.classifier.weight.detach(), model.network.classifier.bias.detach()
    assert torch.allclose(weight[0], -weight[2], atol=1e-6)
    assert float(bias[0]) == pytest.approx(-float(bias[2]), abs=1e-6)


def test_a_class_without_rows_keeps_its_weights(model):
    texts = [text for text, _ in make_rows(40)]
    before = model.network.classifier.weight[1].clone()
    start(model, texts, [0, 2] * 20)
    assert torch.equal(model.network.classifier.weight[1], before)


@pytest.mark.numeric
def test_where_a_text_may_have_several_classes_each_has_a_regression_of_its_own(model):
    texts = [text for text, _ in make_rows(6)]
    model.card = replace(model.card, task="multi-label")
    before = model.network.classifier.weight[2].clone()
    sets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
    features = pooled(model, texts)
    scaled = centred(features)
    start(model, texts, sets)
    p = model.predict_proba(texts)
    for i in range(2):
        reference = LogisticRegression(C=10, max_iter=1000).fit(scaled, sets[:, i])
        assert np.allclose(p[:, i], reference.predict_proba(scaled)[:, 1], atol=1e-4)
    assert torch.equal(model.network.classifier.weight[2], before)


@pytest.fixture
def train_and_dev(corpus):
    return corpus.take(range(80)), corpus.take(range(80, 120))


@pytest.mark.numeric
def test_dev_may_choose_the_head_as_it_started(encoder_folder, train_and_dev, tmp_path):
    """At a rate of almost nothing the epochs can only be as good, and the first of the best is kept."""
    settings = TrainSettings(
        model=str(encoder_folder), device="cpu", effort="quick", learning_rate=1e-12, epochs=1, precision=PRECISION
    )
    model = start_model(settings, label_names=train_and_dev[0].label_names, seed=1)
    result = fit(model, *train_and_dev, settings=settings, seed=1, checkpoints=tmp_path)
    assert [entry["epoch"] for entry in result.history] == [0, 1]
    assert result.best_epoch == 0
    targets = gold_of(train_and_dev[1], model.label_names)
    assert result.history[0]["accuracy"] == np.mean(result.best_scores.logits.argmax(axis=1) == targets)


def test_the_best_of_several_seeds_is_kept_and_a_stop_between_them_costs_nothing(
    encoder_folder, train_and_dev, tmp_path
):
    settings = TrainSettings(
        model=str(encoder_folder), device="cpu", epochs=2, seeds=3, freeze=0.0, learning_rate=5e-3, precision=PRECISION
    )

    def run(folder, *, stop_at=99, resume=False):
        entries = []

        def tell(entry):
            entries.append(entry)
            if len(entries) == stop_at:
                raise InterruptedRunError("stopped", "")

        model, result = fit_seeds(
            lambda seed: start_model(settings, label_names=train_and_dev[0].label_names, seed=seed),
            *train_and_dev,
            settings=settings,
            seed=5,
            checkpoints=folder,
            resume=resume,
            progress=Progress(),
            on_evaluation=tell,
        )
        return model, result, entries

    model, result, entries = run(tmp_path / "whole")
    assert [(entry["seed"], entry["epoch"]) for entry in entries] == [(s, e) for s in (5, 6, 7) for e in (1, 2)]
    assert set(result.seed_figures) == {"5", "6", "7"}
    assert result.best == max(result.seed_figures.values()) == result.seed_figures[str(result.seed)]
    with pytest.raises(InterruptedRunError):
        run(tmp_path / "stopped", stop_at=3)
    again, resumed, _ = run(tmp_path / "stopped", resume=True)
    assert resumed.seed_figures == result.seed_figures
    state = model.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.network.state_dict().items())

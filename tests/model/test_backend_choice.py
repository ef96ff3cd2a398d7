from dataclasses import replace

import numpy as np
import pytest

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model import backend_choice
from secondcoder.model.backend_choice import DevReference, choose_backend
from secondcoder.model.loading import start_model
from secondcoder.model.model import Scores
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from tests.tiny import make_rows

ROWS = make_rows(520, seed=5)


@pytest.fixture
def model(encoder_folder):
    settings = TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")
    return start_model(settings, label_names=("economic", "social"), seed=3)


class Telling(Progress):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


def judges(model, n=520):
    texts = [text for text, _ in ROWS[:n]]
    gold = np.array([model.label_names.index(label) for _, label in ROWS[:n]])
    return DevReference(texts[:32], texts, gold, model.score(texts))


def off_by(monkeypatch, *shares):
    """Let what is tried, one after the other, give other labels for these shares of dev."""
    left = list(shares)

    def score(self, texts, *, progress=None, first_row=0):
        logits = np.stack([np.zeros(len(texts)), np.ones(len(texts))], axis=1).astype(np.float32)
        logits[: round(left.pop(0) * len(texts))] *= -1
        return Scores(logits, np.zeros(len(texts), bool), np.ones(len(texts), int))

    monkeypatch.setattr("secondcoder.model.model.Model.score", score)


def all_second(given):
    logits = np.stack([np.zeros(len(given.texts)), np.ones(len(given.texts))], axis=1).astype(np.float32)
    return replace(given, reference=replace(given.reference, logits=logits))


@pytest.mark.usefixtures("openvino")
def test_int8_labels_where_dev_gets_the_same_labels(model, monkeypatch):
    given, progress = all_second(judges(model)), Telling()
    off_by(monkeypatch, 0.004)
    choice = choose_backend(model, "auto", given, progress)
    assert (model.card.backend, model.card.precision) == ("openvino", "int8")
    assert choice.reason.startswith("int8 by OpenVINO")
    assert [check.n for check in choice.checks] == [520]
    assert any("int8" in sentence for sentence in progress.said)


@pytest.mark.usefixtures("openvino")
def test_int8_that_labels_otherwise_is_tried_two_ways_and_dropped(model, monkeypatch):
    given = all_second(judges(model))
    off_by(monkeypatch, 0.02, 0.01, 0.0)
    choice = choose_backend(model, "auto", given, Progress())
    assert (model.card.backend, model.card.precision) == ("openvino", choice.checks[-1].precision)
    assert [check.passed for check in choice.checks] == [False, False, True]
    assert model.card.precision != "int8"
    assert "int8 labels otherwise" in choice.reason


@pytest.mark.usefixtures("openvino")
@pytest.mark.slow
def test_where_even_plain_arithmetic_labels_otherwise_torch_does(model, monkeypatch):
    given, before = all_second(judges(model)), model.backend
    off_by(monkeypatch, 0.5, 0.5, 0.5)
    choice = choose_backend(model, "auto", given, Progress())
    assert model.backend is before
    assert (model.card.backend, choice.scores) == ("torch", given.reference)
    off_by(monkeypatch, 0.5, 0.5, 0.5)
    with pytest.raises(ModelError, match="labels otherwise"):
        choose_backend(model, "openvino", given, Progress())


@pytest.mark.usefixtures("openvino")
def test_a_dev_too_small_to_judge_int8_gives_plain_openvino_and_its_scores_are_returned(model):
    choice = choose_backend(model, "auto", judges(model, 60), Progress())
    assert model.card.backend == "openvino"
    assert model.card.precision in ("fp32", "bf16")
    assert "dev has 60 rows" in choice.reason
    assert np.array_equal(choice.scores.logits, model.score([text for text, _ in ROWS[:60]]).logits)


@pytest.mark.usefixtures("openvino")
def test_what_cannot_be_converted_is_labelled_by_torch_with_the_reason(model, monkeypatch):
    def fail(*_):
        raise ModelError("OpenVINO cannot convert Odd: no such operator.")

    given = judges(model, 60)
    monkeypatch.setattr(backend_choice, "convert", fail)
    assert "cannot convert Odd" in choose_backend(model, "auto", given, Progress()).reason
    assert model.card.backend == "torch"
    with pytest.raises(ModelError, match="cannot convert Odd"):
        choose_backend(model, "openvino", given, Progress())


@pytest.mark.usefixtures("openvino")
def test_a_failing_quantisation_costs_int8_only(model, monkeypatch):
    def fail(*_):
        raise ModelError("nncf cannot quantise the network: odd.")

    monkeypatch.setattr(backend_choice, "quantised", fail)
    monkeypatch.setattr(backend_choice, "compressed", fail)
    choice = choose_backend(model, "auto", judges(model), Progress())
    assert (model.card.backend, model.card.precision == "int8") == ("openvino", False)
    assert "nncf cannot quantise" in choice.reason


def test_without_the_extra_torch_labels_and_asking_for_openvino_is_an_error(model, monkeypatch):
    given = judges(model, 60)
    choice = choose_backend(model, "auto", given, Progress())  # as conftest leaves it
    assert choice.reason == "torch: the extra fast is not installed."
    monkeypatch.setattr("secondcoder.model.openvino_backend._is_there", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"secondcoder\[fast\]"):
        choose_backend(model, "openvino", given, Progress())


def test_sets_of_labels_agree_where_all_decisions_do_at_their_thresholds():
    logits = np.zeros((4, 2), np.float32)
    plain = Scores(logits, np.zeros(4, bool), np.ones(4, int), task="multi-label")
    other = replace(plain, logits=logits + np.array([[0, 0], [0, 0], [0, 0], [-0.5, 0]], np.float32))
    gold = np.array([[True, True]] * 4)
    given = DevReference([], ["x"] * 4, gold, plain, lambda p: p >= np.array([0.45, 0.5]))
    found = backend_choice.compare(other, given, backend="openvino", precision="fp32", k=2)
    assert (found.agreement, found.reference_macro_f1, found.passed) == (0.75, 1.0, False)
    assert found.macro_f1 == pytest.approx((6 / 7 + 1) / 2)
    lower = replace(given, decide=lambda p: p >= 0.3)
    assert backend_choice.compare(other, lower, backend="openvino", precision="fp32", k=2).agreement == 1.0

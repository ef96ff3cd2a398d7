"""Trainings with adapters, class weights and checkpointed activations, through the loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from secondcoder.model.loading import load_model
from secondcoder.settings import TrainSettings
from secondcoder.training.loop import fit
from secondcoder.training.steps import Stepper
from secondcoder.training.trainable import hold, peak_rate
from tests.training.networks import config_of
from tests.training.test_checkpoints import BREAK, Cut
from tests.training.test_loop import run, settings_for, start, weights


@pytest.fixture
def train_and_dev(corpus):
    return corpus.take(range(80)), corpus.take(range(80, 120))


def bits(model, result):
    history = [{name: value for name, value in e.items() if "second" not in name} for e in result.history]
    return {name: tensor.tolist() for name, tensor in weights(model).items()}, history


def cut_off(monkeypatch):
    real, calls = Stepper.take, []

    def take(self, *given, **named):
        calls.append(given)
        if len(calls) == BREAK:
            raise Cut
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", take)


def test_adapters_learn_and_end_in_an_ordinary_model(encoder_folder, train_and_dev, tmp_path):
    settings = settings_for(encoder_folder, lora=16, learning_rate=5e-3, epochs=10)
    model, result = run(train_and_dev, settings, tmp_path / "checkpoints")
    plain = start(settings)
    assert result.best > 0.75
    assert weights(model).keys() == weights(plain).keys()
    embeddings = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(weights(model)[embeddings], weights(plain)[embeddings])
    # What is judged is what the merged weights say, to the last bit.
    np.testing.assert_array_equal(result.best_scores.logits, model.score(train_and_dev[1].texts).logits)
    model.save(tmp_path / "model")
    texts = train_and_dev[1].texts
    np.testing.assert_array_equal(load_model(tmp_path / "model", device="cpu").logits(texts), model.logits(texts))


def test_checkpoints_hold_adapters_and_head_only(encoder_folder, train_and_dev, tmp_path):
    import safetensors.torch

    run(train_and_dev, settings_for(encoder_folder, lora=2, epochs=1), tmp_path)
    (path,) = tmp_path.glob("checkpoint-*/weights.safetensors")
    names = safetensors.torch.load_file(path)
    assert names
    assert all(".lora_" in name or "pooler" in name or name.startswith("classifier") for name in names)


@pytest.mark.parametrize(
    "changes",
    [{"lora": 2}, {"lora": 2, "freeze": 0.5, "checkpoint_activations": True}, {"class_weights": "balanced"}],
    ids=lambda changes: " ".join(changes),
)
def test_cut_off_and_resumed_it_ends_with_the_same_bits(encoder_folder, train_and_dev, tmp_path, monkeypatch, changes):
    settings = settings_for(encoder_folder, checkpoint_minutes=0, **changes)
    expected = bits(*run(train_and_dev, settings, tmp_path / "alone"))
    with monkeypatch.context() as patched:
        cut_off(patched)
        with pytest.raises(Cut):
            run(train_and_dev, settings, tmp_path / "cut")
    assert bits(*run(train_and_dev, settings, tmp_path / "cut", resume=True)) == expected


@pytest.mark.parametrize("changes", [{}, {"freeze": 0.5}, {"token_budget": 64}], ids=["all", "half frozen", "cut"])
def test_computing_layers_again_changes_no_bit(encoder_folder, train_and_dev, tmp_path, changes):
    settings = settings_for(encoder_folder, epochs=1, **changes)
    expected = bits(*run(train_and_dev, settings, tmp_path / "kept"))
    again = replace(settings, checkpoint_activations=True)
    assert bits(*run(train_and_dev, again, tmp_path / "again")) == expected


def test_class_weights_move_labels_to_the_weighty_class(encoder_folder, train_and_dev, tmp_path):
    train, dev = train_and_dev
    rare = [i for i, label in enumerate(train.labels) if label == "social"][:6]
    few = train.take(sorted([*(i for i, label in enumerate(train.labels) if label == "economic"), *rare]))
    given = []
    for i, class_weights in enumerate((None, "balanced", {"economic": 1, "social": 40})):
        settings = settings_for(encoder_folder, class_weights=class_weights, head_start="logistic", epochs=2)
        model = start(settings)
        result = fit(model, few, dev, settings=settings, seed=1, checkpoints=tmp_path / str(i))
        column = model.label_names.index("social")
        given.append(float(result.best_scores.probabilities[:, column].mean()))
        expected = {"economic": 46 / 80, "social": 46 / 12}
        assert result.class_weights == [None, pytest.approx(expected), result.class_weights][i]
        assert result.summary()["class_weights"] == result.class_weights
    assert given[0] < given[1] < given[2]


def test_adapters_take_ten_times_the_rate_and_all_layers_unless_told():
    config = config_of("bert")
    assert peak_rate(config, TrainSettings()) == 1e-4
    assert peak_rate(config, TrainSettings(lora=8)) == pytest.approx(1e-3)
    assert peak_rate(config, TrainSettings(lora=8, learning_rate=3e-4)) == 3e-4
    for effort in ("quick", "normal", "thorough"):
        assert TrainSettings(lora=8, effort=effort).resolved().freeze == 0
    assert TrainSettings(lora=8, freeze=0.5).resolved().freeze == 0.5


def test_whatever_is_held_the_head_is_trained(encoder_folder):
    for changes in ({}, {"freeze": 1.0}, {"lora": 2}, {"lora": 2, "freeze": 0.5}):
        settings = settings_for(encoder_folder, **changes)
        network = start(settings).network
        hold(network, settings)
        assert all(p.requires_grad for p in network.classifier.parameters())

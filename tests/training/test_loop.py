import json

import numpy as np
import pytest
import torch

from secondcoder.errors import ModelError
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.model.loading import start_model
from secondcoder.settings import TrainSettings
from secondcoder.training import loop
from secondcoder.training.loop import Fit, fit
from secondcoder.training.steps import make_optimizer, schedule
from tests.precision import PRECISION
from tests.tiny import make_rows


@pytest.fixture
def train_and_dev(corpus):
    return corpus.take(range(80)), corpus.take(range(80, 120))


def start(settings: TrainSettings, seed: int = 1):
    return start_model(settings, label_names=("economic", "social"), seed=seed, positive=None)


def settings_for(encoder_folder, **changes) -> TrainSettings:
    defaults = {
        "model": str(encoder_folder),
        "device": "cpu",
        "precision": PRECISION,
        "learning_rate": 5e-3,
        "epochs": 3,
        "freeze": 0.0,
    }
    return TrainSettings(**{**defaults, **changes})


def run(train_and_dev, settings, folder, seed=1, **more):
    model = start(settings, seed)
    return model, fit(model, *train_and_dev, settings=settings, seed=seed, checkpoints=folder, **more)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def test_it_learns_what_a_tiny_model_can_learn(encoder_folder, train_and_dev, tmp_path):
    model, result = run(train_and_dev, settings_for(encoder_folder, epochs=12), tmp_path)
    assert result.history[-1]["macro-f1"] > 0.9
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2
    unseen = make_rows(60, seed=9)
    right = [label == found for (_, label), found in zip(unseen, model.predict(t for t, _ in unseen), strict=True)]
    assert sum(right) > 54


@pytest.mark.numeric
def test_two_runs_with_one_seed_have_the_same_bits_and_another_seed_has_others(encoder_folder, train_and_dev, tmp_path):
    settings = settings_for(encoder_folder, epochs=2)
    (first, a), (again, b), (other, _) = (
        run(train_and_dev, settings, tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(first).items())
    assert not torch.equal(weights(first)["classifier.weight"], weights(other)["classifier.weight"])
    timeless = [[{k: v for k, v in e.items() if "second" not in k} for e in r.history] for r in (a, b)]
    assert timeless[0] == timeless[1]


def test_training_leaves_the_global_random_state_alone(encoder_folder, train_and_dev, tmp_path):
    before = torch.random.get_rng_state()
    run(train_and_dev, settings_for(encoder_folder, epochs=1), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_micro_batches_weigh_every_text_alike(encoder_folder, train_and_dev, tmp_path):
    """One pass of 16 texts and sixteen passes of one text take the same step; dropout would draw other numbers."""
    found = []
    for budget in (100_000, 64):
        settings = settings_for(encoder_folder, epochs=1, token_budget=budget)
        model = start(settings)
        for module in model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.network.double()
        fit(model, *train_and_dev, settings=settings, seed=1, checkpoints=tmp_path / str(budget))
        found.append(weights(model))
    difference = max(float((value - found[1][name]).abs().max()) for name, value in found[0].items())
    assert difference < 1e-8


@pytest.mark.numeric
def test_the_model_ends_with_the_weights_of_its_best_epoch(encoder_folder, train_and_dev, tmp_path, monkeypatch):
    fated = iter([0.5, 0.9, 0.7])
    monkeypatch.setattr(loop, "dev_figures", lambda dev, scores, metric: {metric: next(fated)})
    seen = []
    settings = settings_for(encoder_folder, epochs=3)
    model = start(settings)
    result = fit(
        model,
        *train_and_dev,
        settings=settings,
        seed=1,
        checkpoints=tmp_path,
        on_evaluation=lambda entry: seen.append((entry["epoch"], weights(model))),
    )
    assert result.best_epoch == 2
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert all(torch.equal(value, seen[1][1][name]) for name, value in weights(model).items())
    assert not torch.equal(weights(model)["classifier.weight"], seen[2][1]["classifier.weight"])
    assert np.array_equal(result.best_scores.logits, model.score(train_and_dev[1].texts).logits)


def test_any_figure_on_dev_can_choose(encoder_folder, train_and_dev, tmp_path):
    _, result = run(train_and_dev, settings_for(encoder_folder, metric="log-loss"), tmp_path)
    losses = [entry["log-loss"] for entry in result.history]
    assert result.metric == "log-loss"
    assert result.best_epoch == losses.index(min(losses)) + 1


def test_the_history_holds_the_figures_that_evaluation_gives(encoder_folder, train_and_dev, tmp_path):
    entries = []
    model, result = run(train_and_dev, settings_for(encoder_folder, epochs=1), tmp_path, on_evaluation=entries.append)
    dev = train_and_dev[1]
    expected = evaluate(dev.labels, model.predict_proba(dev.texts), dev.label_names)
    assert entries == result.history
    assert entries[0]["macro-f1"] == expected.figure("macro-f1")
    assert entries[0]["step"] == 5  # 80 texts in steps of 16
    json.dumps(entries, allow_nan=False)


def test_a_loss_that_is_no_number_stops_with_a_cure(encoder_folder, train_and_dev, tmp_path):
    settings = settings_for(encoder_folder)
    model = start(settings)
    with torch.no_grad():
        model.network.classifier.weight.fill_(float("inf"))
    with pytest.raises(ModelError, match="step 1 of 15") as caught:
        fit(model, *train_and_dev, settings=settings, seed=1, checkpoints=tmp_path)
    assert "--learning-rate" in caught.value.cure


def test_biases_and_norms_are_free_of_weight_decay(encoder_folder):
    network = start(settings_for(encoder_folder)).network
    names = {id(p): name for name, p in network.named_parameters()}
    decayed, free = (
        {names[id(p)] for p in group["params"]} for group in make_optimizer(network.parameters(), 0.01).param_groups
    )
    assert decayed | free == set(names.values())
    assert free == {name for name in names.values() if name.endswith("bias") or "LayerNorm" in name}


def test_the_rate_rises_and_falls_linearly_to_zero():
    assert [schedule(step, 4, 0.0) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    risen = [schedule(step, 10, 0.2) for step in range(11)]
    assert risen[:3] == [1 / 3, 2 / 3, 1.0]
    assert risen[-1] == 0.0
    assert np.allclose(np.diff(risen[2:]), -1 / 8)


def test_the_summary_is_plain():
    assert json.loads(json.dumps(Fit("macro-f1", 1e-4, 1).summary()))["best_epoch"] is None

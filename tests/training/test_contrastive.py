import numpy as np
import pytest
import torch

from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.batches import training_steps
from secondcoder.progress import Progress
from secondcoder.settings import RECIPES, TrainSettings
from secondcoder.training import heads, loop
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.contrastive import ContrastiveStepper, pair_loss
from secondcoder.training.distributed import ALONE
from secondcoder.training.heads import fit_logistic
from secondcoder.training.loop import fit
from secondcoder.training.seeds import start_for


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_loss_is_of_all_pairs_and_both_kinds_weigh_the_same():
    features = np.random.default_rng(0).normal(size=(5, 3))
    targets = [0, 0, 0, 1, 2]
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    same = [(1 - cosine(features[i], features[j])) ** 2 for i, j in pairs if targets[i] == targets[j]]
    other = [cosine(features[i], features[j]) ** 2 for i, j in pairs if targets[i] != targets[j]]
    assert (len(same), len(other)) == (3, 7)
    found = pair_loss(torch.from_numpy(features), torch.tensor(targets))
    assert float(found) == pytest.approx((np.mean(same) + np.mean(other)) / 2)


def test_texts_that_are_as_they_should_be_have_no_loss():
    features = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], requires_grad=True)
    assert pair_loss(features, torch.tensor([1, 1, 0])).item() == pytest.approx(0, abs=1e-12)
    assert pair_loss(features, torch.tensor([0, 1, 0])).item() > 0.4
    alone = pair_loss(features[:1], torch.tensor([1]))  # no pair, and so nothing to learn
    alone.backward()
    assert alone.item() == 0
    assert not features.grad.any()


@pytest.fixture
def make_stepper(encoder_folder, corpus):
    def make(token_budget: int) -> ContrastiveStepper:
        settings = TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32", recipe="contrastive")
        model = start_for(corpus, settings, seed=1)
        model.network.double().train()
        return ContrastiveStepper(
            model.network,
            dict(model.network.named_parameters()),
            TokenInputs(model.encoder, model.encoder.encode(corpus.texts)),
            gold_of(corpus, corpus.label_names),
            settings=settings,
            precision="fp32",
            token_budget=token_budget,
            ranks=ALONE,
            say=lambda sentence: None,
        )

    return make


def test_a_step_cut_into_passes_has_the_gradients_of_one_that_is_not(make_stepper):
    """Pairs go across passes, so this holds only if none is lost; dropout is off, since its draws go by pass."""
    gradients = []
    for budget in (10_000, 60):
        stepper = make_stepper(budget)
        stepper.network.eval()
        loss, _ = stepper._gradients(np.arange(16))
        gradients.append((float(loss), {name: p.grad for name, p in stepper.parameters.items()}))
    (whole_loss, whole), (cut_loss, cut) = gradients
    assert cut_loss == pytest.approx(whole_loss, rel=1e-12)
    assert whole["classifier.weight"] is None is cut["classifier.weight"]  # what it reads is compared, not what it says
    learned = [name for name, gradient in whole.items() if gradient is not None]
    assert "bert.pooler.dense.weight" in learned
    assert all(torch.allclose(whole[name], cut[name], rtol=1e-9, atol=1e-12) for name in learned)


def test_a_pass_that_is_computed_twice_has_the_same_dropout_both_times(make_stepper):
    """Along its gradient the loss changes by the gradient's length, for the dropout that was drawn and for no other."""
    stepper = make_stepper(60)

    def loss() -> float:
        torch.manual_seed(3)
        stepper.optimizer.zero_grad(set_to_none=True)
        return float(stepper._gradients(np.arange(16))[0])

    before = loss()
    weight = stepper.parameters["bert.pooler.dense.weight"]
    gradient = weight.grad.clone()
    with torch.no_grad():
        weight -= 1e-5 * gradient / gradient.norm()
    assert (before - loss()) / 1e-5 == pytest.approx(float(gradient.norm()), rel=0.02)


def test_texts_of_a_class_come_together_and_the_head_learns_what_they_say(
    encoder_folder, corpus, tmp_path, monkeypatch
):
    monkeypatch.setitem(RECIPES["contrastive"], "freeze", 0.0)  # of the tiny network one layer would be left
    monkeypatch.setattr(loop, "_LEAST_DEV", 40)
    settings = TrainSettings(
        model=str(encoder_folder),
        device="cpu",
        precision="fp32",
        recipe="contrastive",
        epochs=4,
        learning_rate=5e-3,
        batch_size=40,
    )
    model = start_for(corpus, settings, seed=1)
    train, dev = corpus.take(range(80)), corpus.take(range(80, 120))
    result = fit(model, train, dev, settings=settings, seed=1, checkpoints=tmp_path)
    losses = [entry["train_loss"] for entry in result.history if entry["epoch"]]
    assert [entry["epoch"] for entry in result.history] == [0, 1, 2, 3, 4]
    assert losses[-1] < losses[0]
    assert result.best_epoch > 0
    assert result.best > result.history[0]["macro-f1"] + 0.1  # what was read off the encoder as it came
    # Fewer texts choose none, and the last epoch is kept.
    smaller = fit(
        start_for(corpus, settings, seed=1), train, dev.take(range(39)), settings=settings, seed=1,
        checkpoints=tmp_path / "smaller",
    )  # fmt: skip
    assert [entry["epoch"] for entry in smaller.history] == [4] == [smaller.best_epoch]


def test_mixed_steps_have_every_text_once_like_sizes_and_other_company_each_epoch():
    lengths = np.arange(37)
    epochs = [
        [rows.tolist() for rows in training_steps(lengths, batch_size=16, generator=generator, mixed=True)]
        for generator in (np.random.default_rng(1), np.random.default_rng(2))
    ]
    for steps in epochs:
        assert sorted(row for rows in steps for row in rows) == list(range(37))
        assert sorted(map(len, steps)) == [12, 12, 13]
    assert {frozenset(rows) for rows in epochs[0]}.isdisjoint(frozenset(rows) for rows in epochs[1])


def test_the_head_is_a_regression_on_what_the_whole_network_says_after_learning(
    encoder_folder, corpus, tmp_path, monkeypatch
):
    """Frozen layers are computed once and left out while others learn: the head must not read them twice."""
    asked = {"device": "cpu", "precision": "fp32", "recipe": "contrastive", "epochs": 2, "learning_rate": 5e-3}
    settings = TrainSettings(model=str(encoder_folder), **asked).resolved()
    train, dev = corpus.take(range(60)), corpus.take(range(60, 120))
    model, read = start_for(train, settings, seed=1), []

    def recorded(features, targets, counting):
        read.append(features)
        return fit_logistic(features, targets, counting)

    monkeypatch.setattr(heads, "fit_logistic", recorded)
    fit(model, train, dev, settings=settings, seed=1, checkpoints=tmp_path, judge_each=False)
    said = heads.head_features(model, TokenInputs(model.encoder, model.encoder.encode(train.texts)), Progress())
    assert len(read) == 1
    assert np.allclose(read[0], said, atol=2e-3)  # what frozen layers say is kept in 16 bits

"""Training on texts in windows: the loss is on the text, whatever its windows, passes and processes."""

import shutil
import weakref

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import secondcoder as sc
from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.backends import computing
from secondcoder.model.tokenisation import Encoded
from secondcoder.progress import Progress
from secondcoder.training import steps
from secondcoder.training.activation_cache import TokenInputs, cache_activations
from secondcoder.training.distributed import ALONE, Ranks
from secondcoder.training.heads import start_from_logistic
from secondcoder.training.loop import fit
from secondcoder.training.steps import Stepper
from secondcoder.training.trainable import freeze, upper_layers
from tests.precision import PRECISION, tolerance
from tests.tiny import FILLER, SUBJECTS, make_rows
from tests.training.test_loop import settings_for, start, weights

MAX_LENGTH = 16
PLENTY = 100_000
HUGE = " ".join([*(FILLER * 60)[:1100], "tax"])  # a hundred windows
ROWS = [*make_rows(9, seed=3, longest=100), (HUGE, "economic")]
ALL = np.arange(len(ROWS))
# Other heights of a batch, other kernels and roundings; measured: 3e-3 of the gradient, where a text is a tenth of it.
LOSS_IN_BF16, GRADIENTS_IN_BF16 = 1e-3, 1e-2


@pytest.fixture
def make_stepper(encoder_folder):
    """Make a stepper over ten texts of up to 100 windows, in float64: only rounding may tell two of them apart.

    Autocast leaves float64 alone, so weights are in fp32 where it is to compute in bf16.
    """

    def make(pooling: str = "mean", dropout: float = 0.0, budget: int = PLENTY) -> Stepper:
        settings = settings_for(encoder_folder, long_texts="windows", max_length=MAX_LENGTH, window_pooling=pooling)
        model = start(settings)
        model.network.train().to(torch.float64 if PRECISION == "fp32" else torch.float32)
        for module in model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        corpus = sc.read([{"text": text, "area": label} for text, label in ROWS], text="text", label="area")
        return Stepper(
            model.network,
            dict(model.network.named_parameters()),
            TokenInputs(model.encoder, model.encoder.encode(corpus.texts)),
            gold_of(corpus, model.label_names),
            settings=settings,
            precision=PRECISION,
            token_budget=budget,
            ranks=ALONE,
            say=lambda _: None,
        )

    return make


def gradients(stepper: Stepper, texts: np.ndarray = ALL, seed: int = 0) -> tuple[torch.Tensor, float]:
    """Return the gradient of a step, in one piece, and its loss."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loss, _ = stepper._gradients(texts)
    return torch.cat([p.grad.reshape(-1) for p in stepper.parameters.values()]), loss.item()


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference in fp32, and in bf16 the length of the difference, as a share of the gradient's."""
    if PRECISION == "fp32":
        return float((found - expected).abs().max())
    return float((found - expected).norm() / expected.norm())


@pytest.mark.numeric
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_gradients_are_those_of_one_pass_however_it_is_cut(make_stepper, pooling):
    expected, loss = gradients(make_stepper(pooling))
    assert float(expected.abs().max()) > 0.01
    for budget in (512, 3 * MAX_LENGTH):
        found, same = gradients(make_stepper(pooling, budget=budget))
        assert same == pytest.approx(loss, abs=tolerance(1e-12, bf16=LOSS_IN_BF16))
        assert apart(found, expected) < tolerance(1e-12, bf16=GRADIENTS_IN_BF16)


@pytest.mark.numeric
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_every_text_weighs_the_same_whatever_its_windows(make_stepper, pooling):
    stepper, by_hand = make_stepper(pooling, budget=64), make_stepper(pooling)
    found, loss = gradients(stepper)
    inputs, said = by_hand.inputs, []
    for text in range(len(ROWS)):
        rows = inputs.windows.rows(np.array([text]))
        length = int(inputs.lengths[rows].max())
        with computing(by_hand.device, PRECISION):
            logits = by_hand.network(**inputs.batch(rows, (len(rows), length))).logits
        said.append(logits.mean(dim=0) if pooling == "mean" else logits.amax(dim=0))
    expected = cross_entropy(torch.stack(said), by_hand.targets)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=tolerance(1e-12, bf16=LOSS_IN_BF16))
    by_hand_gradient = torch.cat([p.grad.reshape(-1) for p in by_hand.parameters.values()])
    assert apart(found, by_hand_gradient) < tolerance(1e-12, bf16=GRADIENTS_IN_BF16)


@pytest.mark.numeric
def test_what_is_computed_twice_has_the_same_dropout_both_times(make_stepper, monkeypatch):
    expected, loss = gradients(make_stepper(dropout=0.3, budget=64))
    monkeypatch.setattr(steps, "checkpoint", lambda function, *given, use_reentrant: function(*given))
    found, same = gradients(make_stepper(dropout=0.3, budget=64))
    assert (same, float((found - expected).abs().max())) == (loss, 0.0)
    assert gradients(make_stepper(dropout=0.3, budget=64), seed=1)[1] != loss


def test_a_text_of_a_hundred_windows_is_trained_within_the_budget_of_one_of_two(make_stepper):
    stepper = make_stepper(budget=64)
    counts = stepper.inputs.windows.counts
    two, huge = int(np.flatnonzero(counts <= 3)[0]), int(counts.argmax())
    assert counts[huge] >= 100
    budget = stepper.token_budget
    sizes, kept, alive = [], [], []

    def note(_network, _given, named):
        sizes.append(named["input_ids"].numel())
        alive.append(sum(reference() is not None for reference in kept))

    stepper.network.register_forward_pre_hook(note, with_kwargs=True)
    # What a layer says hangs on the graph as long as a backward pass needs it.
    stepper.network.bert.encoder.layer[0].register_forward_hook(lambda *given: kept.append(weakref.ref(given[2])))
    most = {}
    for text in (two, huge):
        sizes.clear(), kept.clear(), alive.clear()
        gradients(stepper, np.array([text]))
        most[text] = max(sizes), max(alive)
    assert max(size for size, _ in most.values()) <= budget
    assert most[huge][1] <= 1
    assert len(sizes) == 2 * -(-int(counts[huge]) // 4)


def test_a_window_that_does_not_fit_is_an_error_with_a_cure(make_stepper):
    stepper = make_stepper()

    def refuse(_network, _given, named):
        if named["input_ids"].numel() > MAX_LENGTH - 4:
            raise torch.OutOfMemoryError("made up")

    stepper.network.register_forward_pre_hook(refuse, with_kwargs=True)
    with pytest.raises(ModelError, match="single text of"):
        stepper.take(np.array([len(ROWS) - 1]), 1e-3, name="step 1")


def test_where_memory_runs_out_a_long_text_is_cut_into_its_windows(make_stepper):
    expected, loss = gradients(make_stepper())
    stepper = make_stepper()

    def refuse(_network, _given, named):
        if named["input_ids"].numel() > 3 * MAX_LENGTH:
            raise torch.OutOfMemoryError("made up")

    stepper.network.register_forward_pre_hook(refuse, with_kwargs=True)
    found, same = gradients(stepper)
    assert same == pytest.approx(loss, abs=1e-12)
    assert float((found - expected).abs().max()) < 1e-12


def test_processes_share_a_step_by_all_windows_of_a_text(make_stepper):
    stepper = make_stepper()
    whole, total = gradients(stepper)
    parts, losses = [], []
    for index in (0, 1):
        one = make_stepper()
        one.ranks = Ranks(index, 2)
        found, loss = gradients(one)
        parts.append(found)
        losses.append(loss)
        mine = one.ranks.share(ALL, one._text_lengths)
        assert (len(ROWS) - 1 in mine) == (index == 0)  # the longest is dealt first
    assert sum(losses) == pytest.approx(total, abs=1e-12)
    assert float((sum(parts) - whole).abs().max()) < 1e-12


def make_long_rows(n: int, seed: int) -> list[dict[str, str]]:
    """Return n texts of three windows, of which one, not the first, says what the label is."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = generator.choice(FILLER, 40)
        label = sorted(SUBJECTS)[i % 2]
        place = int(generator.integers(16, 38))
        words[place : place + 2] = generator.choice(SUBJECTS[label], 2)
        rows.append({"text": " ".join(words), "area": label})
    return rows


@pytest.fixture(scope="module")
def train_and_dev():
    corpus = sc.read(make_long_rows(160, seed=0), text="text", label="area")
    return corpus.take(range(120)), corpus.take(range(120, 160))


def long_settings(encoder_folder, **changes):
    return settings_for(encoder_folder, long_texts="windows", max_length=MAX_LENGTH, **changes)


@pytest.mark.slow
def test_windows_learn_what_stands_behind_the_first_window(encoder_folder, tmp_path):
    corpus = sc.read(make_long_rows(240, seed=0), text="text", label="area")
    parts = corpus.take(range(200)), corpus.take(range(200, 240))
    figures = {}
    for way in ("truncate", "windows"):
        pooling = {"window_pooling": "max"} if way == "windows" else {}
        settings = settings_for(
            encoder_folder, long_texts=way, max_length=MAX_LENGTH, epochs=12, learning_rate=3e-3, **pooling
        )
        model = start(settings)
        result = fit(model, *parts, settings=settings, seed=1, checkpoints=tmp_path / way)
        figures[way] = result.history[-1]["macro-f1"]
    assert figures["windows"] > 0.9
    assert figures["truncate"] < 0.75


@pytest.mark.parametrize("freeze_", [0.0, 0.5])
def test_a_training_that_was_cut_off_ends_with_the_same_bits(encoder_folder, train_and_dev, tmp_path, freeze_):
    settings = long_settings(encoder_folder, epochs=2, freeze=freeze_, checkpoint_minutes=0, token_budget=64)
    train, dev = train_and_dev[0].take(range(40)), train_and_dev[1]

    def run(folder, resume=False):
        model = start(settings)
        fit(model, train, dev, settings=settings, seed=1, checkpoints=folder, resume=resume)
        return weights(model)

    expected = run(tmp_path / "whole")
    real, calls = Stepper.take, []

    def cut_off(self, *given, **named):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "take", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    found = run(tmp_path / "cut", resume=True)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_frozen_layers_say_is_kept_for_each_window(encoder_folder, train_and_dev, tmp_path):
    model = start(long_settings(encoder_folder))
    encoded = model.encoder.encode(train_and_dev[0].texts)
    frozen = freeze(model.network, 0.5)
    kept = cache_activations(
        model.network,
        model.encoder,
        encoded,
        frozen,
        precision="fp32",
        path=tmp_path / "activations.f16",
        progress=Progress(),
    )
    assert kept is not None
    assert len(kept.lengths) == len(encoded.lengths) == int(encoded.windows.starts[-1])
    rows = encoded.windows.rows(np.array([3, 70]))
    shape = (len(rows), int(encoded.lengths[rows].max()))
    with torch.no_grad():
        whole = model.network.eval()(**model.encoder.batch(encoded, rows, shape)).logits
        with upper_layers(model.network, frozen):
            upper = model.network(**kept.batch(rows, shape)).logits
    assert torch.allclose(whole, upper, atol=1e-3)


@pytest.mark.numeric
def test_a_head_is_read_off_the_mean_of_a_texts_windows(encoder_folder, train_and_dev):
    model = start(long_settings(encoder_folder))
    train = train_and_dev[0]
    encoded = model.encoder.encode(train.texts)
    targets = gold_of(train, model.label_names)
    start_from_logistic(model, TokenInputs(model.encoder, encoded), targets, progress=Progress())
    single = Encoded(encoded.ids, encoded.offsets, encoded.lengths)
    each = model.score_encoded(single).logits
    expected = encoded.windows.pool(each, "mean")
    assert np.allclose(model.score_encoded(encoded).logits, expected, atol=1e-6)
    # What random weights tell apart is a thousandth of what they say, and bf16 keeps 8 bits of that.
    assert (expected.argmax(axis=1) == targets).mean() > (0.75 if PRECISION == "fp32" else 0.6)


def test_a_whole_run_says_how_long_texts_were_read(encoder_folder, train_and_dev, tmp_path):
    corpus = sc.read(make_long_rows(60, seed=1), text="text", label="area")
    run = sc.train(
        sc.split(corpus, by="random"),
        output=tmp_path / "run",
        model=str(encoder_folder),
        device="cpu",
        backend="torch",
        epochs=1,
        long_texts="windows",
        max_length=MAX_LENGTH,
        window_pooling="max",
    )
    assert run.info["settings"]["train"]["window_overlap"] == 0.25
    assert run.info["results"]["lengths"]["share_longer"] == 1.0
    assert "more than one window" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert run.model.card.window_pooling == "max"
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    again = sc.load(run.folder)
    texts = [row["text"] for row in make_long_rows(5, seed=2)]
    assert np.array_equal(again.logits(texts), run.model.logits(texts))

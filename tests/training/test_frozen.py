"""The lower layers as they are: not trained, computed once, and put back."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
)

import secondcoder as sc
from secondcoder.model.backends import computing
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.progress import Progress
from secondcoder.training import activation_cache, loop
from secondcoder.training.activation_cache import TokenInputs, cache_activations
from secondcoder.training.loop import fit
from secondcoder.training.trainable import Frozen, freeze, upper_layers
from tests.precision import PRECISION
from tests.tiny import make_wordpiece_tokenizer
from tests.training.test_loop import run, settings_for, start, weights

LOWER = ("bert.embeddings.", "bert.encoder.layer.0.")


@pytest.fixture
def train_and_dev(corpus):
    return corpus.take(range(80)), corpus.take(range(80, 120))


@pytest.fixture
def model(encoder_folder):
    """A tiny classifier of two layers, on its way to be trained."""
    return start(settings_for(encoder_folder))


def cache(model, texts, share, folder, progress=None):
    encoded = model.encoder.encode(texts)
    frozen = freeze(model.network, share)
    inputs = cache_activations(
        model.network,
        model.encoder,
        encoded,
        frozen,
        precision=PRECISION,
        path=folder / "activations.f16",
        progress=progress or Progress(),
    )
    return encoded, frozen, inputs


@pytest.mark.numeric
def test_frozen_weights_stay_as_pre_trained_and_the_others_move(encoder_folder, train_and_dev, tmp_path):
    settings = settings_for(encoder_folder, freeze=0.5, epochs=1)
    before = weights(start(settings))
    model, _ = run(train_and_dev, settings, tmp_path)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if not name.startswith(LOWER)}
    assert all(parameter.requires_grad for parameter in model.network.parameters())


def test_with_all_layers_frozen_only_what_is_above_them_is_trained(encoder_folder, train_and_dev, tmp_path):
    settings = settings_for(encoder_folder, freeze=1.0, epochs=1)
    before = weights(start(settings))
    model, result = run(train_and_dev, settings, tmp_path)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert len(result.history) == 1


@pytest.mark.parametrize(("share", "layers"), [(0.0, 0), (0.4, 0), (0.5, 1), (0.99, 1), (1.0, 2)])
def test_a_share_of_the_layers_is_rounded_down(model, share, layers):
    assert freeze(model.network, share).layers == layers
    assert model.network.bert.embeddings.word_embeddings.weight.requires_grad == (share == 0)


@pytest.mark.numeric
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_kept_activations_give_the_logits_of_the_texts(model, corpus, tmp_path, share):
    """They are kept as float16, whose relative rounding is 2**-11."""
    encoded, frozen, inputs = cache(model, corpus.texts, share, tmp_path)
    rows = np.arange(len(encoded))
    shape = (len(encoded), int(encoded.lengths.max()))
    model.network.eval()
    with torch.no_grad(), computing(model.backend.device, PRECISION):
        whole = model.network(**model.encoder.batch(encoded, rows, shape)).logits
        with upper_layers(model.network, frozen):
            cut = model.network(**inputs.batch(rows, shape)).logits
    assert 0 < float((whole - cut).abs().max()) < 2e-3


@pytest.mark.numeric
def test_an_epoch_on_kept_activations_trains_what_one_on_the_texts_does(
    encoder_folder, train_and_dev, tmp_path, monkeypatch
):
    """Without dropout, and at a rate at which AdamW does not blow rounding up; the second one recomputes each time."""
    settings = settings_for(encoder_folder, freeze=0.5, epochs=1, learning_rate=1e-3)
    found = []
    for kept in (True, False):
        model = start(settings)
        for module in model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        with monkeypatch.context() as patched:
            if not kept:
                patched.setattr(activation_cache, "cache_activations", lambda *_, **__: None)
            fit(model, *train_and_dev, settings=settings, seed=1, checkpoints=tmp_path / str(kept))
        found.append(weights(model))
    start_ = weights(start(settings))
    moved = max(float((value - start_[name]).abs().max()) for name, value in found[0].items())
    apart = [float((value - found[1][name]).abs().mean()) for name, value in found[0].items()]
    assert moved > 2e-3
    assert max(apart) < 1e-4


def test_the_frozen_part_runs_without_dropout(model):
    frozen = freeze(model.network, 0.5)
    model.network.train()
    frozen.stay_still()
    running = {name for name, module in model.network.named_modules() if module.training}
    assert not {name for name in running if name.startswith(LOWER)}
    assert any(name.startswith("bert.encoder.layer.1.") for name in running)


def other_architecture(kind, texts):
    tokenizer = make_wordpiece_tokenizer(texts)
    tokenizer.split_special_tokens = True
    shared = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "num_labels": 2}
    if kind == "gpt2":
        network = GPT2ForSequenceClassification(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, **shared))
    else:
        network = AlbertForSequenceClassification(
            AlbertConfig(
                embedding_size=8,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=64,
                **shared,
            )
        )
    return network, tokenizer


@pytest.mark.parametrize(("kind", "trained"), [("gpt2", {"h.1.", "ln_f", "score"}), ("albert", {"encoder", "pooler"})])
def test_what_cannot_be_cut_is_frozen_and_computed_each_time(corpus, tmp_path, kind, trained):
    """GPT-2 has no embeddings in one piece; ALBERT's layers share their weights."""
    network, tokenizer = other_architecture(kind, corpus.texts)
    encoder = TextEncoder(tokenizer, max_length=64)
    frozen = freeze(network, 0.5)
    arguments = {"precision": "fp32", "path": tmp_path / "activations.f16", "progress": Progress()}
    assert cache_activations(network, encoder, encoder.encode(corpus.texts), frozen, **arguments) is None
    moving = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    still = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert all(any(part in name for name in moving) for part in trained)
    assert any("embedding" in name or "wte" in name for name in still)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_cut_is_trained_all_the_same(corpus, tmp_path):
    folder = tmp_path / "gpt2"
    network, tokenizer = other_architecture("gpt2", corpus.texts)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    made = sc.train(sc.split(corpus), output=tmp_path / "run", model=str(folder), epochs=1, freeze=0.5, device="cpu")
    assert made.status == "complete"


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_network_is_whole_again_after_an_error_inside(model, corpus, tmp_path, share):
    encoded, frozen, _ = cache(model, corpus.texts, share, tmp_path)
    whole = is_whole(model, encoded)
    with pytest.raises(KeyError), upper_layers(model.network, frozen):
        assert len(model.network.bert.encoder.layer) == 2 - frozen.layers
        raise KeyError
    assert is_whole(model, encoded) == whole


def test_the_network_is_whole_again_after_the_work_was_stopped(model, corpus, tmp_path):
    class Stopping(Progress):
        def task(self, *_, **__):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, n=1, note=""):
            raise KeyError("stopped")

    encoded = model.encoder.encode(corpus.texts)
    whole = is_whole(model, encoded)
    with pytest.raises(KeyError, match="stopped") as caught:
        cache(model, corpus.texts, 0.5, tmp_path, Stopping())
    assert caught.value is not None  # and so is its traceback, with all that was going on
    assert is_whole(model, encoded) == whole
    assert list(tmp_path.iterdir()) == []


def is_whole(model, encoded):
    """Return what tells one whole network from another; fails where it cannot read token ids."""
    model.network.eval()
    with torch.no_grad():
        logits = model.network(**TokenInputs(model.encoder, encoded).batch(np.arange(4), (4, 32))).logits
    hooks = sum(len(module._forward_hooks) for module in model.network.modules())
    return list(model.network.state_dict()), logits.tolist(), hooks


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_the_activations_says_what_to_do_and_is_left_empty(
    encoder_folder, train_and_dev, tmp_path, monkeypatch, number
):
    if not (device := activation_cache.Path("/dev/full")).exists() and number == errno.ENOSPC:
        pytest.skip("no device that is always full")

    real = activation_cache.Path.open

    def refuse(self, mode="r", *given, **named):
        if self.suffix == ".f16" and "w" in mode:
            real(self, mode).close()
            if number == errno.ENOSPC:
                return real(device, mode, *given, **named)
            raise OSError(number, "broken")
        return real(self, mode, *given, **named)

    monkeypatch.setattr(activation_cache.Path, "open", refuse)
    settings = settings_for(encoder_folder, freeze=0.5)
    told = Told()
    _, result = run(train_and_dev, settings, tmp_path, progress=told)
    assert any("not kept on disk" in said and "activations.f16" in said for said in told.said)
    assert len(result.history) == settings.epochs
    assert not list(tmp_path.rglob("*.f16"))


def test_where_the_disk_has_little_room_nothing_is_kept(encoder_folder, train_and_dev, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    told = Told()
    _, result = run(train_and_dev, settings_for(encoder_folder, freeze=0.5, epochs=1), tmp_path, progress=told)
    assert any("not kept on disk" in said for said in told.said)
    assert len(result.history) == 1


class Told(Progress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_numbers_too_large_for_float16_are_not_kept(model, corpus, tmp_path):
    with torch.no_grad():
        model.network.bert.encoder.layer[0].output.LayerNorm.weight.fill_(1e5)
    encoded = model.encoder.encode(corpus.texts)
    frozen = freeze(model.network, 0.5)
    kept = cache_activations(
        model.network, model.encoder, encoded, frozen, precision="fp32", path=tmp_path / "a.f16", progress=Progress()
    )
    assert kept is None
    assert list(tmp_path.iterdir()) == []


def test_a_network_whose_layers_do_not_fit_together_is_noticed(model, corpus, tmp_path, monkeypatch):
    """A layer that is left out or run twice must not pass, even where the head is fresh and its logits are small."""
    encoded, frozen = model.encoder.encode(corpus.texts), freeze(model.network, 0.5)
    real = activation_cache.upper_layers
    with torch.no_grad():
        model.network.classifier.weight.mul_(1e-3)
    for wrong in (0, 2):
        monkeypatch.setattr(activation_cache, "upper_layers", lambda network, _, n=wrong: real(network, Frozen(n, ())))
        kept = cache_activations(
            model.network, model.encoder, encoded, frozen, precision="fp32", path=tmp_path / "a", progress=Progress()
        )
        assert kept is None


def test_position_weights_that_all_layers_read_stay_still_too():
    config = MPNetConfig(vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    network = MPNetForSequenceClassification(config)
    freeze(network, 0.5)
    assert not network.mpnet.encoder.relative_attention_bias.weight.requires_grad
    assert not network.mpnet.encoder.layer[0].attention.attn.q.weight.requires_grad
    assert network.mpnet.encoder.layer[1].attention.attn.q.weight.requires_grad
    assert network.classifier.dense.weight.requires_grad


def test_activations_are_there_while_training_and_gone_afterwards(corpus, encoder_folder, tmp_path, monkeypatch):
    there = []
    real = loop._Training._run_epoch

    def look(self, stepper):
        there.extend(path.name for path in tmp_path.rglob("activations*"))
        real(self, stepper)

    monkeypatch.setattr(loop._Training, "_run_epoch", look)
    made = sc.train(
        sc.split(corpus), output=tmp_path / "run", model=str(encoder_folder), epochs=1, freeze=0.5, device="cpu"
    )
    assert there == ["activations.f16"]
    assert not list(made.folder.rglob("activations*"))
    assert not made.checkpoints.exists()

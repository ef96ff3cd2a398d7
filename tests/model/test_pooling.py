"""The mean over tokens in an ordinary folder: plain transformers computes it, and nothing trains it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from secondcoder.errors import InterruptedRunError, SettingsError
from secondcoder.model.attribution import explain_all
from secondcoder.model.export import _to_onnx
from secondcoder.model.families import FAMILIES as KNOWN
from secondcoder.model.loading import load_model, start_model
from secondcoder.model.model import Model
from secondcoder.model.openvino_backend import convert
from secondcoder.model.pooling import (
    _BY_SETTING,
    _NO_MEAN,
    _WITH_LAYER,
    SCALE,
    MeanLayer,
    layers_of,
    saved_form,
    token_weights,
)
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.storage import sha256_file
from secondcoder.training.activation_cache import inputs_for
from secondcoder.training.loop import fit
from secondcoder.training.trainable import freeze, hold
from tests.families import FAMILIES
from tests.model.test_families import CORPUS, LABELS, TEXTS

LAYERED = [name for name, tiny in FAMILIES.items() if tiny.model_type in _WITH_LAYER]
QUICK = ("bert",)
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in LAYERED]


def start(folder: Path, **named) -> Model:
    settings = {"device": "cpu", "precision": "fp32", "pooling": "mean"} | named
    return start_model(TrainSettings(model=str(folder), **settings), label_names=LABELS, seed=3)


def test_every_family_has_its_place() -> None:
    places = [_WITH_LAYER, _BY_SETTING, set(_NO_MEAN)]
    assert sorted(name for place in places for name in place) == sorted(family.model_type for family in KNOWN)


@pytest.mark.parametrize("name", ALL)
def test_attention_of_the_saved_layer_is_the_mean_over_tokens_that_are_not_padding(folder_of, name) -> None:
    model = start(folder_of(name))
    batch = model.encoder.tokenizer(TEXTS[:12], padding=True, truncation=True, max_length=24, return_tensors="pt")
    batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
    seen: dict[str, torch.Tensor] = {}
    with saved_form(model.network), torch.inference_mode():
        layer = next(found for found in model.network.modules() if isinstance(found, torch.nn.ModuleList))[-1]
        (output,) = [m for key, m in layer.named_modules() if key.endswith(("attention.output.dense", "out_lin"))]
        hooks = [
            layer.register_forward_pre_hook(
                lambda _m, given, named: seen.update(read=_first(given, named)), with_kwargs=True
            ),
            output.register_forward_hook(lambda _m, _given, found: seen.update(mean=found / SCALE)),
        ]
        model.network.eval()(**batch)
        for hook in hooks:
            hook.remove()
    mask = batch["attention_mask"][:, :, None].float()
    expected = (seen["read"] * mask).sum(dim=1) / mask.sum(dim=1)
    assert mask.sum() < mask.numel()
    torch.testing.assert_close(seen["mean"][:, 0], expected, atol=1e-5, rtol=0)


def _first(given: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> torch.Tensor:
    return given[0] if given else named["hidden_states"]


@pytest.mark.parametrize("name", ALL)
def test_plain_transformers_says_what_is_said_here(folder_of, name, tmp_path) -> None:
    model = start(folder_of(name), epochs=1)
    fit(model, CORPUS, CORPUS, settings=settings_of(folder_of(name)), seed=3, checkpoints=tmp_path / "checkpoints")
    model.save(tmp_path / "model")
    expected = model.logits(TEXTS)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    texts = TEXTS[:80]  # without control tokens, which plain tokenizers of some families read in a text
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        found = plain(**batch).logits.numpy()
    np.testing.assert_allclose(found, expected[:80], atol=2e-5)
    loaded = load_model(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.logits(TEXTS), expected)
    assert any(isinstance(module, MeanLayer) for module in loaded.network.modules())


def settings_of(folder: Path, **named) -> TrainSettings:
    usual = {"device": "cpu", "precision": "fp32", "epochs": 1, "freeze": 0.0, "pooling": "mean", "learning_rate": 1e-3}
    return TrainSettings(model=str(folder), **(usual | named))


@pytest.mark.parametrize("named", [{}, {"lora": 2}, {"freeze": 0.5}, {"recipe": "contrastive", "freeze": None}])
def test_the_layer_is_not_trained_whatever_is(folder_of, named, tmp_path) -> None:
    if "lora" in named:
        pytest.importorskip("peft", reason="the extra lora is not installed")
    folder = folder_of("bert")
    before = start(folder)
    before.save(tmp_path / "before")
    model = start(folder)
    settings = settings_of(folder, **named)
    fit(model, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path / "checkpoints")
    model.save(tmp_path / "after")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("before", "after"))
    last = f"layer.{model.network.config.num_hidden_layers - 1}."
    added = [key for key in one if last in key]
    assert len(added) == 16
    assert all(torch.equal(one[key], two[key]) for key in added)
    assert any(not torch.equal(one[key], two[key]) for key in one if key not in added)


def test_freezing_does_not_count_it(folder_of) -> None:
    plain, pooled = (start(folder_of("bert"), pooling=pooling) for pooling in ("first", "mean"))
    n = len(layers_of(plain.network) or ())
    assert len(layers_of(pooled.network) or ()) == n + 1
    for share in (0.5, 1.0):
        assert freeze(pooled.network, share).layers == freeze(plain.network, share).layers == int(share * n)


@pytest.mark.parametrize("name", [name for name, tiny in FAMILIES.items() if tiny.model_type in _NO_MEAN])
def test_where_it_cannot_be_it_is_refused_with_the_reason(folder_of, name) -> None:
    with pytest.raises(SettingsError, match="pooling is mean, which a network of the kind") as caught:
        start(folder_of(name))
    assert _NO_MEAN[FAMILIES[name].model_type] in caught.value.what
    start(folder_of(name), pooling="auto")


def test_modernbert_is_told_by_its_configuration(folder_of, tmp_path) -> None:
    model = start(folder_of("modernbert"))
    assert model.network.config.classifier_pooling == "mean"
    model.save(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["classifier_pooling"] == "mean"


def test_auto_is_what_the_model_says_of_itself(folder_of, tmp_path) -> None:
    said = tmp_path / "said"
    said.symlink_to(folder_of("bert"), target_is_directory=True)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in folder_of("bert").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert getattr(start(folder, pooling="auto").network.config, "secondcoder_pooling", None) is None
    (folder / "1_Pooling").mkdir()
    about = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(about))
    assert start(folder, pooling="auto").network.config.secondcoder_pooling == "mean"
    assert getattr(start(folder, pooling="first").network.config, "secondcoder_pooling", None) is None


def test_a_layer_that_was_trained_elsewhere_stays_as_it_is(folder_of, tmp_path) -> None:
    model = start(folder_of("bert"))
    with saved_form(model.network):
        parameters = dict(model.network.named_parameters())
        last = f"layer.{model.network.config.num_hidden_layers - 1}.attention.self.query.bias"
        key = next(name for name in parameters if name.endswith(last))
        assert not parameters[key].any()
    model.save(tmp_path / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        dict(plain.named_parameters())[key].fill_(0.5)
    plain.save_pretrained(tmp_path / "model")
    card = json.loads((tmp_path / "model" / "secondcoder.json").read_text())
    card["weights_sha256"] = sha256_file(tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "secondcoder.json").write_text(json.dumps(card))
    loaded = load_model(tmp_path / "model", device="cpu")
    assert not any(isinstance(module, MeanLayer) for module in loaded.network.modules())


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[1, 1, 0]]),
        torch.tensor([[True, True, False]]),
        torch.tensor([[[[True, True, False]] * 3]]),
        torch.tensor([[[[0.0, 0.0, torch.finfo(torch.float32).min]] * 3]]),
        torch.tensor([[[[0.0, 0.0, -torch.inf]] * 3]]),
    ],
)
def test_masks_of_all_forms_are_read(mask: torch.Tensor) -> None:
    weights = token_weights(mask, torch.zeros(1, 3, 4))
    assert weights[:, :, 0].tolist() == [[0.5, 0.5, 0.0]]


def test_without_a_mask_all_tokens_count() -> None:
    assert token_weights(None, torch.zeros(2, 4, 3)).sum(dim=1).tolist() == [[1.0], [1.0]]


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("name", ALL)
def test_openvino_computes_it_too(folder_of, name) -> None:
    model = start(folder_of(name))
    expected = model.logits(TEXTS)
    model.use(convert(model.network, model.encoder, "fp32"))
    np.testing.assert_allclose(model.logits(TEXTS), expected, atol=2e-5)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_what_frozen_layers_say_is_computed_once(folder_of, share, tmp_path) -> None:
    model = start(folder_of("bert"))
    encoded = model.encoder.encode(CORPUS.texts)
    frozen = hold(model.network, settings_of(folder_of("bert"), freeze=share))
    path = tmp_path / "activations.f16"
    _, cut = inputs_for(model, encoded, frozen, path=path, progress=Progress())
    assert cut is frozen
    assert path.stat().st_size == int(encoded.offsets[-1]) * model.network.config.hidden_size * 2


def test_words_are_credited_through_it(folder_of) -> None:
    model = start(folder_of("bert"))
    texts = TEXTS[:8]
    for found, margin in zip(explain_all(model, texts), margins(model, texts), strict=True):
        assert found.margin == pytest.approx(margin, abs=1e-5)
        assert any(word.weight for word in found.words)


def margins(model: Model, texts: list[str]) -> list[float]:
    logits = model.logits(texts)
    return (logits.max(axis=1) - logits.min(axis=1)).tolist()


@pytest.mark.parametrize("long_texts", ["windows", "head-tail"])
def test_windows_and_heads_with_tails_are_pooled_each_by_itself(folder_of, long_texts, tmp_path) -> None:
    model = start(folder_of("bert"), long_texts=long_texts, max_length=16)
    model.save(tmp_path / "model")
    expected = model.logits(TEXTS)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(load_model(tmp_path / "model", device="cpu").logits(TEXTS), expected)


def test_a_training_goes_on_to_the_same_bits(folder_of, tmp_path) -> None:
    folder = folder_of("bert")
    settings = settings_of(folder, epochs=3, checkpoint_minutes=0.0)
    whole, again = start(folder), start(folder)
    fit(whole, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path / "whole")

    def stop(entry: dict[str, object]) -> None:
        raise InterruptedRunError("Stopped.", "")

    with pytest.raises(InterruptedRunError):
        fit(start(folder), CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path / "cut", on_evaluation=stop)
    fit(again, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path / "cut", resume=True)
    np.testing.assert_array_equal(again.logits(TEXTS), whole.logits(TEXTS))


@pytest.mark.parametrize("name", ALL)
def test_onnx_has_the_mean_too(folder_of, name) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = start(folder_of(name))
    with torch.inference_mode():
        for texts in (TEXTS[:12], TEXTS[:1]):
            encoded = model.encoder.encode(texts)
            rows = np.arange(len(texts))
            batch = model.encoder.batch(encoded, rows, (len(texts), max(encoded.lengths)))
            said = _to_onnx(model).logits(batch)
            assert np.allclose(said, model.network(**batch).logits.numpy(), atol=1e-4)

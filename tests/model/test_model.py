import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import pipeline

from secondcoder.errors import DataError, MissingExtraError, ModelError, SettingsError
from secondcoder.model import pretrained
from secondcoder.model.loading import load_encoder, load_model, start_model
from secondcoder.model.model import Model
from secondcoder.settings import TrainSettings
from tests.precision import PRECISION
from tests.tiny import make_rows

LABELS = ("economic", "social")
TEXTS = [text for text, _ in make_rows(60, seed=7, longest=40)]


def start(folder: Path, **settings) -> Model:
    return start_model(TrainSettings(model=str(folder), device="cpu", **settings), label_names=LABELS, seed=3)


@pytest.fixture(scope="module")
def model(encoder_folder: Path) -> Model:
    return start(encoder_folder, precision=PRECISION)


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_text_has_the_same_bits_whatever_its_neighbours_and_order(encoder_folder, precision):
    model = start(encoder_folder, precision=precision)
    expected = model.logits(TEXTS)
    assert np.array_equal(model.logits(TEXTS[::-1])[::-1], expected)
    assert np.array_equal(model.logits(TEXTS + TEXTS)[: len(TEXTS)], expected)
    assert np.array_equal(np.concatenate([model.logits([text]) for text in TEXTS]), expected)


def test_dummy_rows_and_padding_do_not_change_a_score(model):
    text = TEXTS[0]
    ids = torch.tensor([model.encoder.encode([text])[0].tolist()])
    with torch.inference_mode():
        bare = model.network.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()
    assert np.allclose(model.logits([text]), bare, atol=1e-6)


@pytest.mark.numeric
def test_labels_follow_probabilities_and_any_iterable_will_do(model):
    probabilities = model.predict_proba(iter(TEXTS))
    assert probabilities.shape == (len(TEXTS), 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert model.predict(text for text in TEXTS) == [LABELS[i] for i in probabilities.argmax(axis=1)]
    assert model.predict([]) == []
    assert model.predict_proba([]).shape == (0, 2)


@pytest.mark.numeric
def test_more_texts_than_a_window_come_out_in_order(model, monkeypatch):
    expected = model.logits(TEXTS)
    monkeypatch.setattr("secondcoder.model.classifier._WINDOW", 7)
    assert np.array_equal(model.logits(TEXTS), expected)


def test_what_is_no_text_is_refused_with_its_row(model, monkeypatch):
    monkeypatch.setattr("secondcoder.model.classifier._WINDOW", 1)
    cases = (("tax", "single text"), (["tax", " "], "Text 2 is empty"), (["tax", None], "Text 2 is None"))
    for texts, message in cases:
        with pytest.raises(DataError, match=message):
            model.predict(texts)


def test_the_head_comes_from_the_seed(encoder_folder):
    def head(seed):
        settings = TrainSettings(model=str(encoder_folder))
        return start_model(settings, label_names=LABELS, seed=seed).network.classifier.weight

    before = torch.random.get_rng_state()
    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_attention_dropout_is_off_unless_asked_for(encoder_folder):
    assert start(encoder_folder).network.config.attention_probs_dropout_prob == 0.0
    assert start(encoder_folder, attention_dropout=0.2).network.config.attention_probs_dropout_prob == 0.2


@pytest.mark.numeric
def test_a_saved_model_gives_the_same_bits(model, saved):
    again = load_model(saved, device="cpu")
    assert np.array_equal(again.logits(TEXTS), model.logits(TEXTS))
    assert again.card == model.card
    assert again.sha256 == model.sha256 != ""
    assert load_model(saved.parent, device="cpu").sha256 == model.sha256  # a run folder will do


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 1e-2)])
def test_a_plain_pipeline_gives_the_same_labels_and_scores(encoder_folder, tmp_path, precision, tolerance):
    ours = start(encoder_folder, precision=precision, max_length=16)
    with torch.no_grad():  # an untrained head is so undecided that rounding would decide
        ours.network.classifier.weight *= 40
    ours.save(tmp_path / "model")
    texts = [*TEXTS, "tax [SEP] school", " ".join(TEXTS[:20])]
    theirs = pipeline("text-classification", model=str(tmp_path / "model"), truncation=True)(texts)
    assert [found["label"] for found in theirs] == ours.predict(texts)
    assert np.allclose([found["score"] for found in theirs], ours.predict_proba(texts).max(axis=1), atol=tolerance)


def test_a_folder_that_is_not_whole_is_refused(saved):
    def damaged(change):
        copy = saved.parent / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(saved, copy)
        change(copy)
        return copy

    def without_tokenizer(folder):
        for path in folder.glob("tokenizer*"):
            path.unlink()

    def with_pickled_weights_only(folder):
        torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()

    def with_other_labels(folder):
        config = json.loads((folder / "config.json").read_text())
        config["id2label"] = {"0": "economic", "1": "social", "2": "other"}
        (folder / "config.json").write_text(json.dumps(config))

    def with_flipped_byte(folder):
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "model.safetensors").write_bytes(data)

    def without_head(folder):
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        safetensors.torch.save_file(
            {k: v for k, v in weights.items() if not k.startswith("classifier")},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        card = json.loads((folder / "secondcoder.json").read_text())
        card["weights_sha256"] = pretrained.sha256_file(folder / "model.safetensors")
        (folder / "secondcoder.json").write_text(json.dumps(card))

    def without_card(folder):
        (folder / "secondcoder.json").unlink()

    for change, message in (
        (without_tokenizer, "no tokenizer"),
        (with_pickled_weights_only, "no model.safetensors"),
        (with_other_labels, "names the labels"),
        (with_flipped_byte, "not those that were saved"),
        (without_head, "would be random"),
        (without_card, "not a secondcoder model"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(damaged(change), device="cpu")


def test_a_model_with_code_of_its_own_is_refused_before_it_runs(encoder_folder, tmp_path):
    folder = tmp_path / "custom"
    shutil.copytree(encoder_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "code.Evil"}}))
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError, match="code of its own"):
        start(folder)


def test_a_checkpoint_that_leaves_the_encoder_random_is_refused(encoder_folder, tmp_path):
    folder = tmp_path / "hollow"
    shutil.copytree(encoder_folder, folder)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "layer.1." not in k}
    safetensors.torch.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 16 of the encoder's"):
        start(folder)


def test_a_head_that_comes_with_a_checkpoint_is_not_kept(encoder_folder, saved):
    fresh = start(encoder_folder).network.state_dict()
    again = start(saved).network.state_dict()
    assert torch.equal(
        again["bert.encoder.layer.0.output.dense.weight"], fresh["bert.encoder.layer.0.output.dense.weight"]
    )
    trained = load_model(saved, device="cpu").network.state_dict()["classifier.weight"]
    other = start_model(TrainSettings(model=str(saved), device="cpu"), label_names=LABELS, seed=4)
    assert not torch.equal(other.network.classifier.weight, trained)


def test_an_encoder_of_another_shape_is_refused(encoder_folder, tmp_path):
    folder = tmp_path / "odd"
    shutil.copytree(encoder_folder, folder)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"] = torch.zeros(32, 7)
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 of the encoder's"):
        start(folder)


def test_a_hub_model_offline_says_what_to_do():
    with pytest.raises(ModelError, match="--model minilm") as caught:
        start_model(TrainSettings(), label_names=LABELS, seed=0)
    assert "distilbert-base-uncased" in caught.value.what


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub():
    with pytest.raises(ModelError, match=r"no config\.json"):
        start_model(TrainSettings(model="./nowhere"), label_names=LABELS, seed=0)


def test_the_packaged_model_is_checked_before_use(monkeypatch):
    monkeypatch.setattr(pretrained, "_MINILM_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="SHA-256"):
        pretrained.locate("minilm")


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"secondcoder\[demo\]"):
        pretrained.locate("minilm")


def test_the_packaged_model_has_its_encoder_and_reads_512_tokens():
    encoder = load_encoder("minilm")
    assert encoder.max_length == 512
    assert encoder.inspect("We cut taxes.").tokens == ["[CLS]", "we", "cut", "taxes", ".", "[SEP]"]


def test_a_device_that_is_not_there_is_refused(encoder_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="does not have"):
        start_model(TrainSettings(model=str(encoder_folder), device="cuda"), label_names=LABELS, seed=0)


def test_small_models_take_a_higher_rate(model):
    config = model.network.config
    assert pretrained.rate_for(config) == 1e-4
    config = type(config)(hidden_size=768)
    assert pretrained.rate_for(config) == 2e-5

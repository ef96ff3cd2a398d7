import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLNetConfig,
    pipeline,
)

from secondcoder.errors import ModelError, SettingsError
from secondcoder.model.loading import load_model, start_model
from secondcoder.model.model import Model, ModelCard
from secondcoder.model.temperature import fold_temperature, logits_layer
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.settings import TrainSettings
from tests.precision import tolerance
from tests.tiny import WORDS, make_rows, make_wordpiece_tokenizer

LABELS = ("a", "b", "c")
TEXTS = [text for text, _ in make_rows(40, seed=11)]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}

CONFIGS = {
    "albert": (AlbertConfig, SIZE | {"embedding_size": 16}),
    "deberta": (DebertaV2Config, SIZE | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "distilbert": (DistilBertConfig, {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
    "electra": (ElectraConfig, SIZE | {"embedding_size": 16}),
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 2}),
    "llama": (LlamaConfig, SIZE),
    "modernbert": (ModernBertConfig, SIZE | {"reference_compile": False}),
    "mpnet": (MPNetConfig, SIZE),
    "roberta": (RobertaConfig, SIZE),
    "xlnet": (XLNetConfig, {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64}),
    # Three hidden units for three labels: the head's first layer has the last one's shape.
    "roberta, as narrow as labels": (RobertaConfig, SIZE | {"hidden_size": 3, "num_attention_heads": 1}),
}


def build(name: str, precision: str) -> Model:
    kind, size = CONFIGS[name]
    tokenizer = make_wordpiece_tokenizer(WORDS)
    tokenizer.split_special_tokens = True
    special = {f"{token}_token_id": tokenizer.pad_token_id for token in ("pad", "bos", "eos", "cls", "sep")}
    config: PretrainedConfig = kind(vocab_size=len(tokenizer), num_labels=len(LABELS), **special, **size)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = AutoModelForSequenceClassification.from_config(config).eval()
        for parameter in network.parameters():  # new biases are 0, and would be 0 divided by anything
            parameter.data += 0.05 * torch.randn_like(parameter)
    return Model(network, TextEncoder(tokenizer, max_length=40), ModelCard(LABELS, 40, "head", precision, name))


@pytest.fixture
def model(encoder_folder) -> Model:
    return start_model(TrainSettings(model=str(encoder_folder), device="cpu"), label_names=LABELS, seed=1)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("temperature", [0.05, pytest.param(1.7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_are_divided_whatever_the_kind_of_network(name, temperature, precision):
    """Alike in bf16, as the layer that gives the logits computes in fp32 there too."""
    model = build(name, precision)
    before = model.logits(TEXTS)
    fold_temperature(model, temperature)
    assert np.allclose(model.logits(TEXTS) * temperature, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())


@pytest.mark.numeric
def test_labels_stay_and_the_saved_folder_gives_calibrated_scores_in_a_plain_pipeline(model, tmp_path):
    logits, labels = model.logits(TEXTS), model.predict(TEXTS)
    fold_temperature(model, 0.1)
    model.save(tmp_path / "model")
    expected = softmax(logits.astype(np.float64) / 0.1, axis=1)
    loaded = load_model(tmp_path / "model", device="cpu")
    assert np.allclose(loaded.predict_proba(TEXTS), expected, atol=1e-4)
    assert loaded.predict(TEXTS) == labels
    scores = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu")(TEXTS)  # in fp32
    assert [score["label"] for score in scores] == labels
    near = tolerance(1e-4, bf16=2e-3)  # features are rounded to 8 bits, and the temperature makes ten of each unit
    assert np.allclose([score["score"] for score in scores], expected.max(axis=1), atol=near)


@pytest.mark.numeric
def test_temperature_1_changes_no_bit(model):
    before = model.logits(TEXTS)
    fold_temperature(model, 1.0)
    assert np.array_equal(model.logits(TEXTS), before)


def test_a_model_in_bf16_is_divided_by_as_much(model, encoder_folder):
    settings = TrainSettings(model=str(encoder_folder), device="cpu", precision="bf16")
    low = start_model(settings, label_names=LABELS, seed=1)
    fold_temperature(low, 3.0)
    fold_temperature(model, 3.0)
    assert torch.equal(low.network.classifier.weight, model.network.classifier.weight)


class _Bent(nn.Module):
    """A head whose logits are no linear function of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(32, 3)
        nn.init.normal_(self.last.weight, std=5.0, generator=torch.Generator().manual_seed(0))  # where tanh is bent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.last(x))


def test_a_network_without_such_a_layer_is_refused_and_left_as_it_was(model):
    model.network.classifier = _Bent()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(ModelError, match="no last linear layer"):
        fold_temperature(model, 2.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_the_layer_is_found_by_what_it_does_and_left_as_it_was(model):
    before = model.network.classifier.weight.clone()
    assert logits_layer(model) is model.network.classifier
    assert torch.equal(model.network.classifier.weight, before)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_temperature_is_refused(model, temperature):
    with pytest.raises(SettingsError, match="temperature"):
        fold_temperature(model, temperature)

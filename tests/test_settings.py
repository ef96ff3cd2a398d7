from dataclasses import fields

import pytest

from secondcoder.errors import SettingsError
from secondcoder.settings import (
    LabelSettings,
    ReadSettings,
    SplitSettings,
    TrainSettings,
    as_label_mapping,
    parse_label_names,
)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (TrainSettings, "epochs", 0),
        (TrainSettings, "epochs", 1.5),
        (TrainSettings, "batch_size", True),
        (TrainSettings, "learning_rate", 0.0),
        (TrainSettings, "learning_rate", "fast"),
        (TrainSettings, "learning_rate", float("nan")),
        (TrainSettings, "warmup", 1.1),
        (TrainSettings, "max_grad_norm", -1.0),
        (TrainSettings, "attention_dropout", 1.0),
        (TrainSettings, "max_length", 4),
        (TrainSettings, "token_budget", 1),
        (TrainSettings, "long_texts", "middle"),
        (TrainSettings, "window_overlap", 0.25),
        (TrainSettings, "window_pooling", "max"),
        (TrainSettings, "max_error", 0.0),
        (TrainSettings, "max_error", 1.0),
        (TrainSettings, "device", "tpu"),
        (TrainSettings, "precision", "fp16"),
        (SplitSettings, "dev", 0.0),
        (SplitSettings, "test", 1.5),
        (SplitSettings, "dev", float("inf")),
        (SplitSettings, "by", "chance"),
        (ReadSettings, "sample_train", 0),
        (ReadSettings, "dev_from", "test"),
        (LabelSettings, "device", "tpu"),
        (LabelSettings, "precision", "int8"),
        (LabelSettings, "engine", "spark"),
        (LabelSettings, "workers", 2),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_a_cure(kind, name, value):
    with pytest.raises(SettingsError) as caught:
        kind(**{name: value})
    assert name.replace("_", "-") in caught.value.what.replace("_", "-")
    assert caught.value.cure


def test_a_near_miss_is_corrected():
    with pytest.raises(SettingsError, match="did you mean 'stratified'"):
        SplitSettings(by="stratifed")


def test_the_edges_are_allowed():
    TrainSettings(epochs=1, batch_size=1, learning_rate=1.0, warmup=1.0, weight_decay=0.0, max_length=8)
    SplitSettings(dev=1, test=500.0)
    ReadSettings(dev_from="test", sample_dev=10)


@pytest.mark.parametrize("kind", [ReadSettings, SplitSettings, TrainSettings, LabelSettings])
def test_every_option_has_a_default_and_goes_into_a_file(kind):
    assert set(kind().to_dict()) == {field.name for field in fields(kind)}


def test_label_names_are_spelled_as_pairs():
    assert parse_label_names("0=negative, 1=positive") == {"0": "negative", "1": "positive"}
    assert as_label_mapping({"0": "no"}) == {"0": "no"}
    assert as_label_mapping(None) == {}
    for wrong in ("0", "0=", "=a", "0=a,0=b", "0=a,1=a", ""):
        with pytest.raises(SettingsError):
            parse_label_names(wrong)


@pytest.mark.parametrize("option", [{"lora": 4}, {"checkpoint_activations": True}])
def test_what_serves_layers_that_learn_is_refused_where_none_does(option):
    with pytest.raises(SettingsError, match="with 0 epochs no layer is trained"):
        TrainSettings(epochs=0, head_start="logistic", **option)
    TrainSettings(epochs=1, head_start="logistic", **option)

from dataclasses import fields, replace

import pytest

from secondcoder.corpus.reading import as_label_mapping, parse_label_names
from secondcoder.errors import SettingsError
from secondcoder.settings import (
    FREE_TO_CHANGE,
    LabelSettings,
    ReadSettings,
    SplitSettings,
    TrainSettings,
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
        (TrainSettings, "population", " "),
        (TrainSettings, "population", 3),
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


MATTERS = {
    "model": "minilm",
    "effort": "quick",
    "recipe": "full",
    "epochs": 3,
    "freeze": 0.25,
    "head_start": "logistic",
    "seeds": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "warmup": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 2.0,
    "attention_dropout": 0.1,
    "max_length": 64,
    "long_texts": "head-tail",
    "window_overlap": 0.5,
    "window_pooling": "max",
    "pooling": "mean",
    "metric": "accuracy",
    "precision": "fp32",
    "deterministic": True,
    "backend": "torch",
    "max_error": 0.1,
    "class_weights": {"a": 2.0},
    "tune_threshold": True,
    "lora": 4,
    "checkpoint_activations": True,
}
"""Options that a result depends on, each with another value than its default."""
DOES_NOT = {"device": "cpu", "token_budget": 512, "checkpoint_minutes": 0.0, "population": "all speeches of 2021"}


def test_every_option_of_training_is_known_to_change_a_result_or_not():
    """A new option has to be placed here: in `MATTERS`, or with its reason in `FREE_TO_CHANGE`."""
    assert MATTERS.keys() | FREE_TO_CHANGE.keys() == {field.name for field in fields(TrainSettings)}
    assert MATTERS.keys().isdisjoint(FREE_TO_CHANGE)
    assert DOES_NOT.keys() == FREE_TO_CHANGE.keys()
    assert all(FREE_TO_CHANGE.values())


def test_the_identity_differs_by_what_changes_a_result_and_by_nothing_else():
    windows = TrainSettings(long_texts="windows")
    for name, value in MATTERS.items():
        given = windows if name.startswith("window_") else TrainSettings()
        assert replace(given, **{name: value}).identity() != given.identity(), name
    for name, value in DOES_NOT.items():
        assert replace(windows, **{name: value}).identity() == windows.identity(), name


def test_an_option_that_stored_settings_lack_was_as_by_default():
    stored = TrainSettings(epochs=3).to_dict()
    for name in ("lora", "device"):
        del stored[name]
    assert TrainSettings.identity_of(stored) == TrainSettings(epochs=3).identity()
    assert TrainSettings.identity_of(stored | {"unknown": 1})["unknown"] == 1

import inspect
from dataclasses import fields

import pytest

import secondcoder as sc
from secondcoder import settings
from secondcoder.labelling.label import label_file
from secondcoder.settings import LabelSettings, ReadSettings, SplitSettings, TrainSettings


def test_the_public_names_are_these():
    assert sorted(sc.__all__) == [
        "Corpus",
        "Evaluation",
        "Model",
        "Run",
        "SecondcoderError",
        "SentenceClassifier",
        "Split",
        "check",
        "compare",
        "cross_fit",
        "evaluate",
        "label",
        "load",
        "read",
        "split",
        "train",
        "tune",
    ]
    assert dir(sc) == sorted(sc.__all__)
    for name in sc.__all__:
        assert inspect.getdoc(getattr(sc, name)), name


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        sc.trian  # noqa: B018


@pytest.mark.parametrize(
    ("function", "kind", "others"),
    [
        (sc.read, ReadSettings, {"source", "seed"}),
        (sc.split, SplitSettings, {"corpus", "seed"}),
        (sc.train, TrainSettings, {"split", "output", "seed", "resume", "progress"}),
        (sc.label, LabelSettings, {"model", "source", "output", "progress"}),
    ],
)
def test_a_signature_spells_out_its_settings(function, kind, others):
    parameters = inspect.signature(function).parameters
    assert set(parameters) - others == {field.name for field in fields(kind)}
    for field in fields(kind):
        assert parameters[field.name].default == field.default, field.name
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    if "seed" in parameters:
        assert parameters["seed"].default == settings.DEFAULT_SEED


def test_label_file_has_the_defaults_of_the_settings():
    parameters = inspect.signature(label_file).parameters
    for field in fields(LabelSettings):
        if field.name not in {"device", "precision", "backend", "engine", "address", "workers", "cpus"}:
            assert parameters[field.name].default == field.default

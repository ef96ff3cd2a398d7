import pytest

from secondcoder.errors import ModelError
from secondcoder.model.families import known_names, suggest
from secondcoder.model.loading import start_model
from secondcoder.settings import DEFAULT_MODEL, TrainSettings


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("distilbert-base-uncase", "distilbert-base-uncased"),
        ("bert-base-casd", "bert-base-cased"),
        ("Bert-Base-Uncased", "bert-base-uncased"),
        ("robertabase", "roberta-base"),
        ("google/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("facebook/roberta-large", "FacebookAI/roberta-large"),
        ("deberta-v3-base", "microsoft/deberta-v3-base"),
        ("microsoft/deberta-v3-bas", "microsoft/deberta-v3-base"),
        ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("ModernBERT-base", "answerdotai/ModernBERT-base"),
        ("xlm-roberta-bse", "xlm-roberta-base"),
        ("mini-lm", "minilm"),
    ],
)
def test_a_slip_is_corrected(given, meant):
    assert suggest(given) == f"did you mean {meant!r}? "


@pytest.mark.parametrize("given", ["", "somebody/politics-model", "t5-small", "bert", "x" * 500])
def test_another_name_is_left_alone(given):
    assert suggest(given) == ""


@pytest.mark.parametrize("name", known_names())
def test_a_right_name_is_not_corrected(name):
    assert suggest(name) == ""


def test_the_error_of_a_training_says_what_was_probably_meant_without_the_network():
    with pytest.raises(ModelError) as caught:
        start_model(TrainSettings(model="distilbert-base-uncase"), label_names=("a", "b"), seed=0)
    assert caught.value.cure.startswith("Did you mean 'distilbert-base-uncased'?")


def test_the_default_model_is_in_the_table():
    assert DEFAULT_MODEL in known_names()

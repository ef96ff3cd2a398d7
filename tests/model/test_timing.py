import json

import pytest
import torch

from secondcoder.cli.main import main
from secondcoder.errors import ModelError
from secondcoder.model import timing
from secondcoder.model.families import BY_TYPE, FAMILIES, Checkpoint
from secondcoder.model.loading import start_model
from secondcoder.model.timing import Speed, estimate, time_models
from secondcoder.settings import TrainSettings
from tests.families import build

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Time networks of next to no size, and nothing that lies about on this machine."""
    monkeypatch.setattr(timing, "_REFERENCES", (TINY,))
    monkeypatch.setattr(timing, "at_hand", lambda name: None)


def test_an_estimate_goes_by_the_work_from_the_network_nearest_in_size():
    references = [(10.0, Speed(1.0, 4.0, measured=True)), (100.0, Speed(8.0, 30.0, measured=True))]
    bert = BY_TYPE["bert"]
    assert estimate(bert, Checkpoint("", 0, 20.0), references) == Speed(2.0, 8.0, measured=False)
    assert estimate(bert, Checkpoint("", 0, 200.0), references) == Speed(16.0, 60.0, measured=False)
    slow = BY_TYPE["longformer"]
    assert estimate(slow, Checkpoint("", 0, 10.0), references).label == slow.cost


@pytest.mark.parametrize("name", ["mbart", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "gpt2"))])
def test_a_folder_is_timed_and_named_first(tmp_path, name):
    folder = str(build(name, tmp_path / name))
    state = torch.random.get_rng_state()
    found = time_models([folder])
    assert (found[0].checkpoint.name, found[0].speed.measured) == (folder, True)
    assert 0 < found[0].speed.label < found[0].speed.train
    assert [each.checkpoint for each in found[1:]] == [c for family in FAMILIES for c in family.checkpoints]
    assert not any(each.speed.measured for each in found[1:])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_run_is_timed_by_its_model(encoder_folder, tmp_path):
    start_model(TrainSettings(model=str(encoder_folder), device="cpu"), label_names=("a", "b"), seed=0).save(
        tmp_path / "run" / "model"
    )
    assert time_models([str(tmp_path / "run")])[0].family.model_type == "bert"


def test_what_is_at_hand_is_timed(monkeypatch, encoder_folder):
    monkeypatch.setattr(timing, "at_hand", lambda name: str(encoder_folder) if name == "roberta-base" else None)
    assert {each.checkpoint.name for each in time_models() if each.speed.measured} == {"roberta-base"}


def test_what_is_larger_than_memory_is_not(monkeypatch, encoder_folder):
    monkeypatch.setattr(timing, "at_hand", lambda name: str(encoder_folder))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1e9}))
    measured = [each.checkpoint.parameters for each in time_models() if each.speed.measured]
    assert 0 < max(measured) < 250 < max(c.parameters for family in FAMILIES for c in family.checkpoints)


def test_only_what_was_fetched_is_at_hand(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(timing, "try_to_load_from_cache", lambda name, file: str(tmp_path / file))
    assert timing.at_hand("somebody/model") is None
    (tmp_path / "model.safetensors").touch()
    assert timing.at_hand("somebody/model") == str(tmp_path)
    monkeypatch.setattr(timing, "try_to_load_from_cache", lambda name, file: None)
    assert timing.at_hand("somebody/model") is None


def test_the_command_names_every_family_and_marks_estimates(capsys, encoder_folder):
    with pytest.raises(SystemExit) as left:
        main(["models", "--model", str(encoder_folder)])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"{family.title}: {family.when}" in printed for family in FAMILIES)
    assert "~" in printed
    with pytest.raises(SystemExit):
        main(["models", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [family["model_type"] for family in found["families"]] == [family.model_type for family in FAMILIES]
    assert {"name", "parameters", "languages", "speed", "model_type"} <= found["models"][0].keys()


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="not a model folder"):
        time_models([str(tmp_path)])


def test_what_cannot_be_had_is_refused_without_a_traceback(monkeypatch):
    def absent(location):
        raise OSError(f"{location} is not there")

    monkeypatch.setattr(timing, "read_config", absent)
    with pytest.raises(ModelError, match="Cannot get the model 'nobody/nothing'"):
        time_models(["nobody/nothing"])


def test_a_path_is_never_taken_for_a_hub_name(monkeypatch, tmp_path):
    monkeypatch.undo()  # the hub's own check of names raises for such
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="not a model folder"):
        time_models(["./nothing"])

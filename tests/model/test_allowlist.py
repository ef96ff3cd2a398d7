"""What is refused before anything of a model is loaded, and what is let pass."""

import json
import shutil
from pathlib import Path

import pytest
from transformers.models.auto import modeling_auto

from secondcoder.errors import ModelError
from secondcoder.model import pretrained
from secondcoder.model.allowlist import check_config
from secondcoder.model.families import BY_TYPE
from secondcoder.model.loading import load_encoder, load_model, start_model
from secondcoder.settings import TrainSettings

LABELS = ("economic", "social")
# What real configurations on the hub carry beside what their networks read.
HARMLESS = {
    "_name_or_path": "somebody/something",
    "_num_labels": 5,
    "adapters": {"adapters": {}, "config_map": {}},
    "architectures": ["BertForMaskedLM"],
    "finetuning_task": "mnli",
    "gradient_checkpointing": False,
    "is_decoder": False,
    "language": "english",
    "name": "Bert",
    "output_attentions": True,
    "output_hidden_states": True,
    "output_past": True,
    "quantization_config": None,
    "sentence_transformers": {"version": "5.0"},
    "task_specific_params": {"summarization": {"num_beams": 4}},
    "torchscript": True,
    "transformers_version": "4.1.0",
    "use_cache": True,
}


def start(folder: Path):
    return start_model(TrainSettings(model=str(folder), device="cpu"), label_names=LABELS, seed=0)


def changed(folder: Path, into: Path, *, file: str = "config.json", **values) -> Path:
    """Copy a model's folder and set some keys of a file of it."""
    shutil.copytree(folder, into)
    found = json.loads((into / file).read_text()) if (into / file).exists() else {}
    (into / file).write_text(json.dumps(found | values))
    return into


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    """Fail as soon as weights, a tokenizer or a configuration class would be loaded."""
    for name in ("AutoConfig", "AutoTokenizer", "AutoModelForSequenceClassification"):
        monkeypatch.setattr(pretrained, name, None)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"auto_map": {"AutoModel": "code.Evil"}}, "code of its own"),
        ({"trust_remote_code": True}, "code of its own"),
        ({"custom_pipelines": {"text-classification": {"impl": "code.Evil"}}}, "code of its own"),
        ({"attn_implementation": "somebody/kernel"}, "fetched from the hub"),
        ({"_attn_implementation": "somebody/kernel"}, "fetched from the hub"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised weights"),
        ({"is_decoder": True}, "sees no text"),
        ({"model_type": None}, "no model_type"),
        ({"model_type": "xlnet"}, "'xlnet', which has not been tested"),
        ({"model_type": ["bert"]}, "has not been tested"),
        ({"model_type": "gemma3"}, "reads pictures too"),
        (
            {"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "scores would depend on the batch",
        ),
        (
            {"model_type": "gemma3_text", "rope_parameters": {"full": {"rope_type": "longrope"}}},
            "scores would depend on the batch",
        ),
    ],
)
def test_it_is_refused_with_the_reason_before_anything_is_loaded(encoder_folder, tmp_path, values, reason):
    folder = changed(encoder_folder, tmp_path / "model", **values)
    for load in (start, lambda folder: load_encoder(str(folder))):
        with pytest.raises(ModelError, match=reason):
            load(folder)


def test_our_own_model_folders_are_held_against_the_same_list(encoder_folder, tmp_path, monkeypatch):
    start(encoder_folder).save(tmp_path / "model")
    bad = changed(tmp_path / "model", tmp_path / "bad", auto_map={"AutoConfig": "code.Evil"})
    monkeypatch.setattr(pretrained, "AutoConfig", None)
    for load in (lambda: load_model(bad, device="cpu"), lambda: load_encoder(str(bad))):
        with pytest.raises(ModelError, match="code of its own"):
            load()


def test_a_tokenizer_with_code_of_its_own_is_refused(encoder_folder, tmp_path):
    folder = changed(
        encoder_folder, tmp_path / "m", file="tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Evil", None]}
    )
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    for load in (start, lambda folder: load_encoder(str(folder))):
        with pytest.raises(ModelError, match="tokenizer brings code of its own"):
            load(folder)


def test_an_adapter_is_refused_as_its_model_would_be_fetched_unasked(encoder_folder, tmp_path):
    folder = changed(
        encoder_folder, tmp_path / "m", file="adapter_config.json", base_model_name_or_path="somebody/else"
    )
    with pytest.raises(ModelError, match="an adapter to another model"):
        start(folder)


def test_keys_that_real_configurations_carry_are_let_pass_and_change_no_score(encoder_folder, tmp_path):
    folder = changed(encoder_folder, tmp_path / "model", **HARMLESS)
    model = start(folder)
    assert model.network.config._attn_implementation == "sdpa"
    assert (model.logits(["we cut taxes"]) == start(encoder_folder).logits(["we cut taxes"])).all()
    model.save(tmp_path / "saved")
    assert (load_model(tmp_path / "saved", device="cpu").logits(["tax"]) == model.logits(["tax"])).all()


def test_attention_that_wants_further_packages_is_not_asked_for(encoder_folder, tmp_path):
    model = start(changed(encoder_folder, tmp_path / "model", attn_implementation="flash_attention_2"))
    assert model.network.config._attn_implementation == "sdpa"


def test_a_configuration_that_makes_no_sense_is_refused_without_a_traceback(encoder_folder, tmp_path):
    for i, values in enumerate(({"hidden_size": "wide"}, {"num_attention_heads": 5}, {"vocab_size": -1})):
        with pytest.raises(ModelError, match="Cannot load the model"):
            start(changed(encoder_folder, tmp_path / str(i), **values))


def test_weights_in_a_pickle_are_refused_with_the_way_to_convert_them(encoder_folder, tmp_path):
    folder = changed(encoder_folder, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="weights are a pickle") as caught:
        start(folder)
    assert "save_pretrained" in caught.value.cure


def test_an_unknown_kind_is_told_which_there_are_and_which_was_probably_meant():
    with pytest.raises(ModelError) as caught:
        check_config({"model_type": "robertta"}, "somebody/model")
    assert "did you mean 'roberta'?" in caught.value.cure
    assert all(kind in caught.value.cure for kind in BY_TYPE)


def test_transformers_has_a_head_for_every_family():
    assert set(BY_TYPE) <= set(modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)

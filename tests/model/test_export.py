import dataclasses
import hashlib
import json

import numpy as np
import pytest
from transformers import AutoConfig, AutoTokenizer

from secondcoder.errors import ModelError, SettingsError
from secondcoder.model import export
from secondcoder.model.backend_choice import DevReference
from secondcoder.model.export import export_model, torch_scores
from secondcoder.model.loading import start_model
from secondcoder.model.openvino_backend import is_installed, load_openvino
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from tests.tiny import make_rows

ROWS = make_rows(60, seed=5)
TEXTS = [text for text, _ in ROWS]


@pytest.fixture
def model(encoder_folder):
    settings = TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")
    return start_model(settings, label_names=("economic", "social"), seed=3)


def exported(model, folder, form, precision="fp32"):
    gold = np.array([model.label_names.index(label) for _, label in ROWS])
    judges = DevReference(TEXTS, TEXTS, gold, torch_scores(model, TEXTS, Progress()))
    return export_model(model, folder, form=form, precision=precision, judges=judges, progress=Progress())


def compute_elsewhere(folder, form):
    """What a program without secondcoder gets out of the folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = dict(tokenizer(TEXTS, padding=True, return_tensors="np"))
    inputs = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    if form == "openvino":
        compiled = (
            load_openvino()
            .Core()
            .compile_model(folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        )
        return compiled(inputs)[0]
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["logits"], inputs)[0]


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_the_folder_is_enough_to_get_the_same_logits_elsewhere(model, tmp_path, form):
    if form == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    elif not is_installed():
        pytest.skip("the extra fast is not installed")
    folder = tmp_path / "exported"
    check = exported(model, folder, form)
    assert (check.backend, check.n, check.agreement, check.passed) == (form, 60, 1.0, True)
    assert np.allclose(compute_elsewhere(folder, form), model.logits(TEXTS), atol=1e-4)
    assert AutoConfig.from_pretrained(folder).id2label == {0: "economic", 1: "social"}
    told = json.loads((folder / "export.json").read_text())
    assert told["check"] == check.to_dict()
    for name, sha256 in told["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256


def test_what_labels_otherwise_is_not_written(model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(export, "LEAST_AGREEMENT", 2)
    monkeypatch.setattr("secondcoder.model.backend_choice.LEAST_AGREEMENT", 2)
    with pytest.raises(ModelError, match="does not label alike"):
        exported(model, tmp_path / "exported", "openvino")
    assert not (tmp_path / "exported").exists()


def test_int8_takes_enough_rows_and_a_processor_made_for_it(model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(export, "is_fast_at_int8", lambda: True)
    with pytest.raises(ModelError, match="dev has 60 rows, and it takes 500"):
        exported(model, tmp_path / "exported", "openvino", "int8")
    monkeypatch.setattr(export, "LEAST_ROWS", 60)
    monkeypatch.setattr(export, "is_fast_at_int8", lambda: False)
    with pytest.raises(ModelError, match="VNNI"):
        exported(model, tmp_path / "exported", "openvino", "int8")


def test_int8_is_tried_two_ways(model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr(export, "is_fast_at_int8", lambda: True)
    monkeypatch.setattr(export, "LEAST_ROWS", 60)
    compare, tried = export.compare, []

    def refuse_the_first(*given, **named):
        tried.append(compare(*given, **named))
        return dataclasses.replace(tried[-1], passed=len(tried) == 2)

    monkeypatch.setattr(export, "compare", refuse_the_first)
    assert exported(model, tmp_path / "exported", "openvino", "int8").passed
    assert len(tried) == 2
    assert "MatMul" in (tmp_path / "exported" / "openvino_model.xml").read_text()


def test_what_stands_there_and_what_there_is_not_are_refused(model, tmp_path):
    with pytest.raises(SettingsError, match="already there"):
        exported(model, tmp_path, "openvino")
    with pytest.raises(SettingsError, match="no int8 in ONNX"):
        exported(model, tmp_path / "exported", "onnx", "int8")

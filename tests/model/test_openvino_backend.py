import copy
import json
import logging
import queue
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model import openvino_backend
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.loading import load_model, start_model
from secondcoder.model.openvino_backend import OpenVINOBackend, compressed, convert, is_installed, quantised
from secondcoder.settings import TrainSettings
from tests.tiny import make_rows

pytestmark = pytest.mark.skipif(not is_installed(), reason="the extra fast is not installed")
TEXTS = [text for text, _ in make_rows(60, seed=7, longest=40)]


def start(folder):
    settings = TrainSettings(model=str(folder), device="cpu", precision="fp32")
    return start_model(settings, label_names=("economic", "social"), seed=3)


@pytest.fixture(scope="module")
def backends(encoder_folder):
    """The same tiny model, ways to compute it."""
    model = start(encoder_folder)
    plain = convert(model.network, model.encoder, "fp32")
    return {"fp32": plain, "ranges": quantised(plain, model.encoder, TEXTS[:16]), "tokens": compressed(plain)}


@pytest.fixture
def saved(encoder_folder, backends, tmp_path):
    model = start(encoder_folder)
    model.use(backends["tokens"])
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("way", ["torch", "fp32", "ranges", "tokens"])
def test_one_text_one_score_whatever_its_neighbours_order_and_shard(encoder_folder, backends, way, monkeypatch):
    model = start(encoder_folder)
    if way != "torch":
        model.use(backends[way])
        monkeypatch.setattr(backends[way], "token_budget", 512, raising=False)  # tall batches of few texts
        monkeypatch.setattr(backends[way], "rest_budget", 64, raising=False)
    corpus = TEXTS * 3
    expected = model.logits(corpus)
    order = np.random.default_rng(0).permutation(len(corpus))
    assert np.array_equal(model.logits([corpus[i] for i in order]), expected[order])  # shuffled
    assert np.array_equal(
        np.concatenate([model.logits(corpus[i::4]) for i in range(4)]),
        np.concatenate([expected[i::4] for i in range(4)]),
    )  # in shards
    assert np.array_equal(np.concatenate([model.logits([text]) for text in TEXTS]), expected[: len(TEXTS)])  # alone
    assert np.array_equal(expected[: len(TEXTS)], expected[len(TEXTS) : 2 * len(TEXTS)])  # repeated


def test_windows_of_long_texts_have_the_same_bits_in_any_company(encoder_folder, backends):
    settings = TrainSettings(
        model=str(encoder_folder), device="cpu", precision="fp32", long_texts="windows", max_length=16
    )
    model = start_model(settings, label_names=("economic", "social"), seed=3)
    by_torch = model.logits(TEXTS)
    model.use(backends["fp32"])
    expected = model.logits(TEXTS)
    assert np.allclose(expected, by_torch, atol=1e-4)
    assert np.array_equal(model.logits(TEXTS[::-1])[::-1], expected)
    assert np.array_equal(np.concatenate([model.logits([text]) for text in TEXTS[:20]]), expected[:20])


def test_where_tall_batches_give_other_bits_all_are_low(encoder_folder, monkeypatch):
    model = start(encoder_folder)
    backend = convert(model.network, model.encoder, "fp32")
    monkeypatch.setattr(backend, "token_budget", 512, raising=False)
    monkeypatch.setattr(backend, "rest_budget", 64, raising=False)
    infer, heights = backend._infer, []

    def moved(inputs):
        heights.append(inputs[0].shape)
        return infer(inputs) + np.float32(1e-3) * len(inputs[0])

    monkeypatch.setattr(backend, "_infer", moved)
    model.use(backend)
    together = model.logits(TEXTS * 9)
    alone = np.concatenate([model.logits([text]) for text in TEXTS])
    assert max(rows * tokens for rows, tokens in heights) > 64  # some were tall, and were not believed
    assert np.array_equal(together[: len(TEXTS)], alone)


def test_what_computes_goes_back_to_those_who_wait_for_it_when_the_number_of_threads_changes():
    backend = OpenVINOBackend(None, (), "fp32")
    waited_for: queue.SimpleQueue = queue.SimpleQueue()

    class Request:
        def infer(self, inputs):
            backend._requests = queue.SimpleQueue()  # as `at_once` does in another thread meanwhile
            return [np.zeros((1, 2), np.float32)]

    waited_for.put(Request())
    backend._requests, backend._threads = waited_for, 1
    backend._infer([])
    assert (waited_for.qsize(), backend._requests.qsize()) == (1, 0)


def test_labels_are_those_of_torch(encoder_folder, backends):
    model = start(encoder_folder)
    expected = model.logits(TEXTS)
    for way, tolerance in (("fp32", 1e-5), ("ranges", 0.05), ("tokens", 0.05)):
        model.use(backends[way])
        assert np.allclose(model.logits(TEXTS), expected, atol=tolerance), way


def test_a_saved_model_gives_the_same_bits_and_so_does_a_copy(saved, backends, encoder_folder):
    model = start(encoder_folder)
    model.use(backends["tokens"])
    expected = model.logits(TEXTS)
    loaded = load_model(saved)
    assert (loaded.card.backend, loaded.card.precision, loaded.judged_with) == ("openvino", "int8", "")
    assert np.array_equal(loaded.logits(TEXTS), expected)
    assert np.array_equal(copy.deepcopy(loaded).logits(TEXTS), expected)


@pytest.mark.parametrize("told", [{"backend": "torch"}, {"precision": "fp32"}, {"device": "cpu"}])
def test_told_to_use_torch_it_says_what_was_judged(saved, told):
    model = load_model(saved, **told)
    assert isinstance(model.backend, openvino_backend.OpenVINOBackend) is False
    assert model.judged_with == "int8 by openvino"
    assert model.summary()["backend"] == "torch"
    assert model.summary()["judged_with"] == "int8 by openvino"


def test_without_openvino_the_error_names_the_cure_and_torch_still_works(saved, monkeypatch):
    monkeypatch.setattr(openvino_backend, "_is_there", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"secondcoder\[fast\].*--backend torch"):
        load_model(saved)
    assert load_model(saved, backend="torch").predict(TEXTS[:1])


def test_int8_is_refused_where_it_is_not_exact(saved, monkeypatch):
    monkeypatch.setattr(openvino_backend, "is_fast_at_int8", lambda: False)
    with pytest.raises(ModelError, match="VNNI"):
        load_model(saved)


@pytest.mark.parametrize("name", ["openvino_model.xml", "openvino_model.bin"])
def test_damaged_or_missing_files_are_refused(saved, name):
    path = saved / "openvino" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not what was saved"):
        load_model(saved)
    path.unlink()
    with pytest.raises(ModelError, match="not what was saved"):
        load_model(saved)


def test_a_card_that_says_openvino_of_a_folder_without_it_is_refused(saved):
    shutil.rmtree(saved / "openvino")
    with pytest.raises(ModelError, match="not what was saved"):
        load_model(saved)
    card = json.loads((saved / "secondcoder.json").read_text())
    del card["converted_sha256"]
    (saved / "secondcoder.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="not what was saved"):
        load_model(saved)


def test_a_file_that_is_no_network_is_told_in_one_line(tmp_path):
    for name in ("openvino_model.xml", "openvino_model.bin"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        OpenVINOBackend.load(tmp_path, "fp32")
    assert "\n" not in caught.value.what


def test_a_network_that_cannot_be_traced_is_refused_with_its_name(encoder_folder, monkeypatch):
    model = start(encoder_folder)
    monkeypatch.setattr(BertForSequenceClassification, "forward", lambda self, **_: open("nowhere"))  # noqa: SIM115, PTH123
    with pytest.raises(ModelError, match="cannot convert BertForSequenceClassification"):
        convert(model.network, model.encoder, "fp32")


def test_a_conversion_that_fails_leaves_logging_as_it_was(encoder_folder, monkeypatch):
    root = logging.getLogger()
    before = root.level, list(root.filters), list(root.handlers)
    model = start(encoder_folder)
    monkeypatch.setattr(BertForSequenceClassification, "forward", lambda self, **_: open("nowhere"))  # noqa: SIM115, PTH123
    with pytest.raises(ModelError):
        convert(model.network, model.encoder, "fp32")
    assert (root.level, root.filters, root.handlers) == before


def test_a_network_that_takes_its_shape_for_a_constant_is_refused(encoder_folder, monkeypatch):
    model = start(encoder_folder)
    forward = BertForSequenceClassification.forward

    def with_constant(self, input_ids, **named):
        found = forward(self, input_ids=input_ids, **named)
        found.logits = found.logits + float(input_ids.shape[1])
        return found

    monkeypatch.setattr(BertForSequenceClassification, "forward", with_constant)
    with pytest.raises(ModelError, match="other logits"):
        convert(model.network, model.encoder, "fp32")


@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_families_convert_too(encoder_folder, kind):
    model = start(encoder_folder)
    size = {"vocab_size": len(model.encoder.tokenizer), "num_labels": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "distilbert":
            network = DistilBertForSequenceClassification(
                DistilBertConfig(**size, dim=32, n_layers=1, n_heads=2, hidden_dim=64)
            )
        else:
            config = RobertaConfig(
                **size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, pad_token_id=0
            )
            network = RobertaForSequenceClassification(config)
    network.eval()
    backend = convert(network, model.encoder, "fp32")
    encoded = model.encoder.encode(TEXTS)
    for batch in fixed_shapes(encoded.lengths, token_budget=256, max_length=64):
        inputs = model.encoder.batch(encoded, batch.rows, batch.shape)
        with torch.inference_mode():
            assert np.allclose(backend.logits(inputs), network(**inputs).logits.numpy(), atol=1e-5)


@pytest.mark.slow
def test_importing_openvino_and_nncf_opens_no_connection():
    code = (
        "import socket, sys\n"
        "def no(*_): raise SystemExit('a connection')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = no\n"
        "from secondcoder.model.openvino_backend import load_openvino\n"
        "from secondcoder.model.openvino_backend import _quiet_nncf\n"
        "load_openvino()\n"
        "with _quiet_nncf() as nncf: assert nncf.quantize\n"
        "import threading; [t.join(5) for t in threading.enumerate() if t is not threading.current_thread()]\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Fixtures of all tests: tiny models and corpora, and hypothesis without deadlines (this may be a busy machine)."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
# The tests import torch first, which secondcoder would warn of.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Tiny models gain nothing from a second thread and lose much to its waiting: that of torch is turned off below.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pyarrow as pa
import pytest
import torch
from hypothesis import settings

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.model.openvino_backend import is_installed
from tests.precision import PRECISION
from tests.tiny import make_encoder, make_rows

torch.set_num_threads(1)
settings.register_profile("few", deadline=None, max_examples=30)
settings.register_profile("many", deadline=None, max_examples=250)
settings.load_profile(os.environ.get("SECONDCODER_TEST_EXAMPLES", "few"))


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pre-trained encoder, without a head."""
    return make_encoder(tmp_path_factory.mktemp("encoder"), [text for text, _ in make_rows(200)])


@pytest.fixture(scope="session", autouse=True)
def _the_same_processor_everywhere() -> Iterator[None]:
    """Let `auto` be the precision of the suite, and int8 be allowed, whatever this processor is fast at.

    Tests of what is done without int8 say so themselves. Commands in processes of their own name their precision.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondcoder.model.backends._is_fast_at_bf16", lambda: PRECISION == "bf16")
        for module in ("openvino_backend", "backend_choice", "export"):
            patch.setattr(f"secondcoder.model.{module}.is_fast_at_int8", lambda: True)
        yield


def pytest_report_header() -> str:
    """Say which of the two runs of `make test` this is."""
    return f"precision: {PRECISION}"


@pytest.fixture(scope="session", autouse=True)
def _labels_by_torch() -> Iterator[None]:
    """Convert no tiny model at the end of each training, which would take minutes in all; see `openvino`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondcoder.model.backend_choice.is_installed", lambda: False)
        yield


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the backend as everywhere but in tests; skip where the extra fast is not installed."""
    if not is_installed():
        pytest.skip("the extra fast is not installed")
    monkeypatch.setattr("secondcoder.model.backend_choice.is_installed", is_installed)


@pytest.fixture
def corpus() -> Corpus:
    """120 short texts that a tiny model can learn, in 12 groups."""
    rows = make_rows(120)
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    return Corpus(
        ids=tuple(f"t{i}" for i in range(len(rows))),
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=("economic", "social"),
        groups=tuple(f"g{i // 10}" for i in range(len(rows))),
        columns=pa.table({"text": texts, "area": labels}),
        source=Source("made up", "0" * 64, {"text": "text", "label": "area"}),
    )


@pytest.fixture
def labelled_file(tmp_path: Path) -> Path:
    """A hand-labelled CSV file of 120 rows."""
    path = tmp_path / "hand-labelled.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "area", "manifesto"])
        writer.writerows([f"t{i}", text, label, f"g{i // 10}"] for i, (text, label) in enumerate(make_rows(120)))
    return path

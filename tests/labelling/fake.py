"""A model that needs no weights: what it says about a text depends on that text alone; and a file for it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.formats.files import open_writer
from secondcoder.progress import ProgressTask

LABEL_NAMES = ("left", "right", "no, side")
CUT = 30
LONG = "a text that is longer than the model can read"
ROWS = pa.table(
    {
        "id": ["001", "NA", "1.0", None, "x", "x"],
        "text": ["We will cut taxes.", 'Say "no",\nnow\t!', " ", None, LONG, "We will cut taxes."],
        "note": [" a ", "\u2028", "", None, "é", '"'],
    }
)


@dataclass(frozen=True)
class FakeScores:
    probabilities: NDArray[np.float64]
    truncated: NDArray[np.bool_]


class FakeModel:
    label_names = LABEL_NAMES
    sha256 = "ab" * 32

    def __init__(self, text_column: str | None = "text", *, precision: str = "fp32") -> None:
        self.text_column, self.precision = text_column, precision
        self.calls: list[list[str]] = []

    def summary(self) -> dict[str, Any]:
        return {"backend": "none", "precision": self.precision, "device": "cpu", "threads": 1}

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None) -> FakeScores:
        assert all(text.strip() for text in texts), "an empty text reached the model"
        self.calls.append(list(texts))
        if progress is not None:
            progress.advance(len(texts), "scored")
        return FakeScores(
            np.array([probabilities_of(text) for text in texts]), np.array([len(text) > CUT for text in texts])
        )


def probabilities_of(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    weights = [1 + digest[i] for i in range(len(LABEL_NAMES))]
    return [weight / sum(weights) for weight in weights]


def label_of(text: str) -> str:
    probabilities = probabilities_of(text)
    return LABEL_NAMES[probabilities.index(max(probabilities))]


def put(path: Path, table: pa.Table) -> Path:
    with open_writer(path, table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    return path

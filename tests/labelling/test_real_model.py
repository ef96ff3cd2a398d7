from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.labelling.label import label_file
from secondcoder.model.loading import start_model
from secondcoder.settings import TrainSettings
from tests.labelling.fake import put
from tests.tiny import WORDS, make_encoder


def test_a_file_gets_the_labels_and_probabilities_that_the_model_predicts(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "encoder")
    settings = TrainSettings(model=str(folder), device="cpu", precision="fp32")
    model = start_model(settings, label_names=("a", "b", "c"), seed=1, text_column="sentence")
    texts = [" ".join(WORDS[i % 7 : i % 7 + n]) for i, n in enumerate((1, 9, 3, 200, 3, 5))] + ["tax " * 200]
    source = put(tmp_path / "in.csv", pa.table({"sentence": [*texts, ""]}))
    summary = label_file(model, source, tmp_path / "out.parquet", probabilities=True)
    back = pq.read_table(tmp_path / "out.parquet")
    assert back["label"].to_pylist() == [*model.predict(texts), None]
    found = list(zip(*(back[f"probability_{name}"].to_pylist()[:-1] for name in "abc"), strict=True))
    assert found == [tuple(row) for row in model.predict_proba(texts).tolist()]
    assert back["truncated"].to_pylist() == [False] * 6 + [True, False]
    assert (summary.labelled, summary.truncated, summary.unlabelled) == (7, 1, {"empty text": 1})

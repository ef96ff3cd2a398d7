import csv
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from secondcoder.cli.demo import articles

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
# A busy machine may take minutes over what takes half a minute on an idle one.
SECONDS_PER_CELL = 240


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    ).execute()

    desks = {article.id: article.desk for article in articles()}
    corpus = read_rows(work / "corpus.csv")
    labelled = read_rows(work / "labelled.csv")
    assert [(row["id"], row["text"]) for row in labelled] == [(row["id"], row["text"]) for row in corpus]
    assert len(labelled) == 150
    right = sum(row["label"] == desks[row["id"]] for row in labelled)
    assert right / len(labelled) > 0.6  # five desks; the most frequent has about a quarter of the articles

    figures = json.loads((work / "runs" / "desk" / "evaluation.json").read_text(encoding="utf-8"))["test"]
    assert figures["model"]["accuracy"] > figures["majority"]["accuracy"] + 0.2
    openings = (work / "runs" / "test-use.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["state"] for line in openings] == ["begun", "seen"]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))

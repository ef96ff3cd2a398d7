import subprocess
import sys

import pytest

from secondcoder.reporting.content import read
from secondcoder.reporting.page import show
from tests.reporting.made import compared, content, full_content, judged


def test_test_leads_then_folds_then_dev() -> None:
    every = {"dev": compared(90, 80), "folds": {"model": judged(70)}, "test": compared(88, 80)}
    assert list(read(content(evaluations=every)).evaluations) == ["test", "folds", "dev"]
    assert read(content(evaluations={"dev": every["dev"], "folds": every["folds"]})).judged_on == "folds"
    assert read(content(evaluations={})).judged_on is None


def test_pictures_are_drawn_of_what_there_is() -> None:
    assert set(show(full_content()).pictures) == {
        "shares", "train_loss", "macro-f1", "seeds", "classes", "reliability", "risk", "curve", "length", "groups",
    }  # fmt: skip
    assert set(show(content(evaluations={}, history=[])).pictures) == {"shares"}


@pytest.mark.slow
def test_what_only_labels_imports_no_matplotlib() -> None:
    code = "import sys, secondcoder.runs.train, secondcoder.reporting.card; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

import os
import subprocess
import sys
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import get_type_hints

import pytest

import secondcoder as sc
from secondcoder.signatures import init_takes, takes

SOURCE = Path(sc.__file__).parents[1]
# Other packages are not looked into, which would take minutes.
CONFIG = "[mypy]\nfollow_imports = skip\n[mypy-secondcoder.*]\nfollow_imports = silent\n"


@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class Arguments(Options):
    rows: str = field(kw_only=False)
    output: str


@takes(Arguments)
def work(given: Arguments) -> list[object]:
    """Work."""
    return [given.rows, given.output, given.size]


class Worker:
    @init_takes(Options)
    def __init__(self, given: Options) -> None:
        self.size = given.size


def test_a_function_has_the_fields_as_parameters_those_that_are_needed_first():
    assert str(signature(work)) == "(rows: str, *, output: str, size: int = 3) -> list[object]"
    assert str(signature(Worker.__init__)) == "(self, *, size: int = 3) -> None"
    assert (work.__name__, work.__doc__) == ("work", "Work.")
    assert work("a", output="b") == work(rows="a", output="b", size=3) == ["a", "b", 3]
    assert Worker(size=5).size == 5
    assert get_type_hints(work) == {"rows": str, "output": str, "size": int, "return": list[object]}


def test_a_wrong_argument_is_an_error_of_the_function():
    with pytest.raises(TypeError, match=r"^work\(\) got an unexpected keyword argument 'sise'"):
        work("a", output="b", sise=1)
    with pytest.raises(TypeError, match=r"^work\(\) missing 1 required keyword-only argument: 'output'"):
        work("a")
    with pytest.raises(TypeError, match=r"^Worker\.__init__\(\) got an unexpected keyword argument 'sise'"):
        Worker(sise=1)
    with pytest.raises(TypeError, match=r"^work\(\) takes 1 positional argument but 2 were given"):
        work("a", "b")
    with pytest.raises(TypeError, match=r"^label\(\) takes 2 positional arguments but 3 were given"):
        sc.label("run", "in.csv", "out.csv")
    with pytest.raises(TypeError, match=r"^train\(\) got an unexpected keyword argument 'epoch'"):
        sc.train(None, output="run", epoch=1)


@pytest.mark.slow
def test_a_type_checker_knows_each_keyword_and_its_type(tmp_path):
    wrong = {
        'sc.train(parts, output="run", epochs="3")': 'Argument "epochs" to "train" has incompatible type "str"',
        'sc.train(parts, output="run", epoch=3)': 'Unexpected keyword argument "epoch" for "train"',
        "sc.train(parts, epochs=3)": 'Missing named argument "output" for "train"',
        'sc.label("run", "in.csv", output="out.csv", backend="tf")': 'Argument "backend" to "label" has incompatible',
        'sc.read("in.csv", label_columns=1)': 'Argument "label_columns" to "read" has incompatible type "int"',
        'sc.SentenceClassifier(seeds="2")': 'Argument "seeds" to "SentenceClassifier" has incompatible type "str"',
    }
    right = [
        'corpus = sc.read(source="in.csv", text="t", label_columns=["a", "b"], label_names={"0": "a"}, seed=1)',
        "parts = sc.split(corpus)",
        'sc.train(split=parts, output="run", learning_rate="auto", class_weights={"a": 2.0}, resume=True)',
        'sc.label(model="run", source=["in.csv"], output="out.csv", min_confidence="auto", cpus=2)',
        "sc.SentenceClassifier(dev=5, positive=True, epochs=1)",
    ]
    lines = ["import secondcoder as sc", *right, *wrong]
    (tmp_path / "calls.py").write_text("\n".join(lines))
    (tmp_path / "mypy.ini").write_text(CONFIG)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "calls.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in run.stdout.splitlines() if ": error:" in line]
    assert len(found) == len(wrong), run.stdout + run.stderr
    for number, (line, message) in enumerate(zip(found, wrong.values(), strict=True), len(right) + 2):
        assert line.startswith(f"calls.py:{number}: error: {message}")

import json
import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
TOLD = f"import json, os; print(json.dumps({{name: os.environ.get(name) for name in {NAMES!r}}}))"


def run(code: str, **environment: str) -> tuple[dict[str, str | None], str]:
    """Return what a fresh process has in its environment after the code, and what it says on standard error."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{TOLD}"],
        capture_output=True,
        text=True,
        check=True,
        env={**clean, **environment},
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_openmp_is_told_not_to_spin_before_torch_is_imported():
    found, said = run("import secondcoder as sc; sc.read; import sys; assert 'torch' not in sys.modules")
    assert found == {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
    assert said == ""


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays_alone(name):
    found, said = run("import secondcoder as sc; sc.read; sc.Corpus", **{name: "7"})
    assert found == {**dict.fromkeys(NAMES), name: "7"}
    assert said == ""


def test_where_torch_is_there_nothing_is_changed_and_one_warning_names_the_line_to_put_first():
    code = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\nimport secondcoder as sc; {}"
    found, said = run(code.format("sc.Corpus; sc.SecondcoderError; sc.Corpus"))
    assert found == dict.fromkeys(NAMES)
    assert said.count("UserWarning") == 1
    line = said.partition("before torch is imported: ")[2].partition("\n")[0]
    again, said = run(f"{line}\n{code.format('sc.Corpus')}")
    assert again["GOMP_SPINCOUNT"] == "10000"
    assert said == ""

"""Ctrl-C at any moment: the moments are those at which a package has been imported, as Python tells them."""

import signal
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process alone")
@pytest.mark.parametrize(
    "imported",
    [
        "secondcoder.errors",
        "cyclopts",
        "numpy",
        "torch._C",
        "torch",
        pytest.param("transformers", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_while_the_program_starts_leaves_with_130_and_no_traceback(imported, labelled_file, tmp_path):
    words = ["label", str(tmp_path / "no-run"), str(labelled_file), "--output", str(tmp_path / "out.csv")]
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "secondcoder", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.rpartition("|")[2].strip() == imported:
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail(f"{imported} is not imported")
        seen += process.stderr.readlines()
    told = "".join(line for line in seen if not line.startswith("import time:"))
    assert process.returncode == 130, told
    assert told.startswith("Interrupted")
    assert "Traceback" not in told


FINALISER = """
import signal
import secondcoder.cli.main
from secondcoder.__main__ import main

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def run():
    Dropped()
    print("went on")

secondcoder.cli.main.main = run
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process alone")
def test_ctrl_c_in_a_finaliser_whose_errors_python_drops_leaves_all_the_same():
    done = subprocess.run(
        [sys.executable, "-c", FINALISER],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("Interrupted")

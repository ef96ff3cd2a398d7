"""The demo, from the first second to the last without a network, in a process of its own."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secondcoder.cli.demo import articles
from tests.tiny import make_encoder

# Every Python-level connection and name look-up passes these events; compiled clients are caught by the network
# namespace below, where the system gives one.
GUARD = """
import ipaddress, sys

def refuse(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            raise SystemExit(f"NETWORK: connect to {address}")
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "localhost", "127.0.0.1", "::1"):
        raise SystemExit(f"NETWORK: look-up of {arguments[0]}")

sys.addaudithook(refuse)
"""
PROBE = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
RUN = "from secondcoder.cli.main import main; main(sys.argv[1:])"
# The same on a quarter of the articles with a tiny network, and labelled by torch as in all tests but of backends. The
# packaged model is still read, for the lengths of the texts.
SMALLER = f"""
from secondcoder.cli import demo
from secondcoder.model import backend_choice
articles, settings = demo.articles, demo.TrainSettings
demo.articles, demo._LABELLED = lambda: articles()[::4], 400
demo.TrainSettings = lambda model, epochs: settings(model="encoder", epochs=epochs, learning_rate=5e-3, freeze=0.0)
backend_choice.is_installed = lambda: False
{RUN}
"""


def isolated(code: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code under the guard, and in an empty network namespace where that is allowed."""
    command = [sys.executable, "-c", GUARD + code, *words]
    for prefix in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        allowed = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if allowed and allowed.returncode == 0:
            command = [*prefix, *command]
            break
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}  # no HF_HUB_OFFLINE: offline must need no setting
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_guard_catches_a_connection(tmp_path):
    done = isolated(PROBE, cwd=tmp_path)
    assert done.returncode != 0
    assert "NETWORK: " in done.stderr


@pytest.mark.parametrize(
    ("code", "epochs", "least", "lead"),
    [
        pytest.param(SMALLER, 8, 0.15, 0.05, id="small"),
        pytest.param(RUN, 1, 0.85, 0.5, id="whole", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_the_demo_goes_the_whole_way_offline(code, epochs, least, lead, tmp_path):
    make_encoder(tmp_path / "encoder", [article.text for article in articles()])
    done = isolated(code, "demo", "--epochs", str(epochs), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NETWORK" not in done.stderr
    folder = tmp_path / "runs" / "demo"
    figures = json.loads((folder / "run" / "evaluation.json").read_text(encoding="utf-8"))
    test = {who: evaluation["averages"]["macro"]["f1"] for who, evaluation in figures["test"].items()}
    assert test["model"] > least
    assert test["model"] > test["majority"] + lead
    with (folder / "corpus.csv").open(encoding="utf-8", newline="") as stream:
        to_label = list(csv.DictReader(stream))
    with (folder / "labelled.csv").open(encoding="utf-8", newline="") as stream:
        labelled = list(csv.DictReader(stream))
    assert [row["id"] for row in labelled] == [row["id"] for row in to_label]
    right = sum(row["label"] == row["id"].rpartition("-")[0] for row in labelled) / len(labelled)
    assert right > least
    for said in ("1. ", "2. ", "3. ", "4. ", "report.html", "secondcoder train FILE"):
        assert said in done.stdout

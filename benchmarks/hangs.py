"""How many labellings of fresh processes never end, beside busy neighbours?

    python benchmarks/hangs.py RUN FILE --kind predict|label|evaluate [--tries 300] [--busy 2] [--watchdog]

Each try is a process forked before anything was computed, so that its first inference is its own; RUN labels with
OpenVINO, FILE has labelled texts. A try counts as hung if in 30 s it uses less than a twentieth of a core (threads that
wait for Python's lock wake up now and then), runs for 10 minutes, or ends with a signal or an exit code that is not 0.
The watchdog is off unless asked for: it would end what hangs.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

import psutil

os.environ["HF_HUB_OFFLINE"] = "1"
QUIET_SECONDS, MOST_SECONDS = 30.0, 600.0


def spin() -> NoReturn:
    while True:
        pass


def work(kind: str, run: Path, file: Path, folder: Path) -> None:
    import torch

    import secondcoder as sc

    torch.set_num_threads(2)
    if kind == "predict":
        sc.load(run).predict([f"tax jobs {i} health " + "care " * (i % 40) for i in range(200)])
    elif kind == "label":
        sc.label(run, file, output=folder / "out.csv", prefix="model_")
    else:
        from secondcoder.cli.main import main

        main(["evaluate", str(run), str(file), "--json"])


def a_try(kind: str, run: Path, file: Path) -> str:
    """Return how it ended: "0", another exit code, or "stands still"."""
    with tempfile.TemporaryDirectory() as name:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                work(kind, run, file, Path(name))
                os._exit(0)
            except SystemExit as left:  # of the command line
                os._exit(int(left.code or 0))
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                os._exit(1)
        process = psutil.Process(pid)
        begun = since = time.monotonic()
        used = -1.0
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            now = time.monotonic()
            if done:
                return str(os.waitstatus_to_exitcode(status))
            times = process.cpu_times()
            if (total := times.user + times.system) > used + 0.05 * QUIET_SECONDS:
                used, since = total, now
            if now - since > QUIET_SECONDS or now - begun > MOST_SECONDS:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return "stands still"
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--kind", choices=["predict", "label", "evaluate"], required=True)
    parser.add_argument("--tries", type=int, default=300)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--watchdog", action="store_true")
    told = parser.parse_args()
    if not told.watchdog:
        os.environ["SECONDCODER_STALL_SECONDS"] = "0"
    neighbours = [get_context("fork").Process(target=spin, daemon=True) for _ in range(told.busy)]
    for neighbour in neighbours:
        neighbour.start()
    import openvino  # noqa: F401
    import pyarrow  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import secondcoder as sc

    sc.load, sc.label  # noqa: B018
    ends: dict[str, int] = {}
    begun = time.monotonic()
    for number in range(1, told.tries + 1):
        end = a_try(told.kind, told.run, told.file)
        ends[end] = ends.get(end, 0) + 1
        if number % 10 == 0 or end != "0":
            sys.stderr.write(f"{number}: {ends}\n")
    for neighbour in neighbours:
        neighbour.kill()
    hung = told.tries - ends.get("0", 0)
    about = {"kind": told.kind, "tries": told.tries, "hung": hung, "ends": ends, "busy": told.busy}
    print(json.dumps({**about, "watchdog": told.watchdog, "seconds": round(time.monotonic() - begun)}))


if __name__ == "__main__":
    main()

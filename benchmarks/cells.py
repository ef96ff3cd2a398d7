"""Runs the cells of a simulation and keeps each as it comes, so that a run that was stopped goes on where it was.

In: jobs by name, what studies one, and what makes a page of the results. Out: the results as JSON and the page, written
again after each cell.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from secondcoder.environment import machine, versions

Result = dict[str, Any]


def options_parser(doc: str | None, *, studies: int) -> argparse.ArgumentParser:
    """Return the options that all simulations have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=studies, help="a cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--result", type=Path, required=True, help="without an ending: .md and .json are written")
    return parser


def run_cells(
    jobs: Mapping[str, Any],
    study: Callable[[Any], Result],
    *,
    about: Mapping[str, Any],
    write: Callable[[Sequence[Result]], str],
    result: Path,
    processes: int,
) -> None:
    """Study the cells that the result does not hold yet.

    Parameters
    ----------
    jobs
        Of each cell, by its name.
    study
        Makes a result of a job; a function of a module, as other processes call it.
    about
        Studies, seed and the like: with another one, cells are studied anew.
    write
        Makes the page of the results, in the order of the jobs.
    result
        Path without its ending.
    processes
        How many cells at a time.
    """
    path = result.with_suffix(".json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept: dict[str, Result] = before.get("cells", {}) if before.get("about") == dict(about) else {}
    missing = [name for name in jobs if name not in kept]
    with multiprocessing.Pool(processes) as pool:
        for name, (found, seconds) in zip(
            missing, pool.imap(_Timed(study), [jobs[name] for name in missing]), strict=True
        ):
            kept[name] = found | {"processor_seconds": seconds}
            done = {name: kept[name] for name in jobs if name in kept}
            whole = {"about": dict(about), "machine": machine(), "versions": versions(), "cells": done}
            path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
            result.with_suffix(".md").write_text(write(list(done.values())), encoding="utf-8")


def made_with(results: Sequence[Result], jobs: int) -> str:
    """Return how many cells there are, what they took, and where."""
    here, known = machine(), versions()
    used = ", ".join(f"{name} {known[name]}" for name in ("python", "numpy", "scipy") if name in known)
    many = f"{len(results)} cells" if len(results) == jobs else f"{len(results)} of {jobs} cells"
    seconds = sum(result["processor_seconds"] for result in results)
    return (
        f"{many}, {seconds:,.0f} s of processor, {used}; {here.get('processor') or 'processor unknown'}, "
        f"{here.get('cores')} cores"
    )


class _Timed:
    def __init__(self, study: Callable[[Any], Result]) -> None:
        self._study = study

    def __call__(self, job: Any) -> tuple[Result, float]:
        started = time.process_time()
        return self._study(job), round(time.process_time() - started, 1)

"""From the last labelled row to an output that is there: the manifest, the output, and then the work is cleared away.

In: a finished `Work`. Out: the output, its manifest, the rejected lines, a `LabelSummary`. Killed in between, the same
command does these steps again; an output that is there always has its manifest.
"""

import contextlib
from pathlib import Path
from typing import Any

from secondcoder.errors import StorageError
from secondcoder.formats.files import not_finite_findings
from secondcoder.labelling.outputs import Output
from secondcoder.labelling.summary import LabelSummary, confidence_findings, departure_findings
from secondcoder.labelling.work import Work, differences
from secondcoder.progress import Progress
from secondcoder.settings import LabelSettings
from secondcoder.storage import read_json, storage_errors, write_json


def finish(work: Work, about: dict[str, Any], settings: LabelSettings, progress: Progress) -> LabelSummary:
    """Put the output in its place and return what was done.

    Parameters
    ----------
    work
        All rows are labelled.
    about
        What the manifest says besides the counts; ``model`` holds the label names.
    settings
        How it was labelled.
    progress
        Shows how far the writing has come.

    Raises
    ------
    StorageError
        If something has come to stand in the output's place; the labels are kept.
    """
    output, done = work.output, work.done
    staged = work.gather_rest(progress)
    least = None if settings.min_confidence == "auto" else settings.min_confidence
    findings = (
        *not_finite_findings(done.not_finite),
        *confidence_findings(done.tally, least),
        *departure_findings(about["model"]),
    )
    summary = LabelSummary.of(output, done.tally, about["model"], findings)
    files = [
        {**{key: part[key] for key in ("name", "rows", "bytes", "sha256")}}
        if output.is_folder
        else {"name": output.path.name, **{key: part[key] for key in ("rows", "bytes", "sha256")}}
        for part in done.parts
    ]
    manifest = {**about, "output": {"folder": output.is_folder, "files": files}, "summary": summary.to_dict()}
    place(output, staged, manifest, rejected=work.gather_rejected())
    work.remove()
    return summary


def place(output: Output, staged: Path, manifest: dict[str, Any], *, rejected: Path | None) -> None:
    """Let the output be there, with the rejected lines and the manifest before it.

    Parameters
    ----------
    output
        Where to.
    staged
        The finished file or folder, on the same disk.
    manifest
        What is written beside it.
    rejected
        The rejected lines, if there are any.

    Raises
    ------
    StorageError
        If something has come to stand in the output's place; the labels are kept.
    """
    _refuse_newcomer(output)
    with storage_errors(output.rejected):
        if rejected is None:
            output.rejected.unlink(missing_ok=True)  # that of an output that is no more
        else:
            rejected.replace(output.rejected)
    write_json(output.manifest, manifest)
    try:
        output.publish(staged)
    except StorageError:
        if staged.exists() and not (output.path.exists() and output.path.samefile(staged)):
            with contextlib.suppress(OSError):  # of an output that is not there
                output.manifest.unlink(missing_ok=True)
                output.rejected.unlink(missing_ok=True)
            _refuse_newcomer(output)
        raise


def finished(work: Work, plan: dict[str, Any]) -> LabelSummary:
    """Return what was done where a process was killed after the output was there, while it cleared the work away.

    Raises
    ------
    StorageError
        If the output is something else.
    """
    output = work.output
    if output.manifest.exists():
        manifest = read_json(output.manifest)
        described = {name: manifest.get(name) for name in plan}
        described["input"] = {"sha256": (manifest.get("input") or {}).get("sha256")}
        if not differences(described, plan):
            work.remove()
            return LabelSummary.from_dict(manifest["summary"])
    output.refuse_existing()
    raise AssertionError("an output that is there is refused")


def _refuse_newcomer(output: Output) -> None:
    if output.exists:
        raise StorageError(
            f"The output {output.path} appeared while it was being made.",
            "Move it away and give the same command again: everything is labelled and saved.",
        )

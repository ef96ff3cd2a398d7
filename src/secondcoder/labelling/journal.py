"""What is finished of a labelling that is not: blocks, parts, and the plan that they belong to.

In: labelled chunks, one after the other. Out: the output's files, which are put together from whole blocks. Each block
is one file, written, synced and renamed at once; it knows where in the input it begins and ends. So whatever is in the
folder when the process is killed is true, and the same command goes on behind the last block.

    .labelled.csv.parts/
      plan.json           what is labelled with what; another command on the same output is refused
      blocks/000000/…     labelled chunks, as Arrow files
      journal.jsonl       a line for each part: its rows, counts and hash, and where in the input it ends
      parts/part-000000…  parts in the format of the output; its blocks are removed when its line is written
      rejected/…          the lines of the input that are no rows, by part
"""

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.errors import StorageError
from secondcoder.formats.files import open_writer
from secondcoder.labelling.inputs import START, Cursor
from secondcoder.labelling.outputs import Output, place
from secondcoder.labelling.summary import (
    LabelSummary,
    Tally,
    confidence_findings,
    departure_findings,
    not_finite_findings,
)
from secondcoder.progress import Progress, ProgressTask
from secondcoder.settings import LabelSettings
from secondcoder.storage import (
    append_json_line,
    atomic_path,
    read_json,
    read_json_lines,
    sha256_file,
    storage_errors,
    write_json,
    write_text,
)

PART_ROWS = 1 << 20  # of a part of an output folder
PART_BYTES = 1 << 30  # of the rows in memory; long texts make smaller parts
_TOGETHER = 256  # blocks in one folder: the time to write a file grows with the number of its neighbours
_MARK = b"secondcoder.block"
_FORMAT = 1


@dataclass
class Progressed:
    """How far it has come: what is in the parts, and the blocks behind them."""

    end: Cursor = START
    tally: Tally = field(default_factory=Tally)
    not_finite: Counter[str] = field(default_factory=Counter)
    parts: list[dict[str, Any]] = field(default_factory=list)
    first_block: int = 0
    next_block: int = 0
    pending_rows: int = 0
    pending_bytes: int = 0
    pending_tally: Tally = field(default_factory=Tally)


class Work:
    """The folder of an unfinished output; to be used by one process at a time (`secondcoder.storage.locked`).

    Parameters
    ----------
    output
        What is to be made.
    schema
        The columns of the labelled rows.

    Attributes
    ----------
    done
        What is finished.
    plan
        What was begun, with what.
    """

    def __init__(self, output: Output, schema: pa.Schema) -> None:
        self.output, self.folder = output, output.work
        self._schema = schema
        self.done = Progressed()
        self.plan: dict[str, Any] = {}

    @property
    def plan_file(self) -> Path:
        """Where the plan stands."""
        return self.folder / "plan.json"

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been labelled."""
        return self.done.end == START

    def begin(self, plan: dict[str, Any]) -> None:
        """Write the plan, or see that the one in the folder is the same; find what is done.

        Raises
        ------
        StorageError
            If the folder holds work on something else; says what differs.
        """
        if not self.plan_file.exists():
            for name in ("blocks", "parts", "rejected"):  # of a work without a plan, which cannot be known
                shutil.rmtree(self.folder / name, ignore_errors=True)
            with storage_errors(self.folder):
                (self.folder / "journal.jsonl").unlink(missing_ok=True)
            write_json(self.plan_file, {"format": _FORMAT, "id": uuid.uuid4().hex, **plan})
        self.plan = read_json(self.plan_file)
        if differing := differences(self.plan, {"format": _FORMAT, **plan}):
            raise StorageError(
                f"{self.output.path} was begun and is not finished, with other settings, model or input: "
                f"{'; '.join(differing)}.",
                f"Repeat the command that it was begun with, choose another output, or remove {self.folder}.",
            )
        with storage_errors(self.folder):
            self._find()

    def remember(self, **facts: Any) -> None:
        """Add to the plan what need not be found out again."""
        self.plan = {**self.plan, "aside": {**self.aside, **facts}}
        write_json(self.plan_file, self.plan)

    @property
    def aside(self) -> dict[str, Any]:
        """What the plan says beside what must stay the same."""
        found: dict[str, Any] = self.plan.get("aside", {})
        return found

    def commit(self, batch: pa.RecordBatch, rejected: list[dict[str, Any]], end: Cursor, tally: Tally) -> None:
        """Let labelled rows be there after any crash.

        Parameters
        ----------
        batch
            The rows, with the added columns.
        rejected
            Records of the input between them that are no rows.
        end
            Where the input goes on behind them.
        tally
            Their counts.
        """
        path = self._block(self.done.next_block)
        about = {
            "start": asdict(self.done.end),
            "end": asdict(end),
            "tally": tally.to_dict(),
            "bytes": int(batch.nbytes),
            "rejected": rejected,
        }
        schema = self._schema.with_metadata({**(self._schema.metadata or {}), _MARK: json.dumps(about).encode()})
        codec = "zstd" if pa.Codec.is_available("zstd") else None
        options = pa.ipc.IpcWriteOptions(compression=codec)
        rows = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        with (
            atomic_path(path) as temporary,
            storage_errors(path),
            temporary.open("wb") as stream,
            pa.ipc.new_file(stream, schema, options=options) as writer,
        ):
            writer.write_batch(rows)
        self._count(about)

    def gather_full(self) -> None:
        """Make a part of the blocks if there are enough of them for one; a file is one part, made at the end."""
        done = self.done
        if self.output.is_folder and (done.pending_rows >= PART_ROWS or done.pending_bytes >= PART_BYTES):
            self._gather(Progress())

    def gather_rest(self, progress: Progress) -> Path:
        """Make a part of what is left; return the finished file or folder, still under a name of its own."""
        if self.done.next_block > self.done.first_block or not self.done.parts:
            self._gather(progress)
        parts = self.folder / "parts"
        names = {part["name"] for part in self.done.parts}
        with storage_errors(parts):
            for stray in [path for path in parts.iterdir() if path.name not in names]:
                stray.unlink()
        return parts if self.output.is_folder else parts / self.done.parts[0]["name"]

    def gather_rejected(self) -> Path | None:
        """Return a file with all the rejected records, or None where there are none."""
        if not self.done.tally.rejected:
            return None
        target = self.folder / "rejected.jsonl"
        with atomic_path(target) as temporary, storage_errors(target), temporary.open("wb") as stream:
            for source in [self._rejected(part["name"]) for part in self.done.parts]:
                if source.exists():
                    with source.open("rb") as lines:
                        shutil.copyfileobj(lines, stream)
        return target

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _find(self) -> None:
        """Find what is done; what does not follow on from it is removed."""
        self.done = done = Progressed()
        for part in read_json_lines(self.folder / "journal.jsonl"):
            done.parts.append(part)
            done.end = Cursor(**part["end"])
            done.tally.add(Tally.from_dict(part["tally"]))
            done.not_finite.update(part["not_finite"])
            done.first_block = done.next_block = part["next_block"]
        while (about := _about(self._block(done.next_block))) and Cursor(**about["start"]) == done.end:
            self._count(about)
        for path in sorted(self.folder.glob("blocks/*/*.arrow")):
            if not done.first_block <= int(path.stem) < done.next_block:
                path.unlink()

    def _count(self, about: dict[str, Any]) -> None:
        tally = Tally.from_dict(about["tally"])
        self.done.next_block += 1
        self.done.end = Cursor(**about["end"])
        self.done.tally.add(tally)
        self.done.pending_tally.add(tally)
        self.done.pending_rows += tally.rows
        self.done.pending_bytes += about["bytes"]

    def _gather(self, progress: Progress) -> None:
        """Make a part of all blocks."""
        with storage_errors(self.folder), progress.task("Writing", self.done.pending_rows, unit="rows") as task:
            self._gather_blocks(task)

    def _gather_blocks(self, task: ProgressTask) -> None:
        done = self.done
        name = f"part-{len(done.parts):06d}{self.output.ending}"
        path = self.folder / "parts" / name
        numbers = range(done.first_block, done.next_block)
        with open_writer(path, self._schema) as writer:
            for number in numbers:
                rows = self._read(number)
                writer.write(rows)
                task.advance(rows.num_rows)
        if done.pending_tally.rejected:
            write_text(self._rejected(name), "".join(self._rejected_lines(numbers)))
        part = {
            "name": name,
            "rows": done.pending_rows,
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
            "end": asdict(done.end),
            "next_block": done.next_block,
            "tally": done.pending_tally.to_dict(),
            "not_finite": dict(writer.not_finite),
        }
        append_json_line(self.folder / "journal.jsonl", part)
        done.parts.append(part)
        done.not_finite.update(writer.not_finite)
        for number in numbers:
            self._block(number).unlink(missing_ok=True)
        done.first_block, done.pending_rows, done.pending_bytes = done.next_block, 0, 0
        done.pending_tally = Tally()

    def _read(self, number: int) -> pa.RecordBatch:
        with self._block(number).open("rb") as stream, pa.ipc.open_file(stream) as reader:
            return pa.RecordBatch.from_arrays(reader.get_batch(0).columns, schema=self._schema)

    def _rejected_lines(self, numbers: range) -> Iterator[str]:
        for number in numbers:
            about = _about(self._block(number))
            for record in about["rejected"] if about else ():
                yield json.dumps(record, ensure_ascii=False) + "\n"

    def _block(self, number: int) -> Path:
        return self.folder / "blocks" / f"{number // _TOGETHER:06d}" / f"{number:09d}.arrow"

    def _rejected(self, part: str) -> Path:
        return self.folder / "rejected" / f"{part}.jsonl"


def _about(path: Path) -> dict[str, Any] | None:
    """Return what a block says of itself, or None where there is no whole block."""
    try:
        with path.open("rb") as stream, pa.ipc.open_file(stream) as reader:
            found: dict[str, Any] = json.loads((reader.schema.metadata or {})[_MARK])
            return found
    except (FileNotFoundError, pa.ArrowException, KeyError, ValueError):
        return None


def differences(found: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """Return in what something that was found differs from a plan, in words."""
    wanted: dict[str, Any] = json.loads(json.dumps(plan))  # tuples become lists, as in what was found
    differing = []
    for name in wanted:
        one, other = found.get(name), wanted[name]
        if isinstance(one, dict) and isinstance(other, dict):
            differing += [
                f"{name} {key} was {_short(one.get(key))} and is {_short(other.get(key))}"
                for key in dict.fromkeys([*one, *other])
                if one.get(key) != other.get(key)
            ]
        elif one != other:
            differing.append(f"{name} was {_short(one)} and is {_short(other)}")
    return differing


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


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

"""The shards of a labelled corpus as one, in the order of the input.

In: what ``label --shard 1/n`` to ``n/n`` wrote. Out: the output that one labelling of the whole input would have
written. Shards hold rows by turns (`secondcoder.labelling.chunks.SHARD_ROWS` each), so their rows are taken by turns.
Text files are joined as they stand, row for row: what a shard wrote is not read and written anew.
"""

import contextlib
import heapq
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.errors import DataError, SettingsError, StorageError
from secondcoder.formats.files import find_format, open_reader, open_writer
from secondcoder.formats.text_files import TextStream, open_text
from secondcoder.labelling.chunks import SHARD_ROWS, rows_of_share
from secondcoder.labelling.inputs import expand
from secondcoder.labelling.journal import PART_ROWS
from secondcoder.labelling.outputs import SIDECARS, Output, find_output, place
from secondcoder.labelling.summary import LabelSummary, Tally, confidence_findings
from secondcoder.progress import Progress
from secondcoder.storage import atomic_path, locked, read_json, sha256_file, storage_errors


class Source(ABC):
    """The rows of some files, one after the other."""

    @abstractmethod
    def take(self, n: int) -> tuple[Any, int]:
        """Return the next n rows, fewer at the end, and how many they are."""


class Target(ABC):
    """A file that takes rows as a `Source` gives them."""

    @abstractmethod
    def write(self, rows: Any) -> None:
        """Append the rows."""


class _Lines(Source):
    def __init__(self, files: list[Path], *, is_csv: bool) -> None:
        self._is_csv = is_csv
        self.header = ""
        if is_csv:
            self.header = next(self._rows(files[0]), "")
        self._records = (row for path in files for row in self._behind_header(path))

    def take(self, n: int) -> tuple[str, int]:
        rows = list(islice(self._records, n))
        return "".join(rows), len(rows)

    def _behind_header(self, path: Path) -> Iterator[str]:
        rows = self._rows(path)
        if self._is_csv:
            next(rows, None)
        return rows

    def _rows(self, path: Path) -> Iterator[str]:
        with open_text(path, newline="\n") as stream:
            if not self._is_csv:
                yield from stream
                return
            row = ""
            for line in stream:
                row += line
                if row.count('"') % 2 == 0:
                    yield row
                    row = ""


class _Batches(Source):
    def __init__(self, files: list[Path]) -> None:
        self.schema = open_reader(files[0]).schema
        self._batches = (batch for path in files for batch in open_reader(path))
        self._rest: pa.RecordBatch | None = None

    def take(self, n: int) -> tuple[list[pa.RecordBatch], int]:
        taken: list[pa.RecordBatch] = []
        left = n
        while left:
            batch = self._rest or next(self._batches, None)
            if batch is None:
                break
            taken.append(batch.slice(0, left))
            self._rest = batch.slice(left) if batch.num_rows > left else None
            left -= taken[-1].num_rows
        return taken, n - left


class _LinesTarget(Target):
    def __init__(self, stream: TextStream) -> None:
        self._stream = stream

    def write(self, rows: str) -> None:
        self._stream.write(rows)


class _BatchesTarget(Target):
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, rows: list[pa.RecordBatch]) -> None:
        for batch in rows:
            self._writer.write(batch)


def open_source(files: list[Path], ending: str) -> Source:
    """Return the rows of files of one labelled output."""
    kind = find_format(ending)
    return _Batches(files) if kind == "parquet" else _Lines(files, is_csv=kind != "jsonl")


@contextlib.contextmanager
def open_target(path: Path, like: Source) -> Iterator[Target]:
    """Yield a file that takes the rows of sources like this one; when the block ends well, it is there."""
    if isinstance(like, _Batches):
        with open_writer(path, like.schema) as writer:
            yield _BatchesTarget(writer)
        return
    assert isinstance(like, _Lines)
    with atomic_path(path) as temporary, storage_errors(path):
        stream = TextStream(temporary, path.suffix.lower())
        try:
            stream.write(like.header)
            yield _LinesTarget(stream)
        finally:
            stream.close()


_EQUAL = ("format", "input", "model", "settings")


def merge(shards: Sequence[Path], output: Path, *, progress: Progress | None = None) -> LabelSummary:
    """Write all rows of the shards in the order of the input, and return what was done in all of them.

    Parameters
    ----------
    shards
        The outputs of all shards, in any order, or patterns; the manifest of each is beside it.
    output
        The file or folder to write, in the format of the shards.
    progress
        Shows how far it has come.

    Raises
    ------
    DataError
        If a shard is missing, comes twice, was changed, or was made from another input, model or settings.
    SettingsError
        If the output's ending is another format than that of the shards.
    StorageError
        If the output is already there or cannot be written.
    """
    progress = progress or Progress()
    paths = [path for source in shards for path in expand(Path(source), folders=False)]
    found = [_Shard(path) for path in paths if not path.name.endswith(SIDECARS)]  # 's/*' means the shards
    found.sort(key=lambda shard: shard.number)
    _check_together(found)
    first = found[0]
    target = find_output(output, "")
    target = replace(target, ending=target.ending or first.ending)
    target.refuse_existing()
    if (target.work / "plan.json").exists():
        raise StorageError(
            f"The output {target.path} was begun by a labelling that is not finished.",
            f"Choose another output, or remove {target.work}.",
        )
    if target.ending.split(".")[1] != first.ending.split(".")[1]:
        raise SettingsError(
            f"The shards end in {first.ending}, the output in {target.ending}.",
            f"Let the output end in {first.ending}, or leave the ending out for a folder.",
        )
    for shard in found:
        shard.check_unchanged()
    with locked(target.work):
        target.refuse_existing()
        try:
            return _merge(found, target, progress)
        finally:
            shutil.rmtree(target.work, ignore_errors=True)


class _Shard:
    """A labelled shard: its manifest, and where its files are."""

    def __init__(self, path: Path) -> None:
        self.output = find_output(path, "")
        if not self.output.manifest.exists():
            cure = "It is not finished: give its command again." if self.output.work.exists() else "Check the path."
            raise DataError(f"{path} has no manifest {self.output.manifest.name} beside it.", cure)
        self.manifest: dict[str, Any] = read_json(self.output.manifest)
        share = self.manifest.get("settings", {}).get("shard")
        if not share:
            raise DataError(f"{path} is no shard: it was labelled without --shard.", "Leave it out.")
        self.number, self.of = (int(n) for n in share.split("/"))
        self.ending: str = self.manifest["settings"]["ending"]

    @property
    def path(self) -> Path:
        """What the user knows it by."""
        return self.output.path

    @property
    def files(self) -> list[Path]:
        """Its files in order."""
        names = [file["name"] for file in self.manifest["output"]["files"]]
        return [self.path / name if self.manifest["output"]["folder"] else self.path for name in names]

    def check_unchanged(self) -> None:
        """Raise `DataError` unless the files are those that labelling wrote."""
        for path, file in zip(self.files, self.manifest["output"]["files"], strict=True):
            if not path.exists():
                raise DataError(f"{path} of the shard {self.number}/{self.of} is not there.", "Label the shard again.")
            if sha256_file(path) != file["sha256"]:
                raise DataError(f"{path} was changed after it was labelled.", "Label the shard again.")

    def comparable(self) -> dict[str, Any]:
        """Return what all shards have in common."""
        same: dict[str, Any] = {name: self.manifest.get(name) for name in _EQUAL}
        same["input"] = {name: same["input"][name] for name in ("sha256", "rows")}
        same["settings"] = {name: value for name, value in same["settings"].items() if name != "shard"}
        device = str(same["model"].get("device", "")).partition(":")[0]  # cuda:1 computes as cuda:0 does
        same["model"] = {**same["model"], "device": device}
        return same

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Yield the rejected lines of the input, each with the number of its file."""
        if not self.manifest["summary"]["rejected"]:
            return
        files = {file["name"]: i for i, file in enumerate(self.manifest["input"]["files"])}
        with self.output.rejected.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                yield {**record, "_file": files[record["file"]]}


def _check_together(shards: list[_Shard]) -> None:
    """Raise `DataError` unless these are all the shards of one labelling."""
    if not shards:
        raise DataError("No shards were named.", "Name the outputs of all shards.")
    first = shards[0]
    for shard in shards:
        if shard.of != first.of:
            raise DataError(
                f"{first.path} is shard {first.number}/{first.of}, {shard.path} is {shard.number}/{shard.of}.",
                "Merge shards of one division.",
            )
        for name, value in first.comparable().items():
            other = shard.comparable()[name]
            if value != other:
                keys = [key for key in value if value[key] != other.get(key)] if isinstance(value, dict) else []
                what = (
                    ", ".join(f"{key} {value[key]!r} and {other.get(key)!r}" for key in keys) or f"{value} and {other}"
                )
                raise DataError(
                    f"{first.path} and {shard.path} were made with another {name}: {what}.",
                    "Label one of them again, as the other was.",
                )
    numbers = [shard.number for shard in shards]
    if twice := [number for number in set(numbers) if numbers.count(number) > 1]:
        raise DataError(f"Shard {twice[0]}/{first.of} comes twice.", "Name each shard once.")
    if missing := sorted(set(range(1, first.of + 1)) - set(numbers)):
        shown = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
        raise DataError(f"Of {first.of} shards, {len(missing)} are missing: {shown}.", "Label these, or name them too.")
    for shard in shards:
        expected = rows_of_share(shard.manifest["input"]["rows"], (shard.number, shard.of))
        if shard.manifest["summary"]["rows"] != expected:
            raise DataError(
                f"{shard.path} has {shard.manifest['summary']['rows']:,} rows, and its share is {expected:,}.",
                "Label it again.",
            )


def _merge(shards: list[_Shard], output: Output, progress: Progress) -> LabelSummary:
    manifest = shards[0].manifest
    total = manifest["input"]["rows"]
    files: list[dict[str, Any]] = []
    sources = [open_source(shard.files, shard.ending) for shard in shards]
    blocks = _by_turns(sources, total)
    with storage_errors(output.work), progress.task("Merging", total, unit="rows") as task:
        n_parts = max(1, -(-total // PART_ROWS)) if output.is_folder else 1
        for i in range(n_parts):
            name = f"part-{i:06d}{output.ending}" if output.is_folder else output.path.name
            path = output.work / "parts" / name
            rows = 0
            with open_target(path, sources[0]) as target:
                for block, n in islice(blocks, PART_ROWS // SHARD_ROWS if output.is_folder else None):
                    target.write(block)
                    rows += n
                    task.advance(n)
            files.append({"name": name, "rows": rows, "bytes": path.stat().st_size, "sha256": sha256_file(path)})
    if left := [shard.path for shard, source in zip(shards, sources, strict=True) if source.take(1)[1]]:
        raise DataError(f"{left[0]} has more rows than its manifest says.", "Label it again.")
    tally = Tally()
    for shard in shards:
        found = shard.manifest["summary"]
        tally.add(
            Tally.from_dict(
                {
                    "rows": found["rows"],
                    "labels": found["label_counts"] | ({"": n} if (n := found.get("no_class")) else {}),
                    "reasons": found["unlabelled"],
                    "truncated": found["truncated"],
                    "rejected": found["rejected"],
                    "seconds": found["seconds"],
                }
            )
        )
    if sum(file["rows"] for file in files) != tally.rows:
        raise DataError("The shards have other numbers of rows than their manifests say.", "Label them again.")
    rejected = output.work / "rejected.jsonl"
    _merge_rejected(shards, rejected)
    about = {
        **{name: manifest[name] for name in ("format", "input", "model", "versions")},
        "id": None,
        "threads": sorted({n for shard in shards for n in shard.manifest["threads"]}),
        "settings": {**manifest["settings"], "shard": None, "ending": output.ending},
        "merged": [shard.path.as_posix() for shard in shards],
        "output": {"folder": output.is_folder, "files": files},
    }
    findings = confidence_findings(tally, manifest["settings"]["min_confidence"])
    summary = LabelSummary.of(output, tally, manifest["model"], findings)
    staged = output.work / "parts" / ("" if output.is_folder else output.path.name)
    place(output, staged, {**about, "summary": summary.to_dict()}, rejected=rejected if tally.rejected else None)
    return summary


def _by_turns(sources: list[Source], total: int) -> Iterator[tuple[Any, int]]:
    """Yield blocks of rows in the order of the input, each with its number of rows."""
    for block in range(-(-total // SHARD_ROWS)):
        rows, n = sources[block % len(sources)].take(min(SHARD_ROWS, total - block * SHARD_ROWS))
        yield rows, n


def _merge_rejected(shards: list[_Shard], path: Path) -> None:
    together = heapq.merge(
        *(shard.rejected() for shard in shards), key=lambda record: (record["_file"], record["line"])
    )
    with atomic_path(path) as temporary, storage_errors(path), temporary.open("w", encoding="utf-8") as stream:
        for record in together:
            del record["_file"]
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")

"""Data sets of the Hugging Face hub and of `datasets`, with the parts that they give.

In: ``hub:owner/name[:config]``, a `datasets.Dataset` or `DatasetDict`, a folder that one was saved to, or a folder
with a file for each part. Out: `Rows`. The network is used for a ``hub:`` address and nothing else; a data set's own
code is never run. `datasets` is imported by the functions that need it, as it takes longer than reading a file does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.corpus.corpus import PARTS, Part
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.frames import Rows, class_names, with_class_names
from secondcoder.environment import prepare_environment
from secondcoder.errors import DataError
from secondcoder.formats.files import FORMATS, read_table

PREFIX = "hub:"
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}


def is_datasets(source: object) -> bool:
    """Return whether the object belongs to the package `datasets`."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(source).__mro__)


def from_datasets(source: Any, name: str = "") -> Rows:
    """Return the rows of a `datasets.Dataset` or `DatasetDict`.

    Raises
    ------
    DataError
        If it is a stream, or its parts do not fit together.
    """
    if isinstance(source, Mapping):
        return _join(name or "datasets.DatasetDict", {str(part): _table(data) for part, data in source.items()})
    return Rows(name or "datasets.Dataset", _table(source))


def from_hub(address: str) -> Rows:
    """Return the rows of the data set at ``hub:owner/name[:config]``, downloaded unless it is in the cache.

    Raises
    ------
    DataError
        If the data set cannot be had.
    """
    path, _, config = address.removeprefix(PREFIX).partition(":")
    if not path:
        raise DataError(f"{address!r} names no data set.", "Write hub:owner/name or hub:owner/name:config.")
    prepare_environment()
    import datasets

    try:
        found = datasets.load_dataset(path, config or None)
    except ConnectionError as error:  # also what `datasets` says when it has been told to stay offline
        raise DataError(
            f"The hub cannot be reached for {path!r}: {error}.",
            "Connect to the network (or unset HF_HUB_OFFLINE), or download the data set elsewhere, save it with "
            "save_to_disk(), and give the folder.",
        ) from error
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DataError(
            f"There is no data set {path!r} to be had from the hub: {error}.",
            "Check the name (owner/name); for a gated one, ask for access and log in with `hf auth login`.",
        ) from error
    except Exception as error:  # the loaders behind `load_dataset` raise whatever they please
        raise DataError(
            f"The data set {path!r} cannot be read{f' in configuration {config!r}' if config else ''}: {error}",
            "If it has configurations, name one: hub:owner/name:config. One that needs its own code is not run: give "
            "its data files.",
        ) from error
    return from_datasets(found, address)


def from_folder(folder: Path) -> Rows:
    """Return the rows of a folder: one made by `save_to_disk`, or one with files such as train.csv and test.csv.

    Raises
    ------
    DataError
        If it is neither.
    """
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        prepare_environment()
        import datasets

        try:
            return from_datasets(datasets.load_from_disk(str(folder)), str(folder))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{folder} is not a sound data set folder: {error}.", "Save it again.") from error
    return _join(str(folder), {split: _stack(split, files) for split, files in _part_files(folder).items()})


def _part_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split; a hub repository has them in data/, numbered as in train-00000-of-00002."""
    for place in (folder / "data", folder):
        files: dict[str, list[Path]] = {}
        for file in sorted(place.glob("*")):
            if file.suffix.lower() in FORMATS and file.is_file():
                files.setdefault(file.stem.split("-")[0], []).append(file)
        if any(split.lower() in PART_NAMES for split in files):
            return {split: files[split] for split in sorted(files, key=_place)}
    raise DataError(
        f"{folder} is not a data set: it has no file for a part.",
        f"Give a file, a folder made by save_to_disk(), or one with train.csv, dev.csv and test.csv "
        f"(or {', '.join(sorted(set(FORMATS) - {'.csv'}))}).",
    )


def _place(split: str) -> int:
    return PARTS.index(PART_NAMES[split.lower()]) if split.lower() in PART_NAMES else len(PARTS)


def _stack(split: str, files: list[Path]) -> pa.Table:
    if len({file.suffix for file in files}) > 1:
        raise DataError(
            f"The part {split!r} comes in several formats: {[file.name for file in files]}.", "Keep one of them."
        )
    return _concatenate({file.name: read_table(file) for file in files})


def _table(data: Any) -> pa.Table:
    if not hasattr(data, "with_format") or not hasattr(data, "__len__"):
        raise DataError(
            f"A {type(data).__name__} has no rows to count: it is a stream.", "Load it with streaming=False."
        )
    table = data.with_format("arrow")[:]
    # The features, with the names of a ClassLabel, travel in the schema's metadata.
    return table.replace_schema_metadata(data.features.arrow_schema.metadata)


def _join(name: str, tables: Mapping[str, pa.Table]) -> Rows:
    """Return the splits one after the other, with the part of each row."""
    known = {split: table for split, table in tables.items() if split.lower() in PART_NAMES}
    left_out = [split for split in tables if split not in known]
    if not known:
        if len(tables) == 1:  # one split by a name of its own is all the data there is
            return Rows(name, next(iter(tables.values())))
        raise DataError(
            f"{name} has the splits {list(tables)}, none of which is train, dev or test.",
            "Choose one of them, such as data['...'], and give that.",
        )
    roles = [PART_NAMES[split.lower()] for split in known]
    if len(set(roles)) < len(roles):
        raise DataError(f"{name} has the splits {list(known)}, several of which are one part.", "Remove one.")
    findings: tuple[Finding, ...] = ()
    if left_out:
        n = sum(tables[split].num_rows for split in left_out)
        findings = (
            Finding(
                "unused-split",
                "note",
                f"Splits that are none of train, dev and test were left out: {', '.join(left_out)}.",
                rows=n,
                examples=tuple(left_out),
            ),
        )
    parts = tuple(PART_NAMES[split.lower()] for split, table in known.items() for _ in range(table.num_rows))
    return Rows(name, _concatenate(known), parts, findings=findings)


def _concatenate(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the rows of all tables; a column that one of them lacks is null there."""
    fields: dict[str, tuple[str, pa.Field]] = {}
    classes: dict[str, tuple[str, list[str]]] = {}
    for name, table in tables.items():
        for column, names in class_names(table.schema).items():
            before, known_names = classes.setdefault(column, (name, names))
            if names != known_names:
                raise DataError(
                    f"The classes of {column!r} are {known_names} in {before} and {names} in {name}.",
                    "Give all parts the same ClassLabel.",
                )
        for field in table.schema:
            before, known = fields.setdefault(field.name, (name, field))
            if pa.types.is_null(known.type):
                fields[field.name] = (name, field)
            elif not pa.types.is_null(field.type) and (known.type, known.metadata) != (field.type, field.metadata):
                raise DataError(
                    f"Column {field.name!r} is {known.type} in {before} and {field.type} in {name}.",
                    "Give it one type in all parts.",
                )
    metadata = with_class_names({column: names for column, (_, names) in classes.items()})
    schema = pa.schema([field for _, field in fields.values()], metadata=metadata)
    return pa.concat_tables([_with_schema(table, schema) for table in tables.values()])


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)

"""Whatever holds texts and labels, read into a `Corpus`.

In: a path, a list of dicts, a data frame, a data set of `datasets`, or a ``hub:`` address; which column is what.
Out: `Corpus`. Label names are fixed here, once; every column comes along value for value.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.corpus import hub
from secondcoder.corpus.cells import as_strings, ids_of, texts_of
from secondcoder.corpus.corpus import PARTS, Corpus, Part, Source, require_column
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.frames import Rows, from_memory
from secondcoder.corpus.labels import label_roles, read_labels
from secondcoder.errors import ColumnError, DataError, SettingsError
from secondcoder.formats.files import read_table
from secondcoder.settings import DEFAULT_SEED, ReadSettings
from secondcoder.signatures import takes
from secondcoder.storage import sha256_file, sha256_strings


@dataclass(frozen=True, kw_only=True)
class ReadArguments(ReadSettings):
    """What `read` is called with: which columns are what, and where they are."""

    source: object = field(kw_only=False)
    label_names: str | Mapping[str, str] | None = None  # type: ignore[assignment]  # on the command line, text only
    seed: int = DEFAULT_SEED


@takes(ReadArguments)
def read(given: ReadArguments) -> Corpus:
    """Return the texts and labels of a file, a data frame or a data set as a `Corpus`.

    Strings are taken as they stand: ``None``, ``NA``, ``001`` and ``True`` are labels like any other, and only an empty
    cell (or null, or a number that is NaN) is missing. Of other types, whole numbers become labels as ``"1"``, true
    and false as ``"True"`` and ``"False"``, and the integers of a `datasets.ClassLabel` take their names.

    Parameters
    ----------
    source
        A path to a CSV, TSV, JSON-lines or Parquet file or to a data set folder; a list of dicts; a pandas or polars
        data frame (whose index is not read); a `datasets.Dataset` or `DatasetDict`; ``"hub:owner/name[:config]"``.
    text
        Column with the texts to classify.
    label
        Column with the hand-given labels: one a text; several where the cells are lists, or where `label_separator`
        says what stands between them. Without it, no row has a label.
    label_separator
        What stands between the labels of a cell. Names lose the blanks around them; an empty cell is a row without a
        label. For lists and `label_columns`: what joins labels when they are written, ``";"`` unless named.
    label_columns
        In place of `label`: columns of 0 and 1 (false and true, no and yes), one for each class, any number of which a
        text may have. A row all of whose cells are empty has no label; one with some empty cells is an error.
    label_shares
        In place of `label`: columns with the share, or the number, of coders that gave each class. Each row is divided
        by its sum; the label is the class that most gave, of equal ones the first in the order of the label names.
    no_label
        The word in the label column for a text of no class, where a text may have several. An empty list is one too.
    group
        Column with the document, author or film that a text comes from.
    id
        Column with a unique id for each row. Without it, rows are numbered from 1.
    split_column
        Column that says which part a row belongs to: train, dev (validation, valid, val) or test, in any case; no part
        where it is empty.
    label_names
        Names for coded labels: a mapping, or ``"0=negative,1=positive"``.
    positive
        The positive class of a two-class task.
    ordinal
        The order of the classes, where they have one: their names from low to high, with commas between them; or
        ``"natural"``, as people sort, so that 2 stands before 10.
    sample_train, sample_dev, sample_test
        How many rows to draw of each part that the data gives, without replacement; all of them unless set.
    dev_from
        Where the data gives no dev part: the part to take `sample_dev` rows from, before anything else is drawn of it.
    seed
        Decides which rows are drawn, together with their ids alone.

    Returns
    -------
    Corpus
        All rows, in order; `Corpus.findings` says what was noticed about the labels and groups.

    Raises
    ------
    ColumnError
        If a named column is not there; lists those that are.
    DataError
        If the source cannot be read, or its cells cannot be texts, labels, ids or parts.
    SettingsError
        If the parameters contradict each other, or ask for more rows than there are.
    """
    return corpus_of(load_rows(given.source), given, seed=given.seed)


def corpus_of(rows: Rows, settings: ReadSettings, *, seed: int = DEFAULT_SEED) -> Corpus:
    """Return what `read` does of a source that has been loaded."""
    mapping = _mapping(settings.label_names)
    roles = roles_of(settings, rows.table)
    ids = ids_of(rows.table, settings.id)
    texts = texts_of(rows.table, roles["text"], ids)
    labels = read_labels(rows.table, settings, mapping, ids)
    findings = [*rows.findings, *labels.findings]
    groups = None
    if settings.group is not None:
        groups = as_strings(rows.table, settings.group)
        findings += _look_at_groups(settings.group, groups, ids)
    corpus = Corpus(
        ids=tuple(ids),
        texts=tuple(texts),
        labels=labels.labels,
        label_names=labels.names,
        columns=rows.table.replace_schema_metadata(None),
        source=Source(rows.name, rows.sha256 or "", roles, _options(settings, mapping, seed)),
        groups=None if groups is None else tuple(groups),
        parts=_parts(rows, settings.split_column),
        positive=settings.positive,
        task=labels.task,
        separator=labels.separator,
        shares=labels.shares,
        findings=tuple(findings),
    )
    return _with_hash(_single_part(_draw(corpus, settings, seed)))


def _options(settings: ReadSettings, mapping: dict[str, str], seed: int) -> dict[str, Any]:
    """Return how else the data was read, where anything else was asked for."""
    labels = {
        name: list(value) if isinstance(value, tuple) else value
        for name in ("label_separator", "label_columns", "label_shares", "no_label", "ordinal")
        if (value := getattr(settings, name))
    }
    drawn = {
        name: value
        for name in ("sample_train", "sample_dev", "sample_test", "dev_from")
        if (value := getattr(settings, name)) is not None
    }
    return {
        **labels,
        **({"label_names": mapping} if mapping else {}),
        **drawn,
        **({"sample_seed": seed} if drawn else {}),
    }


def load_rows(source: object) -> Rows:
    """Return the source's table, whatever the source is.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if isinstance(source, str) and source.startswith(hub.PREFIX):
        return hub.from_hub(source)
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if path.is_dir():
            return hub.from_folder(path)
        table = read_table(path)
        return Rows(str(source), table, sha256=sha256_file(path))
    if hub.is_datasets(source):
        return hub.from_datasets(source)
    return from_memory(source)


def _mapping(label_names: Mapping[str, str] | str | None) -> dict[str, str]:
    mapping = {str(code): str(name) for code, name in as_label_mapping(label_names).items()}
    if len(set(mapping.values())) < len(mapping):
        raise SettingsError(f"label names {mapping!r} give two codes one name.", "Name each code differently.")
    return mapping


def roles_of(settings: ReadSettings, table: pa.Table) -> dict[str, str]:
    """Return which column plays which role, each being there and playing no other.

    Raises
    ------
    ColumnError
        If no column of texts is named, or a named column is not there.
    SettingsError
        If a column is named twice.
    """
    columns = table.column_names
    if settings.text is None:
        raise ColumnError(
            f"No text column was named; the columns are: {', '.join(map(repr, columns))}.",
            "Name the one with the texts: --text COLUMN, or text='COLUMN'.",
        )
    roles: dict[str, str] = {}
    named = {
        "text": settings.text,
        **label_roles(settings),
        "group": settings.group,
        "id": settings.id,
        "split": settings.split_column,
    }
    for role, column in named.items():
        if column is None:
            continue
        require_column(column, columns)
        for other, taken in roles.items():
            # Ids may name the documents where each text is one of its own; nothing else may serve twice.
            if column == taken and (other, role) != ("group", "id"):
                raise SettingsError(
                    f"Column {column!r} was named as {other} and as {role}.",
                    "Name a column for each, or leave one out.",
                )
        roles[role] = column
    return roles


def _look_at_groups(column: str, groups: Sequence[str], ids: Sequence[str]) -> list[Finding]:
    missing = [i for i, group in zip(ids, groups, strict=True) if not group]
    if not missing:
        return []
    return [
        Finding(
            "missing-group",
            "warning",
            f"The group column {column!r} is empty in {len(missing):,} rows; each counts as a group of its own.",
            "Fill in the cells, if the rows belong to one of the groups.",
            rows=len(missing),
            examples=tuple(missing[:5]),
        )
    ]


def _parts(rows: Rows, split_column: str | None) -> tuple[Part | None, ...] | None:
    if split_column is None:
        return rows.parts
    if rows.parts is not None:
        raise SettingsError(
            f"{rows.name} gives its own parts, and --split-column names {split_column!r}.", "Leave it out."
        )
    values = [value.strip().casefold() for value in as_strings(rows.table, split_column)]
    if strange := sorted({value for value in values if value and value not in hub.PART_NAMES}):
        raise DataError(
            f"The split column {split_column!r} holds {', '.join(map(repr, strange[:10]))}.",
            "Its values may be train, dev (or validation) and test, or empty.",
        )
    return tuple(hub.PART_NAMES[value] if value else None for value in values)


def _draw(corpus: Corpus, settings: ReadSettings, seed: int) -> Corpus:
    """Return the corpus with dev taken from another part and parts cut to samples, as the settings ask."""
    wanted = {part: n for part in PARTS if (n := getattr(settings, f"sample_{part}")) is not None}
    if not wanted:
        return corpus
    if corpus.parts is None:
        raise SettingsError(
            f"The data gives no parts, and a sample of {', '.join(wanted)} was asked.",
            "Name the split column, or leave the samples out and split by size (--dev, --test).",
        )
    parts: list[Any] = list(corpus.parts)
    if settings.dev_from is not None:
        if "dev" in parts:
            raise SettingsError("The data has a dev part already.", f"Leave out --dev-from {settings.dev_from}.")
        for row in _drawn(corpus.ids, parts, settings.dev_from, wanted["dev"], seed):
            parts[row] = "dev"
    kept = {part: set(_drawn(corpus.ids, parts, part, n, seed)) for part, n in wanted.items()}
    rows = [row for row, part in enumerate(parts) if part not in kept or row in kept[part]]
    return replace(corpus, parts=tuple(parts)).take(rows)


def _drawn(ids: Sequence[str], parts: Sequence[Part | None], part: Part, n: int, seed: int) -> list[int]:
    """Return `n` rows of a part: the first by the SHA-256 of seed and id, so that the rows' order plays no role."""
    rows = [row for row, own in enumerate(parts) if own == part]
    if len(rows) < n:
        raise SettingsError(f"{n:,} rows of {part} were asked, and it has {len(rows):,}.", "Ask for fewer.")
    return sorted(rows, key=lambda row: hashlib.sha256(f"sample {seed} {ids[row]}".encode()).digest())[:n]


def _single_part(corpus: Corpus) -> Corpus:
    """Return the corpus without parts if the source's parts are one: it is then still to be split."""
    if corpus.parts is None or len(set(corpus.parts)) > 1 or "split" in corpus.source.columns:
        return corpus
    return replace(corpus, parts=None)


def _with_hash(corpus: Corpus) -> Corpus:
    if corpus.source.sha256:
        return corpus
    shares = () if corpus.shares is None else (corpus.shares.ravel().astype(str).tolist(),)
    key = sha256_strings(corpus.ids, corpus.texts, corpus.labels, *shares)
    return replace(corpus, source=replace(corpus.source, sha256=key))


def parse_label_names(text: str) -> dict[str, str]:
    """Return the mapping that ``"0=negative,1=positive"`` spells out.

    Raises
    ------
    SettingsError
        If a pair has no ``=``, a code comes twice, or two codes get one name.
    """
    mapping: dict[str, str] = {}
    for pair in text.split(","):
        code, equals, name = (piece.strip() for piece in pair.partition("="))
        if not (code and equals and name):
            raise SettingsError(f"label names {text!r}: {pair!r} is not CODE=NAME.", "Write 0=negative,1=positive.")
        if code in mapping or name in mapping.values():
            raise SettingsError(f"label names {text!r}: {pair!r} repeats a code or a name.", "Name each code once.")
        mapping[code] = name
    return mapping


def as_label_mapping(label_names: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return label names given either way as a mapping, empty where none are given."""
    if label_names is None:
        return {}
    return parse_label_names(label_names) if isinstance(label_names, str) else dict(label_names)

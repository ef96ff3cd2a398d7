"""Openings of the test part: written down before a figure is seen, counted by the rows, told with what had changed.

In: a run and the rows of its test part. Out: lines of ``test-use.jsonl`` beside the runs, and `Opening`s read from it.

    {"opening": "5f…", "state": "begun", "test": …, "rows": …, "run": …, "model": …, "time": …, "settings": …}
    {"opening": "5f…", "state": "seen", "test": …, "time": …}      before the first figure is written or printed
    {"opening": "5f…", "state": "crashed", "test": …, "time": …}   it ended before that

The book only grows, each line is on the disk before anything else is done, and writers take turns. What has no state is
of an earlier version, which told nothing apart: it counts as seen.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import RunError, StorageError
from secondcoder.runs.folder import RunFolder, now
from secondcoder.settings import TrainSettings
from secondcoder.storage import append_json_line, read_json_lines, sha256_strings

TEST_USE_FILE = "test-use.jsonl"
State = Literal["begun", "seen", "crashed"]
_LONGEST = 40  # characters of a setting


@dataclass(frozen=True)
class Opening:
    """One opening of a test part.

    Attributes
    ----------
    run
        Name of the run's folder.
    model
        What was judged: the model's SHA-256, or ``"5 folds"``.
    time
        When it was begun.
    state
        ``"seen"`` counts. ``"crashed"`` ended before a figure was written or printed; ``"begun"`` has not come so far.
    settings
        What a result depends on, by name, as it was in the run; None where that is not known.
    """

    run: str
    model: str
    time: str
    state: State
    settings: Mapping[str, Any] | None = None


@contextlib.contextmanager
def opening(run: RunFolder, rows: Corpus, *, by: str) -> Iterator[Callable[[], int]]:
    """Open the test part inside the block, which is written down as begun.

    What is yielded has to be called before the first figure is written or printed: the opening counts from then on, and
    the number of openings is returned and stored in the run. A block that fails before is written down as crashed, and
    one that was killed at the run's next opening; neither is counted.

    Parameters
    ----------
    run
        Held by this process, so that an opening of this run that has come to no end has been killed.
    rows
        The test part. Openings are counted by the rows themselves: another run that is judged on the same rows is
        another look at them.
    by
        What is judged.
    """
    book, key = _Book(_path(run)), _key(rows)
    for killed, one in book.openings(key).items():
        if one.state == "begun" and one.run == _name(run):
            book.append(killed, "crashed", key)
    this = book.begin(key, rows=len(rows), run=_name(run), model=by, settings=deciding(run.info))
    seen = False

    def about_to_show() -> int:
        nonlocal seen
        book.append(this, "seen", key)
        seen = True
        # The run's own count goes on where the book was lost or the run was moved away from it.
        openings: int = max(book.count(key), run.info.get("test_openings", 0) + 1)
        run.update(test_openings=openings)
        return openings

    try:
        yield about_to_show
    except BaseException:
        if not seen:
            with contextlib.suppress(StorageError):  # what happened first is what must be told
                book.append(this, "crashed", key)
        raise


def openings_of(run: RunFolder) -> list[Opening]:
    """Return the openings of a run's test part by this and other runs beside it, in their order.

    Of openings by earlier versions the settings are those of the run, if it still is the one that was judged.
    """
    path = _path(run)
    if not path.is_file():
        return []
    book = _Book(path)
    if not run.info.get("test_openings") and _name(run) not in book.runs:
        return []
    try:
        found = book.openings(_key(run.part("test"))).values()
    except RunError:  # its texts have been removed
        return []
    return [one if one.settings else replace(one, settings=_settings_in(path.parent, one)) for one in found]


def changes(before: Opening, after: Opening) -> list[str] | None:
    """Return which settings were another at the second of two openings, as ``epochs 4 (before: 2)``; None: not known.

    An option that one of them lacks was not there yet.
    """
    if before.settings is None or after.settings is None:
        return None
    one, two = before.settings, after.settings
    return [
        f"{name.replace('_', ' ')} {_shown(two[name])} (before: {_shown(one[name])})"
        for name in two
        if name in one and one[name] != two[name]
    ]


def deciding(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of a run depends on, by name: data, split, settings as they were resolved, and seed."""
    settings, results = info["settings"], info.get("results") or {}
    resolved = ("learning_rate", "max_length", "precision", "backend")
    data = info["data"]
    return {
        "data": data["sha256"],
        **{f"{part}_texts": data["parts"][part]["rows"] for part in ("train", "dev")},
        **{f"split_{name}": value for name, value in settings["split"].items()},
        **TrainSettings.identity_of(settings["train"]),
        **{name: results[name] for name in resolved if results.get(name) is not None},
        "seed": info["seed"],
    }


class _Book:
    """The lines of a book."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def runs(self) -> set[str]:
        """Names of the runs in it."""
        return {line["run"] for line in read_json_lines(self._path) if "run" in line}

    def begin(self, key: str, **about: Any) -> str:
        """Write down that an opening is begun, and return by what it is known."""
        this = uuid.uuid4().hex[:12]
        append_json_line(self._path, {"opening": this, "state": "begun", "test": key, "time": now(), **about})
        return this

    def append(self, this: str, state: State, key: str) -> None:
        """Write down how an opening went on."""
        append_json_line(self._path, {"opening": this, "state": state, "test": key, "time": now()})

    def openings(self, key: str) -> dict[str, Opening]:
        """Return the openings of a test part by what they are known by, in their order."""
        found: dict[str, Opening] = {}
        for number, line in enumerate(read_json_lines(self._path)):
            if line["test"] != key:
                continue
            this, state = line.get("opening", f"line {number}"), line.get("state", "seen")
            if this in found:
                found[this] = replace(found[this], state=state)
            else:
                found[this] = Opening(line["run"], line["model"], line["time"], state, line.get("settings"))
        return found

    def count(self, key: str) -> int:
        """Return how often a test part has been seen."""
        return sum(one.state == "seen" for one in self.openings(key).values())


def _path(run: RunFolder) -> Path:
    return run.folder.resolve().parent / TEST_USE_FILE


def _name(run: RunFolder) -> str:
    return run.folder.resolve().name


def _key(rows: Corpus) -> str:
    ordered = sorted(zip(rows.ids, rows.texts, rows.labels, strict=True))
    return sha256_strings(*([list(column) for column in zip(*ordered, strict=True)]))


def _settings_in(folder: Path, one: Opening) -> dict[str, Any] | None:
    """Return the settings of the run that an opening names, if the folder still holds the model that was judged."""
    with contextlib.suppress(RunError, StorageError, LookupError):
        info = RunFolder(folder / one.run).info
        if one.model.endswith("folds") or info["results"]["weights_sha256"] == one.model:
            return deciding(info)
    return None


def _shown(value: Any) -> str:
    """Return a setting in a few characters: of a hash its first, of a path its last."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unset"}[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:8]}…" if text.isalnum() else f"…{text[-_LONGEST:]}"

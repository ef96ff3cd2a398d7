"""The journal of finished trainings: of several, none that is finished is made again.

In: what the trainings are of, and each that is finished, as JSON values. Out: a file that holds both and is whole at
any time; the same back from it, if it is of the same data and settings.
"""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import RunError
from secondcoder.model.backends import resolve_device, resolve_precision
from secondcoder.settings import TrainSettings
from secondcoder.storage import append_json_line, read_json, read_json_lines, sha256_strings, write_json


def trainings_key(settings: TrainSettings, *parts: Corpus, seed: int | None = None) -> str:
    """Return a hash of all that trainings depend on, but for what differs between them.

    It holds the precision that is computed in: with ``auto`` another device may compute in another one.
    """
    precision = resolve_precision(settings.precision, resolve_device(settings.device))
    about = json.dumps([settings.identity() | {"precision": precision}, seed], sort_keys=True)
    return sha256_strings([about, *(rows.sha256() for rows in parts)])


class FinishedTrainings:
    """The finished ones of several trainings.

    Parameters
    ----------
    path
        JSON file with the key, whatever is told beside it, and the finished trainings.
    key
        From `trainings_key`.
    by
        Values that tell one training from another.
    name
        Under which the file lists them.
    lines
        File that holds them in its place, a line for each: what is long is not written again for the next one.

    Attributes
    ----------
    head
        What the file says beside the trainings.
    done
        The finished trainings as JSON values, in order, by what tells them apart.
    begun
        Whether the file is there, and of the same key.
    """

    def __init__(
        self, path: Path, key: str, *, by: tuple[str, ...], name: str = "trainings", lines: Path | None = None
    ) -> None:
        self._path, self._by, self._name, self._lines = path, by, name, lines
        stored: dict[str, Any] = read_json(path) if path.is_file() else {}
        self.begun = stored.get("key") == key
        self._other = path.is_file() and not self.begun
        self.head: dict[str, Any] = {n: v for n, v in stored.items() if n != name} if self.begun else {"key": key}
        self.done: dict[tuple[Hashable, ...], dict[str, Any]] = {}
        if self.begun:
            self._take(*(read_json_lines(lines) if lines else stored.get(name, [])))

    def require_same(self, what: str, cure: str) -> None:
        """Raise `RunError` if the file is there and of other data or settings; the error says what it is."""
        if self._other:
            raise RunError(f"{self._path.parent} holds {what} of other data or settings.", cure)

    def begin(self, **about: Any) -> None:
        """Tell more beside the trainings; written at once if there is no file yet, else with the next training."""
        self.head |= about
        if not self.begun:
            self._write()

    def add(self, training: dict[str, Any]) -> None:
        """Write a finished training down."""
        self._take(training)
        if self._lines:
            append_json_line(self._lines, training)
        else:
            self._write()

    def _take(self, *trainings: dict[str, Any]) -> None:
        self.done |= {tuple(training[name] for name in self._by): training for training in trainings}

    def _write(self) -> None:
        write_json(self._path, self.head | ({} if self._lines else {self._name: list(self.done.values())}))
        self.begun = True

"""Files that are whole or not there: atomic writes, locks, hashes.

In: paths and bytes. Out: the same on disk. Everything is written under a temporary name beside its final one, synced,
and renamed; a reader sees the old state or the new one, never half of it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from secondcoder.errors import RunError, StorageError

TEMPORARY_MARK = ".partial-"
LOCK_FILE = ".lock"


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a path into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"Cannot write {path}: {reason}.", "Free space or choose a folder that you may write to."
        ) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it becomes `path`.

    Works for a file or a folder. If the block fails, `path` stays as it was and the temporary one is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with storage_errors(path):
            _sync_tree(temporary)
            _replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the error that brought us here says more
            _remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    with atomic_path(path) as temporary, storage_errors(path):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused, since they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises
    ------
    StorageError
        If the file is missing, unreadable or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"Cannot read {path}: {error}.", "Check the path; if the file is damaged, make it again."
        ) from error


def append_json_line(path: Path, value: Any) -> None:
    """Append one line to a JSON-lines file and sync it; a line is never split by another writer on this machine."""
    line = (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_json_lines(path: Path) -> list[Any]:
    """Return the values of a JSON-lines file, or an empty list where there is none."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {path}: {error}.", "Mend or move the file.") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error


def sha256_strings(*columns: Iterable[str | None]) -> str:
    """Return one SHA-256 over columns of strings; every value's length goes in, so no two contents run together."""
    digest = hashlib.sha256()
    for column in columns:
        for value in column:
            data = b"" if value is None else value.encode("utf-8", "surrogatepass")
            digest.update(b"-" if value is None else str(len(data)).encode() + b":" + data)
        digest.update(b"|")
    return digest.hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a second holder is refused at once.

    Raises
    ------
    RunError
        If another process holds the folder.
    """
    import filelock

    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_FILE)
    with storage_errors(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(
                f"{folder} is in use by another secondcoder process.", "Wait for it, or choose another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()
        (folder / LOCK_FILE).unlink(missing_ok=True)


def _sync_tree(path: Path) -> None:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDWR)  # Windows syncs only what is open for writing
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if path.is_dir():
        for folder in [path, *(p for p in path.rglob("*") if p.is_dir())]:
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no directory sync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; an old folder is moved aside first, since only empty folders can be replaced in one step."""
    if not path.is_dir():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}{TEMPORARY_MARK}old-{uuid.uuid4().hex[:8]}")
    path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

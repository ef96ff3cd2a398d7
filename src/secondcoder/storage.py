"""Files that are whole or not there: atomic writes, locks, hashes.

In: paths and bytes; dataclasses, as plain JSON values. Out: the same on disk. Everything is written under a temporary
name beside its final one, synced, and renamed; a reader sees the old state or the new one, never half of it.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, get_origin, get_type_hints

from secondcoder.errors import DataError, RunError, SecondcoderError, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPORARY_MARK = ".partial-"
LOCK_FILE = ".lock"
HOLDER_FILE = ".lock-holder.json"
LOCK_FILES = (LOCK_FILE, HOLDER_FILE)  # what `locked` puts into a folder; the first stays there
_ASIDE = "old-"  # after the mark: a folder that is about to be replaced
_PROCESS = uuid.uuid4().hex[:8]  # in the names of temporaries: a process id can be another host's, or be used again
_held: set[Path] = set()
_ABANDONED = 7 * 24 * 3600  # seconds; far longer than any writer goes without writing
_ERROR_NUMBER = re.compile(r"(?:os error|\[errno) (\d+)", re.I)  # safetensors, tokenizers; pyarrow
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a path into a `StorageError` that says what to do."""
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if isinstance(error, SecondcoderError) or (number is None and not isinstance(error, OSError)):
            raise
        reason = os.strerror(number) if number else str(error)
        raise StorageError(f"Cannot write {path}: {reason}.", _cure(number, path)) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it becomes `path`.

    Works for a file or a folder. If the block fails, `path` stays as it was and the temporary one is removed. What a
    killed writer of the same name left behind is cleared away first.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(path)
        yield temporary
        with storage_errors(path):
            for written in [temporary, *temporary.rglob("*")]:
                _sync(written)
            _replace(temporary, path)
            _sync(path.parent)
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
        raise StorageError(f"Cannot read {path}: {error}.", "Check the path, or make the file again.") from error


def append_json_line(path: Path, value: Any) -> None:
    """Append one line to a JSON-lines file and sync it; if that fails, the file keeps the lines that it had.

    A last line that a killed process left half-written is cut off. Writers take turns (not on Windows).
    """
    line = (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as stream:
            if sys.platform != "win32":  # no writer mends or splits what another one is writing
                import fcntl

                with contextlib.suppress(OSError):  # some network file systems have no locks
                    fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            there = stream.read()  # these files are short
            end = there.rfind(b"\n") + 1
            if _last_value(there[end:]):  # a whole line that lacks only its end, as some editors leave it
                end, line = len(there), b"\n" + line
            elif there[end:]:
                _log.warning("Cut a half-written last line off %s.", path)
                stream.truncate(end)
            try:
                while line:  # a disk that fills up takes a part
                    line = line[stream.write(line) :]
                os.fsync(stream.fileno())
                if not there:
                    _sync(path.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    stream.truncate(end)
                raise


def read_json_lines(path: Path) -> list[Any]:
    """Return the values of a JSON-lines file, or an empty list where there is none.

    A last line that breaks off was being written when a process was killed; it is left out.
    """
    try:
        *lines, tail = path.read_bytes().split(b"\n")
        return [json.loads(line.decode()) for line in lines if line.strip()] + _last_value(tail)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {path}: {error}.", "Fix or move the file.") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error


def write_arrays(path: Path, arrays: Mapping[str, "NDArray[Any]"], about: str = "") -> None:
    """Write arrays by name as one safetensors file, with something that is said about them and a hash of all."""
    import safetensors.numpy

    with atomic_path(path) as temporary, storage_errors(path):
        said = {"about": about, "sha256": sha256_arrays(arrays, about)}
        # Not `save_file`, whose files only their owner may read. An array of another order would be written as it lies
        # in memory, and read with its rows and columns mixed up.
        rows_first = {name: array.copy(order="C") for name, array in arrays.items()}
        temporary.write_bytes(safetensors.numpy.save(rows_first, metadata=said))


def read_arrays(path: Path) -> "tuple[dict[str, NDArray[Any]], str] | None":
    """Return what `write_arrays` wrote; None where the file is missing, damaged or of another form."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a dict
            said = stored.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return None
    about = said.get("about", "")
    return (arrays, about) if said.get("sha256") == sha256_arrays(arrays, about) else None


def sha256_arrays(arrays: Mapping[str, "NDArray[Any]"], about: str = "") -> str:
    """Return one SHA-256 over arrays by name and what is said about them, as `write_arrays` writes them."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


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
        If another process holds the folder; says which, and since when.
    """
    import getpass
    import platform

    import filelock

    folder = Path(folder)
    lock = filelock.FileLock(folder / LOCK_FILE, mode=0o666)  # it stays: colleagues must be able to open it
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(f"{folder} is in use by {_holder(folder)}.", "Wait, or choose another folder.") from None
    held = folder.absolute()
    _held.add(held)
    try:
        user = None
        with contextlib.suppress(OSError, KeyError, ImportError):  # in a container, it may have no name
            user = getpass.getuser()
        since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        note = {"process": os.getpid(), "host": platform.node(), "user": user, "since": since}
        write_json(folder / HOLDER_FILE, note)  # not into the lock file: whoever tries to lock it empties it
        yield
    finally:
        _held.discard(held)
        with contextlib.suppress(OSError):
            (folder / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()  # not removed: a process that has it open would lock a file that is gone, the next a new one


def _holder(folder: Path) -> str:
    try:
        note = read_json(folder / HOLDER_FILE)
        user = f" of user {note['user']}" if note["user"] else ""
        return f"another secondcoder process: {note['process']}{user} on host {note['host']}, since {note['since']}"
    except (StorageError, LookupError, TypeError):  # not written yet, or damaged
        return "another secondcoder process"


def _error_number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = _ERROR_NUMBER.search(str(error))
    if found and os.name == "nt" and found[0].startswith("os"):  # Windows' own number, which Python translates
        return OSError(0, "", None, int(found[1])).errno
    return int(found[1]) if found else None


def _cure(number: int | None, path: Path) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        left = ""
        with contextlib.suppress(OSError):
            there = next(folder for folder in path.absolute().parents if folder.is_dir())
            left = f" ({shutil.disk_usage(there).free / 1e6:,.1f} MB were left on the disk)"
        return f"Free space{left} or choose another folder."
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "Choose a folder that you may write to."
    if number == errno.EIO:
        return "The device failed: copy what is there elsewhere, and write to another disk."
    return "Check the path, or choose another folder."


def _temporary(path: Path, kind: str = "") -> Path:
    return path.with_name(f".{path.name}{TEMPORARY_MARK}{kind}{_PROCESS}-{uuid.uuid4().hex[:8]}")


def _clear_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it, if that is certain.

    A held folder has no other writer, so what is there of another process is of a dead one. In any other folder, only
    what nobody has touched for long is removed: another process may be writing the same name just now.
    """
    prefix = f".{path.name}{TEMPORARY_MARK}"
    held = not _held.isdisjoint(path.absolute().parents)
    with contextlib.suppress(OSError):  # what cannot be cleared away is no reason not to write
        for old in [p for p in path.parent.iterdir() if p.name.startswith(prefix) and _PROCESS not in p.name]:
            if old.name.startswith(prefix + _ASIDE) and not path.exists():
                old.rename(path)  # its writer was killed between the renames of `_replace`
            elif held or time.time() - max(p.lstat().st_mtime for p in [old, *old.rglob("*")]) > _ABANDONED:
                _remove(old)


def _last_value(tail: bytes) -> list[Any]:
    """Return what is on a last line that lacks its end, or nothing where it breaks off."""
    with contextlib.suppress(ValueError):
        return [json.loads(tail.decode())]
    return []


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows has no directory sync
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # and syncs only what it may write to
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; where a folder is replaced, the old one is at `temporary` afterwards.

    Only an empty folder can be renamed over. Linux swaps two names in one step, so that the old or the new folder is
    there at any time. Elsewhere (macOS, Windows, NFS) the old one is moved aside first; were the process killed just
    then, the next writer of the name puts it back (`_clear_leftovers`). A reader cannot: the writer may be alive.
    """
    if not path.is_dir():
        temporary.replace(path)
    elif not _swap(temporary, path):
        aside = _temporary(path, _ASIDE)
        path.rename(aside)
        try:
            temporary.rename(path)
        except OSError:
            aside.rename(path)
            raise
        aside.rename(temporary)  # not removed under the name from which it would be put back


def _swap(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sha_key(seed: int, name: str) -> bytes:
    """Return the SHA-256 of seed and name; sorting by it is the shuffle that every platform agrees on."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()


class Stored:
    """Base of a dataclass that goes to disk as plain JSON values and comes back."""

    _name: ClassVar[str]
    _cure: ClassVar[str]

    def __init_subclass__(cls, *, name: str = "", cure: str = "", **more: Any) -> None:
        """Take what it is called, and what to do where what is on disk is something else; or inherit both."""
        super().__init_subclass__(**more)
        if name:
            cls._name, cls._cure = name, cure

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote.

        Raises
        ------
        DataError
            If something is missing or unknown.
        """
        try:
            found: Self = from_plain(cls, values)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"This is not {cls._name} as secondcoder writes it: {error}.", cls._cure) from error
        return found


def from_plain(kind: Any, values: Any) -> Any:
    """Return a value of a type from plain JSON values: dataclasses of objects, tuples of lists, as the types say."""
    parts = get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        kinds = _field_types(kind)
        known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(kind)}
        wrong = [name for name, needed in known.items() if needed and name not in values]
        if wrong := wrong + [name for name in values if name not in known]:
            raise TypeError(f"missing or unknown: {', '.join(wrong)}")
        return kind(**{name: from_plain(kinds.get(name), value) for name, value in values.items()})
    if NoneType in parts:
        return None if values is None else from_plain(parts[0], values)
    if get_origin(kind) is tuple:
        if parts[-1] is not Ellipsis:
            return tuple(from_plain(part, value) for part, value in zip(parts, values, strict=True))
        return tuple(from_plain(parts[0], value) for value in values)
    if get_origin(kind) is dict:
        return {name: from_plain(parts[1], value) for name, value in values.items()}
    return kind(values) if kind is Path else values


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


_field_types = cache(get_type_hints)

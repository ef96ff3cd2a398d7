"""Where labelled rows go: one file or a folder of parts, with a manifest and the rejected lines beside it.

In: a path. Out: `Output`, with the names of all that belongs to it; it appears when it is complete, its manifest before
it, and never takes the place of something that is there.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondcoder.errors import SettingsError, StorageError
from secondcoder.formats.files import FORMATS, ending_of, find_format
from secondcoder.formats.text_files import PACKED
from secondcoder.storage import storage_errors, write_json

MANIFEST_ENDING = ".manifest.json"
REJECTED_ENDING = ".rejected.jsonl"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]")  # two letters at least: C: is a disk
SIDECARS = (MANIFEST_ENDING, REJECTED_ENDING)


@dataclass(frozen=True)
class Output:
    """A labelled file, or a folder of labelled files.

    Attributes
    ----------
    path
        The file or folder.
    ending
        Of the file, or of the files in the folder.
    is_folder
        Which of the two.
    """

    path: Path
    ending: str
    is_folder: bool

    @property
    def manifest(self) -> Path:
        """Says what was labelled with what."""
        return self.path.with_name(self.path.name + MANIFEST_ENDING)

    @property
    def rejected(self) -> Path:
        """Lines of the input that are no rows; there only if there are any."""
        return self.path.with_name(self.path.name + REJECTED_ENDING)

    @property
    def work(self) -> Path:
        """What is finished while the output is not; gone with its completion."""
        return self.path.with_name(f".{self.path.name}.parts")

    @property
    def exists(self) -> bool:
        """Whether something is there; an empty folder is nothing."""
        if self.is_folder and self.path.is_dir():
            return any(self.path.iterdir())
        return os.path.lexists(self.path)

    def refuse_existing(self) -> None:
        """Raise `StorageError` if something is there."""
        if self.exists:
            raise StorageError(f"The output {self.path} is already there.", "Choose another name, or remove it.")

    def publish(self, staged: Path) -> None:
        """Let what was written under another name on the same disk become the output, in one step.

        Raises
        ------
        StorageError
            If something is there, which stays as it is.
        """
        with storage_errors(self.path):
            self.refuse_existing()
            if self.is_folder:
                with contextlib.suppress(OSError):
                    self.path.rmdir()  # an empty one; elsewhere than on Linux and macOS it would be in the way
                staged.rename(self.path)  # over a folder that has come to hold something, this fails
            else:
                _rename_beside(staged, self.path)
            _sync_folder(self.path.parent)


def find_output(path: Path, ending: str) -> Output:
    """Return the output that a path stands for: a file by its ending, or a folder if it has none or is one.

    Parameters
    ----------
    path
        What the user named.
    ending
        That of the files in a folder.

    Raises
    ------
    SettingsError
        If the path has an ending that stands for no format, or is an address.
    """
    path = Path(path).expanduser()
    refuse_address(path)
    found = ending_of(path)
    if path.is_dir() or not found:
        return Output(path, ending, True)
    if find_format(found) is None:
        raise SettingsError(
            f"The output {path} has the ending {found!r}, which names no format.",
            f"Let it end in {', '.join(FORMATS)} (text also with {' or '.join(PACKED)} behind), or leave the ending "
            "out for a folder of files.",
        )
    return Output(path, found, False)


def refuse_address(path: Path) -> None:
    """Raise `SettingsError` for ``s3://bucket/name`` and its like, of which a path makes a folder called ``s3:``."""
    if _ADDRESS.match(str(path)):
        raise SettingsError(
            f"{path} is an address, not a path.",
            "Mount the bucket to read from it, and copy the finished output into it (docs/clusters.md).",
        )


def _rename_beside(staged: Path, path: Path) -> None:
    """Give a file a name that nothing has."""
    try:
        os.link(staged, path)  # unlike a rename, never replaces a file that came meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        staged.rename(path)
    else:
        staged.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # which has no directory sync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _refuse_newcomer(output: Output) -> None:
    if output.exists:
        raise StorageError(
            f"The output {output.path} appeared while it was being made.",
            "Move it away and give the same command again: everything is labelled and saved.",
        )

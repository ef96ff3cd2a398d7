"""The bytes of a text file as characters, or an error that says where they are not what they should be.

In: a path. Out: an open text stream. Read are UTF-8, with or without byte-order mark, and UTF-16 and UTF-32 with one; a
file whose name ends in ``.gz`` or ``.zst`` is unpacked on the way.
Older encodings (Windows-1252, Latin-1, Mac Roman) cannot be told from each other by their bytes, so they are refused
instead of guessed: a wrong guess would change letters silently.
"""

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import pyarrow as pa

from secondcoder.errors import DataError

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20  # bytes
PACKED = (".gz", ".zst")
"""Endings of packed files, behind the ending of the format."""
_BROKEN = (OSError, EOFError, zlib.error)  # what unpacking raises, besides what reading does


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Yield the file's bytes, unpacked by its ending."""
    with path.open("rb") as stream:
        if path.suffix.lower() == ".gz":
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield cast(BinaryIO, unpacked)
        elif path.suffix.lower() == ".zst":
            with pa.CompressedInputStream(stream, "zstd") as unpacked, io.BufferedReader(unpacked) as buffered:
                yield cast(BinaryIO, buffered)
        else:
            yield stream


@contextlib.contextmanager
def open_text(path: Path, newline: str, *, escape: bool = False) -> Iterator[TextIO]:
    """Yield the file as characters.

    Parameters
    ----------
    path
        The file.
    newline
        As in `open`.
    escape
        Whether bytes that are not UTF-8 come out as lone surrogates (``surrogateescape``) instead of as an error.

    Raises
    ------
    DataError
        If the file cannot be read, or is not in the encoding that its first bytes announce; names the byte and line.
    """
    encoding = _encoding(path)
    try:
        errors = "surrogateescape" if escape and encoding.startswith("utf-8") else "strict"
        with open_bytes(path) as data, io.TextIOWrapper(data, encoding, errors, newline=newline) as stream:
            yield stream
    except UnicodeError as error:
        raise _decoding_error(path, encoding) from error
    except _BROKEN as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> DataError:
    """Return what to say about a file that the operating system does not hand over."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"There is no file {path}.", "Check the path.")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path} is a folder.", "Name the file in it.")
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"Cannot read {path}: {error.strerror or error}.", "Check the path and its permissions.")
    return DataError(f"{path} cannot be unpacked: {error}.", "Write or download it again.")


def _encoding(path: Path) -> str:
    try:
        with open_bytes(path) as stream:
            start = stream.read(4)
    except _BROKEN as error:
        raise unreadable(path, error) from error
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) >= 2 and start.count(0) >= len(start) // 2:  # letters of UTF-16 and UTF-32 are half zeros
        raise DataError(
            f"{path} looks like UTF-16 without its byte-order mark: its first bytes are {start!r}.",
            "Save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        )
    return "utf-8"


def _decoding_error(path: Path, encoding: str) -> DataError:
    """Return the error for the first undecodable byte, looked for again from the start to know its place."""
    encoding = encoding.removesuffix("-sig")  # which would leave the mark's three bytes out of the count
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with open_bytes(path) as stream:
        while True:
            block = stream.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeError as error:
                if not isinstance(error, UnicodeDecodeError):
                    break
                bad = error.object[error.start]
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                where = f"byte {offset - pending + error.start:,} (line {line:,}) is 0x{bad:02x}"
                name = encoding.upper()
                return DataError(
                    f"{path} is not {name}: {where}, which no {name} text has there.",
                    "Save the file as UTF-8: in Excel 'CSV UTF-8', in R fileEncoding = \"UTF-8\", or, "
                    "if it came from Windows, iconv -f WINDOWS-1252 -t UTF-8.",
                )
            if not block:
                break
            offset += len(block)
    return DataError(f"{path} is not readable text in {encoding}.", "Save the file as UTF-8.")


class TextStream:
    """A text file in UTF-8, packed by its ending; the same text gives the same bytes."""

    def __init__(self, path: Path, ending: str) -> None:
        self._file = path.open("wb")
        packed: Any = self._file
        if ending == ".gz":
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._file, mtime=0)
        elif ending == ".zst":
            packed = io.BufferedWriter(cast(Any, pa.CompressedOutputStream(self._file, "zstd")))
        self._text = io.TextIOWrapper(cast(BinaryIO, packed), "utf-8", newline="")

    def write(self, text: str) -> None:
        """Append the text."""
        self._text.write(text)

    def close(self) -> None:
        """Finish the file."""
        with self._file:
            self._text.close()

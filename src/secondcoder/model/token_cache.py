"""Token ids kept on disk, so that texts are tokenised once for all trainings on them.

In: a `TextEncoder` and texts. Out: the same `Encoded` that it gives, read from a file that is named by the hash of all
that it depends on. The ids spell out the texts: the folder belongs where texts may be, beside the runs.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
from numpy.typing import NDArray

from secondcoder.errors import StorageError
from secondcoder.model.tokenisation import Encoded, TextEncoder
from secondcoder.storage import read_arrays, sha256_strings, write_arrays

_KEPT = 20
_ENDING = ".safetensors"


class TokenCache:
    """A folder of token ids.

    Parameters
    ----------
    folder
        Where they are; made when something is kept. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def encode(self, encoder: TextEncoder, texts: Sequence[str]) -> Encoded:
        """Return the token ids of the texts, as ``encoder.encode`` gives them.

        A file that cannot be read, or is damaged, is made again; one that cannot be written is done without.

        Raises
        ------
        DataError
            If a text holds a lone surrogate, which no tokenizer can read.
        """
        backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
        if self.folder is None or backend is None:
            return encoder.encode(texts)
        key = sha256_strings([tokenizers.__version__, backend.to_str(), *encoder.identity()], texts)
        path = self.folder / f"{key}{_ENDING}"
        if (kept := _read(path)) is not None:
            with contextlib.suppress(OSError):
                path.touch()  # used now: the longest unused are forgotten first
            return kept
        encoded = encoder.encode(texts)
        with contextlib.suppress(StorageError):
            _write(path, encoded)
            self._forget()
        return encoded

    def _forget(self) -> None:
        assert self.folder is not None
        with contextlib.suppress(OSError):
            files = sorted(self.folder.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime)
            for path in files[:-_KEPT]:
                path.unlink(missing_ok=True)


def _read(path: Path) -> Encoded | None:
    kept = read_arrays(path)
    if kept is None:
        return None
    arrays, _ = kept
    return Encoded(arrays["ids"], arrays["offsets"], arrays["full_lengths"], arrays.get("starts"))


def _write(path: Path, encoded: Encoded) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "ids": encoded.ids,
        "offsets": encoded.offsets,
        "full_lengths": encoded.full_lengths,
        **({} if encoded.starts is None else {"starts": encoded.starts}),
    }
    write_arrays(path, arrays)

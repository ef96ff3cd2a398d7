"""The errors that secondcoder raises; each says what is wrong, where, and what to do.

In: nothing. Out: exception classes. Any module may import this one.

    SecondcoderError
    ├── SettingsError        an option is out of bounds or contradicts another one
    ├── DataError            the texts or labels cannot be used as they are
    │   ├── ColumnError      a named column is not there
    │   └── SplitError       the asked train, dev and test parts are impossible
    ├── ModelError           a model cannot be found, loaded, trained or trusted
    ├── RunError             a run folder is missing, incomplete, or in the way
    ├── StorageError         the disk refused to read or write
    ├── MissingExtraError    an optional package is needed
    └── InterruptedRunError  the user stopped the work; what was finished is saved
"""

import difflib
from collections.abc import Iterable


class SecondcoderError(Exception):
    """Base of all errors that the user can act on.

    Parameters
    ----------
    what
        What is wrong and where, with the value that was found.
    cure
        What to do about it.
    """

    def __init__(self, what: str, cure: str = "") -> None:
        self.what = what
        self.cure = cure
        super().__init__(f"{what}\n{cure}" if cure else what)

    def __reduce__(self) -> tuple[type["SecondcoderError"], tuple[str, str]]:
        """Rebuild from the two sentences, so that errors cross process borders."""
        return type(self), (self.what, self.cure)


class SettingsError(SecondcoderError):
    """An option is out of bounds or contradicts another one."""


class DataError(SecondcoderError):
    """The texts or labels cannot be used as they are."""


class ColumnError(DataError):
    """A named column is not there."""


class SplitError(DataError):
    """The asked train, dev and test parts are impossible."""


class ModelError(SecondcoderError):
    """A model cannot be found, loaded, trained or trusted."""


class RunError(SecondcoderError):
    """A run folder is missing, incomplete, or in the way."""


class StorageError(SecondcoderError):
    """The disk refused to read or write."""


class MissingExtraError(SecondcoderError):
    """An optional package is needed."""


class InterruptedRunError(SecondcoderError):
    """The user stopped the work; what was finished is saved."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "``, or nothing where no known name is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {by_folded[matches[0]]!r}? " if matches else ""

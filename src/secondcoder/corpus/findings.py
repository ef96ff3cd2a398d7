"""What was noticed about the data: one finding, one sentence, one cure.

In: nothing. Out: `Finding`. Reading, checking and splitting make them; the command line and the report show them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something about the data that its owner should know.

    Attributes
    ----------
    kind
        A stable key for programs, such as ``"missing-label"``.
    severity
        ``"error"`` stops training, ``"warning"`` deserves a look, ``"note"`` only informs.
    message
        One sentence: what, where, and how many.
    cure
        What to do about it; empty where nothing needs to be done.
    rows
        How many rows it concerns.
    examples
        A few ids or excerpts, enough to find the rows again.
    """

    kind: str
    severity: Severity
    message: str
    cure: str = ""
    rows: int = 0
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self) | {"examples": list(self.examples)}


EXCERPT = 200
"""Characters shown of a text."""


def excerpt(text: str, length: int) -> str:
    """Return the text, or its beginning and an ellipsis where it is longer than so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"

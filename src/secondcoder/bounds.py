"""What a setting may be: one of some choices, a whole number, a number within limits.

In: a setting's name and value. Out: nothing, or `SettingsError` that says what was given and what is possible.
"""

import math
from collections.abc import Mapping
from typing import Any

from secondcoder.errors import SettingsError, nearest


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `SettingsError` unless the value is one of the choices."""
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}.", f"{nearest(value, choices)}Choose one of {', '.join(choices)}.")


def check_count(name: str, value: int | None, *, least: int) -> None:
    """Raise `SettingsError` unless the value is None or a whole number, at least so large."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise SettingsError(f"{name} is {value!r}.", f"Give a whole number, at least {least}.")


def check_range(
    name: str,
    value: float,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise `SettingsError` unless the value is a number within the limits."""
    if not (isinstance(value, int | float) and least <= value <= most and above < value < below):
        limits = [
            f"at least {least}" if least > -math.inf else f"above {above}",
            f"at most {most}" if most < math.inf else f"below {below}",
        ]
        raise SettingsError(f"{name} is {value!r}.", f"Give a number {' and '.join(limits)}.")


def check_weights(name: str, weights: Mapping[Any, Any]) -> None:
    """Raise `SettingsError` unless each weight is a finite number above 0; the error names the first that is not."""
    for label, weight in weights.items():
        if isinstance(weight, bool) or not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise SettingsError(f"{name}: the weight of {label!r} is {weight!r}.", "Give a number above 0.")


def parse_share(text: str | None) -> tuple[int, int]:
    """Return which share ``"3/40"`` is, from 1, and of how many; None is the first of one.

    Raises
    ------
    SettingsError
        If it is not spelt so, or there is no such share.
    """
    number, slash, of = ("1/1" if text is None else str(text)).partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise SettingsError(f"shard is {text!r}.", "Write 3/40 for the third of 40.")
    return int(number), int(of)


def parse_counts(name: str, text: str | None) -> tuple[int, ...]:
    """Return the numbers in ``"100,200,400"``; None has none.

    Raises
    ------
    SettingsError
        If they are not whole numbers from 1 on.
    """
    pieces = [] if text is None else str(text).split(",")
    if not all(piece.strip().isdecimal() and int(piece) for piece in pieces):
        raise SettingsError(f"{name} is {text!r}.", "Write whole numbers, as 100,200,400.")
    return tuple(int(piece) for piece in pieces)

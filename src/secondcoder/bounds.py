"""What a setting may be: one of some choices, a whole number, a number within limits.

In: a setting's name and value. Out: nothing, or `SettingsError` that says what was given and what is possible.
"""

import math

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

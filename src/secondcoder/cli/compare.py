"""The command compare.

In: two runs. Out: their figures side by side, the difference with its interval, and a sentence on what that means.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from secondcoder.cli.output import Json, print_json, print_table, say

if TYPE_CHECKING:
    from secondcoder.evaluation.comparison import Comparison, Difference


def compare(
    first: Path, second: Path, /, *, part: Literal["test", "dev", "folds"] = "test", json: Json = False
) -> None:
    """Compare two runs that were judged on the same rows, and say whether the difference is real.

    Parameters
    ----------
    first
        A run folder.
    second
        Another one; differences are this one minus the first.
    part
        Rows to compare on: test, once both runs have it opened; dev, which is optimistic; or folds, out of fold.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.compare import compare as compare_runs

    found = compare_runs(first, second, part=part)
    if json:
        print_json(found.to_dict())
        return
    units = "" if found.n_groups is None else f" in {found.n_groups:,} group{'' if found.n_groups == 1 else 's'}"
    print_table(
        ["", "first", "second", "difference", "95 % interval", "p", "could have shown"],
        (_row(difference, main=found.main) for difference in found.differences),
        title=f"First: {found.names[0]}\nSecond: {found.names[1]}\n{found.part} ({found.n:,} texts{units})",
    )
    for difference in found.differences:
        if difference.reason:
            say(f"No interval for {difference.name}: {difference.reason}.")
    say(found.verdict)
    _say_mcnemar(found)
    say(
        f"{found.main} (*) is the main figure; the others are exploratory: of so many, one may seem to differ by "
        "chance. Could have shown: the difference that would be shown in about 80 % of such comparisons, in fewer "
        "where a class has few texts."
    )
    for note in found.notes:
        say(f"note: {note}")


def _row(difference: "Difference", *, main: str) -> list[object]:
    from secondcoder.evaluation.comparison import shown_p

    d = difference
    return [
        f"{d.name} *" if d.name == main else d.name,
        d.first,
        d.second,
        None if d.difference is None else f"{d.difference:+.3f}",
        None if d.interval is None else f"[{d.interval.low:.3f}, {d.interval.high:.3f}]",
        None if d.p_value is None else shown_p(d.p_value),
        d.detectable,
    ]


def _say_mcnemar(found: "Comparison") -> None:
    from secondcoder.evaluation.comparison import shown_p

    test = found.mcnemar
    what = "set of labels" if found.of_sets else "label"
    if test is not None:
        p = shown_p(test.p_value, "exact McNemar p")
        say(
            f"Both give {found.agreement:.1%} of the texts the same {what}. The first alone is right on "
            f"{test.first_only:,}, the second alone on {test.second_only:,} ({p}, {shown_p(test.mid_p, 'mid-p')})."
        )

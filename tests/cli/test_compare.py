"""What the command compare says of two runs, from a comparison."""

import numpy as np

from secondcoder.cli.compare import _say_mcnemar
from secondcoder.evaluation.multiclass import compare


def test_mcnemars_p_value_is_never_shown_as_0(capsys) -> None:
    gold = np.arange(40) % 2
    _say_mcnemar(compare(gold, np.eye(2)[gold], np.eye(2)[1 - gold], ("a", "b")))
    assert "(exact McNemar p < 0.001, mid-p < 0.001)" in capsys.readouterr().out
    _say_mcnemar(compare(gold, np.eye(2)[gold], np.eye(2)[gold], ("a", "b")))
    assert "(exact McNemar p = 1.000, mid-p = 1.000)" in capsys.readouterr().out

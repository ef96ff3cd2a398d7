import threading

import pytest

from secondcoder.model.backends import side_by_side


@pytest.mark.parametrize("at_once", [1, 3])
def test_results_come_in_the_order_of_the_items(at_once):
    assert list(side_by_side(lambda i: i * i, range(50), at_once)) == [i * i for i in range(50)]


def test_as_many_are_under_way_as_asked_for():
    meeting = threading.Barrier(3, timeout=30)  # breaks unless three come together
    assert list(side_by_side(lambda i: meeting.wait() >= 0, range(6), 3)) == [True] * 6


def test_an_error_ends_it_and_what_has_not_begun_is_not_begun():
    begun = []

    def compute(i):
        begun.append(i)
        if i == 1:
            raise ValueError("no")
        return i

    with pytest.raises(ValueError, match="no"):
        list(side_by_side(compute, range(1000), 2))
    assert len(begun) < 100

import threading
from concurrent.futures import wait

import pytest

from secondcoder.model import concurrency
from secondcoder.model.concurrency import compute_batches, side_by_side


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


def test_what_is_under_way_is_waited_for_whatever_else_is_pressed(monkeypatch):
    begun, may_end, finished, pressed = threading.Event(), threading.Event(), [], []

    def compute(i):
        begun.set()
        may_end.wait(30)
        finished.append(i)

    def items():
        yield 0
        begun.wait(30)
        raise KeyboardInterrupt

    def interrupted(futures, timeout):
        if len(pressed) < 2:
            pressed.append(not finished)
            raise KeyboardInterrupt
        may_end.set()
        return wait(futures, timeout)

    monkeypatch.setattr(concurrency, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(side_by_side(compute, items(), 2))
    assert (finished, pressed) == ([0], [True, True])


class Counted:
    """A backend that knows how many batches were under way beside each, and in which thread."""

    at_once = 4

    def __init__(self):
        self.under_way, self.beside, self.lock = 0, {}, threading.Lock()

    def compute(self, i):
        with self.lock:
            self.under_way += 1
            self.beside[i] = self.under_way
        for _ in range(1000):
            with self.lock:
                self.beside[i] = max(self.beside[i], self.under_way)
        with self.lock:
            self.under_way -= 1
        return i


def test_the_first_batch_of_a_backend_is_computed_alone_also_where_threads_begin_together():
    backend, found = Counted(), []
    threads = [
        threading.Thread(target=lambda n=n: found.extend(compute_batches(backend, backend.compute, range(n, n + 20))))
        for n in (0, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = next(iter(backend.beside))
    assert backend.beside[first] == 1
    assert sorted(found) == [*range(20), *range(100, 120)]


def test_the_first_batch_is_computed_by_who_asks_and_later_ones_by_threads():
    backend = Counted()
    names = []

    def compute(i):
        names.append(threading.current_thread().name)
        return backend.compute(i)

    assert list(compute_batches(backend, compute, range(5))) == list(range(5))
    asked = threading.current_thread().name
    assert names[0] == asked
    assert asked not in names[1:]
    assert list(compute_batches(backend, compute, [])) == []

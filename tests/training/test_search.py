import pytest

from secondcoder.settings import TrainSettings
from secondcoder.storage import from_plain
from secondcoder.training.search import Search, Trial, search_for
from secondcoder.training.seeds import start_for

pytest.importorskip("optuna")
SEARCH = Search(
    {"learning_rate": (1e-5, 1e-3)},
    {"epochs": (1, 2, 3, 4), "batch_size": (8, 16, 32)},
    {"learning_rate": 1e-4, "epochs": 2, "batch_size": 16},
    higher_is_better=True,
    seed=3,
)


def trial(number, values, figures, state="complete"):
    return Trial(number, values, state, tuple(figures), max(f for _, f in figures), 1)


def made(n):
    """Trials whose figure is the better the nearer the rate is to 3e-4."""
    done = []
    for number in range(n):
        values = SEARCH.next(done)
        figure = 1 - abs(values["learning_rate"] - 3e-4) * 1000
        done.append(trial(number, values, [(epoch, figure) for epoch in range(1, values["epochs"] + 1)]))
    return done


def test_what_is_tried_next_depends_on_the_seed_and_the_finished_trials_only():
    done = made(8)
    again = [from_plain(Trial, one.to_dict()) for one in done[:5]]  # as it comes back from the disk
    assert SEARCH.next(again) == done[5].values
    assert SEARCH.next(again) == SEARCH.next(again)
    assert made(8) == done
    assert len({tuple(one.values.values()) for one in done}) > 5


def test_all_that_is_tried_is_within_the_limits_and_the_first_is_what_was_given():
    done = made(10)
    assert done[0].values == SEARCH.first
    for one in done:
        assert 1e-5 <= one.values["learning_rate"] <= 1e-3
        assert one.values["epochs"] in (1, 2, 3, 4)
        assert one.values["batch_size"] in (8, 16, 32)


def test_a_trial_below_half_of_the_others_at_its_epoch_is_given_up_once_some_are_finished():
    values = dict(SEARCH.first)
    done = [trial(i, values, [(1, figure), (2, 0.9)]) for i, figure in enumerate((0.5, 0.6, 0.7, 0.8))]
    assert SEARCH.gives_up(done, values, [(1, 0.6)])
    assert not SEARCH.gives_up(done, values, [(1, 0.66)])
    assert SEARCH.gives_up(done, values, [(1, 0.66), (2, 0.7)])
    assert not SEARCH.gives_up(done, values, [(1, 0.66), (2, 0.91)])
    assert not SEARCH.gives_up(done[:3], values, [(1, 0.1)])


def test_what_is_named_is_kept_or_is_the_most(encoder_folder, corpus):
    def search(longest=20, **named):
        settings = TrainSettings(model=str(encoder_folder), device="cpu", **named)
        return search_for(settings, start_for(corpus, settings, seed=1), longest=longest, higher_is_better=True, seed=1)

    free = search()
    assert free.ranges == {"learning_rate": pytest.approx((2e-5, 5e-4))}
    assert free.choices == {"epochs": (1, 2, 3, 4), "batch_size": (8, 16, 32)}  # no text is longer than 64 tokens
    assert free.first == {"learning_rate": 1e-4, "epochs": 2, "batch_size": 16}
    named = search(learning_rate=3e-4, epochs=3, batch_size=10)
    assert named.ranges == {}
    assert named.choices == {"epochs": (1, 2, 3)}
    assert named.first == {"epochs": 3}
    assert search(epochs=1, learning_rate=1e-3, batch_size=4).first == {}
    adapters = search(lora=4)  # which train by ten times the rate
    assert adapters.first["learning_rate"] == pytest.approx(1e-3)
    assert adapters.ranges == {"learning_rate": pytest.approx((2e-4, 5e-3))}

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secondcoder.model.batches import bucket_lengths, cut_step, fixed_shapes, training_steps
from secondcoder.model.windows import Windows

LENGTHS = st.lists(st.integers(2, 512), min_size=1, max_size=200).map(np.array)


@given(LENGTHS, st.sampled_from([256, 1024, 4096]))
def test_prediction_takes_every_row_once_and_none_is_cut(lengths, budget):
    batches = fixed_shapes(lengths, token_budget=budget, max_length=512)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch.rows) <= batch.shape[0]
        assert lengths[batch.rows].max() <= batch.shape[1] <= 512
        assert batch.shape[0] * batch.shape[1] <= max(budget, batch.shape[1])


@given(LENGTHS, LENGTHS)
def test_the_shape_that_a_text_is_computed_in_depends_on_its_length_alone(some, others):
    def shapes(lengths):
        batches = fixed_shapes(lengths, token_budget=1024, max_length=512)
        return {int(lengths[row]): batch.shape for batch in batches for row in batch.rows}

    alone, together = shapes(some), shapes(np.concatenate([others, some]))
    assert all(together[length] == shape for length, shape in alone.items())


@given(LENGTHS, st.sampled_from([64, 256]))
def test_with_several_heights_all_are_multiples_of_the_lowest_and_only_that_is_filled_up(lengths, rest):
    batches = fixed_shapes(lengths, token_budget=4096, max_length=512, rest_budget=rest)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        height, length = batch.shape
        least = max(1, rest // length)
        assert height % least == 0
        assert height == len(batch.rows) or height == least


@given(st.integers(1, 100_000))
def test_length_buckets_are_long_enough_and_waste_at_most_a_token_or_an_eighth(length):
    bucket = int(bucket_lengths(np.array([length]))[0])
    assert length <= bucket
    assert bucket - length <= max(1, length / 8 if length <= 512 else length / 7)


@given(LENGTHS, st.integers(1, 32), st.integers(0, 9))
def test_an_epoch_takes_every_row_once_in_steps_of_batch_size(lengths, batch_size, seed):
    steps = list(training_steps(lengths, batch_size=batch_size, generator=np.random.default_rng(seed)))
    assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
    sizes = sorted((len(step) for step in steps), reverse=True)
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size


@given(LENGTHS, st.sampled_from([64, 512, 2048]))
def test_a_step_is_cut_within_the_token_budget_and_loses_no_row(lengths, budget):
    rows = np.arange(len(lengths))
    passes = cut_step(rows, Windows.one_each(len(lengths)), lengths, token_budget=budget)
    batches = [batch for one in passes for batch in one.batches]
    assert [one.texts.tolist() for one in passes] == [batch.rows.tolist() for batch in batches]
    assert sorted(row for batch in batches for row in batch.rows) == rows.tolist()
    for batch in batches:
        assert len(batch.rows) == batch.shape[0]
        assert batch.shape[1] == lengths[batch.rows].max()
        assert batch.shape[0] == 1 or batch.shape[0] * batch.shape[1] <= budget


def test_under_five_percent_of_training_tokens_are_padding():
    generator = np.random.default_rng(0)
    for median, spread, n in ((24, 0.6, 5000), (230, 0.6, 3000), (40, 1.0, 1000)):  # sentences, reviews, mixed posts
        lengths = np.clip(np.exp(generator.normal(np.log(median), spread, n)), 3, 512).astype(np.int64)
        steps = training_steps(lengths, batch_size=16, generator=generator)
        single = Windows.one_each(n)
        cuts = [one for step in steps for one in cut_step(step, single, lengths, token_budget=2048)]
        padded = sum(one.padded_tokens for one in cuts)
        assert 1 - lengths.sum() / padded < 0.05, (median, spread, n)


def test_company_and_order_change_from_epoch_to_epoch():
    lengths = np.full(64, 20)
    first, second = (
        [sorted(step.tolist()) for step in training_steps(lengths, batch_size=8, generator=np.random.default_rng(seed))]
        for seed in (1, 2)
    )
    assert first != second
    assert sorted(first) != sorted(second)

"""Texts that several trainings share: the same bits, computed once."""

import numpy as np
import pytest
import torch

from secondcoder.model.tokenisation import TextEncoder
from secondcoder.progress import Progress
from secondcoder.training import activation_cache
from secondcoder.training.loop import fit
from secondcoder.training.seeds import fit_pretrained
from secondcoder.training.text_pool import TextPool
from tests.training.test_frozen import Told
from tests.training.test_loop import settings_for, start, weights


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """How many rows each call of the frozen layers was given."""
    calls, real = [], activation_cache.cache_activations

    def spy(network, encoder, encoded, *given, **named):
        calls.append(len(encoded))
        return real(network, encoder, encoded, *given, **named)

    monkeypatch.setattr(activation_cache, "cache_activations", spy)
    return calls


@pytest.fixture
def tokenised(monkeypatch) -> list[int]:
    """How many texts each call of the tokenizer was given."""
    calls, real = [], TextEncoder.encode

    def spy(self, texts):
        calls.append(len(texts))
        return real(self, texts)

    monkeypatch.setattr(TextEncoder, "encode", spy)
    return calls


LONG = {"max_length": 12, "long_texts": "windows"}


@pytest.mark.parametrize("options", [{}, LONG], ids=["whole", "windows"])
def test_some_of_the_texts_have_the_token_ids_that_they_have_by_themselves(corpus, encoder_folder, options, tokenised):
    encoder = start(settings_for(encoder_folder, **options)).encoder
    pool, some = TextPool(corpus.texts), corpus.texts[70:3:-3]
    found, alone = pool.encode(encoder, some), encoder.encode(some)
    for name in ("ids", "offsets", "full_lengths", "starts", "lengths", "truncated"):
        one, other = getattr(found, name), getattr(alone, name)
        assert (one is None and other is None) or (np.array_equal(one, other) and one.dtype == other.dtype)
    pool.encode(encoder, corpus.texts)
    pool.encode(encoder, corpus.texts[:5])
    assert tokenised == [120, len(some)]
    assert len(pool.encode(encoder, ["a text that is not among them", *some])) == len(some) + 1


@pytest.mark.numeric
@pytest.mark.parametrize("options", [{}, LONG, {"head_start": "logistic"}], ids=["whole", "windows", "head start"])
def test_trainings_on_some_of_the_texts_end_with_the_bits_that_they_have_by_themselves(
    corpus, encoder_folder, tmp_path, options, computed
):
    settings = settings_for(encoder_folder, freeze=0.5, epochs=2, **options)
    splits = [(range(0, 80), range(80, 120)), (range(40, 120), range(0, 40))]

    def trained(name, pool):
        found = []
        for i, (train, dev) in enumerate(splits):
            model = start(settings)
            result = fit(
                model,
                corpus.take(train),
                corpus.take(dev),
                settings=settings,
                seed=5,
                checkpoints=tmp_path / f"{name}-{i}",
                texts=pool,
            )
            found.append((weights(model), [{k: v for k, v in e.items() if "second" not in k} for e in result.history]))
        return found

    alone = trained("alone", None)
    assert computed == [80, 80]
    with TextPool(corpus.texts, tmp_path / "pool" / "activations.f16") as pool:
        shared = trained("shared", pool)
        assert (tmp_path / "pool" / "activations.f16").is_file()
    assert computed == [80, 80, 120]
    assert not list(tmp_path.rglob("*.f16"))
    for (one, history), (other, again) in zip(alone, shared, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        # padding is counted the same way, too
        assert history == again


def test_seeds_share_too(corpus, encoder_folder, tmp_path, computed):
    settings = settings_for(encoder_folder, freeze=0.5, epochs=1, seeds=3)
    train, dev = corpus.take(range(80)), corpus.take(range(80, 120))

    def trained(name, pool):
        return fit_pretrained(
            train, dev, settings=settings, seed=5, checkpoints=tmp_path / name, texts=pool, progress=Progress()
        )[1].seed_figures

    alone = trained("alone", None)
    with TextPool(train.texts, tmp_path / "activations.f16") as pool:
        assert trained("shared", pool) == alone
    assert computed == [80, 80, 80, 80]


def test_without_frozen_layers_nothing_is_kept(corpus, encoder_folder, tmp_path, computed):
    settings = settings_for(encoder_folder, freeze=0.0, epochs=1)
    with TextPool(corpus.texts, tmp_path / "activations.f16") as pool:
        fit(
            start(settings),
            corpus.take(range(80)),
            corpus.take(range(80, 120)),
            settings=settings,
            seed=5,
            checkpoints=tmp_path / "one",
            texts=pool,
        )
        assert not list(tmp_path.rglob("*.f16"))
    assert computed == []


def test_where_all_do_not_fit_on_the_disk_each_training_keeps_its_own(
    corpus, encoder_folder, tmp_path, computed, monkeypatch
):
    settings, told = settings_for(encoder_folder, freeze=0.5, epochs=1), Told()
    model, train = start(settings), corpus.take(range(60))
    bytes_of = {n: int(model.encoder.encode(corpus.texts[:n]).offsets[-1]) * 32 * 2 for n in (60, 120)}
    free = bytes_of[60] + bytes_of[120]  # twice what is needed must be free: enough for 60 texts, and not for 120

    class Usage:
        def __init__(self, _: object) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", Usage)
    with TextPool(corpus.texts, tmp_path / "activations.f16") as pool:
        fit(
            model,
            train,
            corpus.take(range(80, 120)),
            settings=settings,
            seed=5,
            checkpoints=tmp_path / "one",
            texts=pool,
            progress=told,
        )
    assert computed == [60]
    assert sum("not kept on disk" in said for said in told.said) == 1

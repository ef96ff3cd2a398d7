"""Long texts in windows: all of a text is read, and what its windows say is one thing, the same in any company."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secondcoder.cli.main import main
from secondcoder.errors import SettingsError
from secondcoder.model.attribution import check_against_occlusion, explain_all
from secondcoder.model.backends import computing
from secondcoder.model.batches import cut_step
from secondcoder.model.loading import load_encoder, load_model, start_model
from secondcoder.model.model import CARD_FILE, Model
from secondcoder.model.token_cache import TokenCache
from secondcoder.model.tokenisation import Encoded, TextEncoder
from secondcoder.model.windows import Windows, cut, pool_tensor
from secondcoder.model.words import read_words
from secondcoder.progress import ProgressTask
from secondcoder.settings import TrainSettings
from tests.precision import PRECISION
from tests.tiny import make_rows

LABELS = ("economic", "social")
SHORT = [text for text, _ in make_rows(10, seed=7, longest=6)]
TEXTS = [*SHORT, *(text for text, _ in make_rows(30, seed=8, longest=90))]
MAX_LENGTH = 16


def explained(model, text, label=None):
    return explain_all(model, [text], None if label is None else [label])[0]


def start(folder: Path, **settings) -> Model:
    given_ = {"device": "cpu", "precision": PRECISION, "long_texts": "windows", "max_length": MAX_LENGTH, **settings}
    return start_model(TrainSettings(model=str(folder), **given_), label_names=LABELS, seed=3)


@pytest.fixture(scope="module")
def model(encoder_folder: Path) -> Model:
    return start(encoder_folder)


@given(st.integers(0, 500), st.integers(1, 40), st.integers(0, 39))
def test_windows_cover_a_text_are_alike_long_and_as_few_as_will_do(n, room, overlap):
    overlap = min(overlap, room - 1)
    found = cut(n, room=room, overlap=overlap)
    assert found[0][0] == 0
    assert found[-1][1] == n
    assert len({end - start for start, end in found}) == 1
    assert all(start <= end <= start + room for start, end in found)
    assert all(end - later >= overlap for (_, end), (later, _) in pairwise(found))
    fewer = len(found) - 1
    assert fewer == 0 or fewer * room - (fewer - 1) * overlap < n


def test_every_token_is_read_and_each_window_has_its_special_tokens(model):
    encoded = model.encoder.encode(TEXTS)
    assert encoded.lengths.max() <= MAX_LENGTH
    assert not encoded.truncated.any()
    for i, text in enumerate(TEXTS):
        content = model.encoder.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        rows = [row.tolist() for row in encoded.rows_of(i)]
        assert {(row[0], row[-1]) for row in rows} == {(model.encoder.prefix[0], model.encoder.suffix[0])}
        assert len(rows) == encoded.windows.counts[i]
        assert (len(rows) == 1) == (len(content) + 2 <= MAX_LENGTH) == (encoded.full_lengths[i] <= MAX_LENGTH)
        spans = cut(len(content), room=MAX_LENGTH - 2, overlap=model.encoder.overlap)
        assert [row[1:-1] for row in rows] == [content[a:b] for a, b in spans]
    assert encoded.windows.counts.max() > 5


@pytest.mark.parametrize(("overlap", "tokens"), [(0, 0), (0.5, 7), (5, 5), (13.0, 13)])
def test_the_overlap_is_a_share_of_a_window_or_a_number_of_tokens(encoder_folder, overlap, tokens):
    assert start(encoder_folder, window_overlap=overlap).encoder.overlap == tokens


def test_an_overlap_that_leaves_nothing_new_or_is_no_number_of_tokens_is_refused(encoder_folder):
    with pytest.raises(SettingsError, match="room for 14 tokens"):
        start(encoder_folder, window_overlap=14)
    with pytest.raises(SettingsError, match="whole number of tokens"):
        TrainSettings(long_texts="windows", window_overlap=2.5)
    with pytest.raises(SettingsError, match="not read in windows"):
        load_encoder(str(encoder_folder), window_overlap=0.5)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_logits_of_a_text_are_pooled_from_its_own_windows(how):
    logits = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    windows = Windows(np.array([0, 1, 5, 7]))
    expected = [getattr(logits[a:b], how)(axis=0) for a, b in ((0, 1), (1, 5), (5, 7))]
    found = windows.pool(logits, how)
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    assert np.array_equal(found[0], logits[0])
    tensor = pool_tensor(torch.from_numpy(logits), windows.counts, how)
    assert tensor.numpy() == pytest.approx(found, abs=1e-6)
    shares = windows.shares(logits, how)
    assert np.add.reduceat(shares * logits, windows.starts[:-1]) == pytest.approx(found, abs=1e-6)


def test_texts_of_one_window_are_untouched():
    logits = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    assert Windows.one_each(7).pool(logits, "mean") is logits
    tensor = torch.from_numpy(logits)
    assert pool_tensor(tensor, Windows.one_each(7).counts, "max") is tensor


@pytest.mark.numeric
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_text_has_the_pooled_logits_of_its_windows(encoder_folder, pooling):
    model = start(encoder_folder, window_pooling=pooling)
    encoded = model.encoder.encode(TEXTS)
    for i in (0, 12, 25, 39):
        rows = [torch.tensor([row.tolist()]) for row in encoded.rows_of(i)]
        with torch.inference_mode(), computing(model.backend.device, PRECISION):
            said = torch.cat([model.network.eval()(input_ids=row).logits for row in rows])
        expected = said.mean(dim=0) if pooling == "mean" else said.amax(dim=0)
        assert np.allclose(model.logits([TEXTS[i]])[0], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_text_has_the_same_bits_whatever_its_neighbours_and_order(encoder_folder, precision):
    model = start(encoder_folder, precision=precision)
    expected = model.logits(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert np.array_equal(model.logits([TEXTS[i] for i in order]), expected[order])
    assert np.array_equal(np.concatenate([model.logits([text]) for text in TEXTS]), expected)
    assert np.array_equal(model.logits(TEXTS[::3]), expected[::3])


@pytest.mark.numeric
def test_short_texts_have_the_same_bits_as_without_windows(encoder_folder, model):
    plain = start(encoder_folder, long_texts="truncate")
    assert np.array_equal(model.logits(SHORT), plain.logits(SHORT))
    assert not np.array_equal(model.logits(TEXTS[-1:]), plain.logits(TEXTS[-1:]))


def test_a_text_of_a_hundred_windows_is_read_within_the_budget_of_one_of_two(model, monkeypatch):
    shapes = []

    def note(batch):
        shapes.append(tuple(batch["input_ids"].shape))
        return np.zeros((len(batch["input_ids"]), 2), np.float32)

    monkeypatch.setattr(model.backend, "logits", note)
    n_rows = []
    for n_windows in (2, 100):
        shapes.clear()
        text = "tax " * (n_windows * (14 - model.encoder.overlap) + model.encoder.overlap)
        assert model.encoder.encode([text]).windows.counts.tolist() == [n_windows]
        model.score([text])
        n_rows.append({shape[0] * shape[1] for shape in shapes})
    assert n_rows[0] == n_rows[1]
    assert max(n_rows[1]) <= model.backend.token_budget


def test_progress_counts_texts(model):
    class Counted(ProgressTask):
        done = 0

        def advance(self, n: int, note: str = "") -> None:
            self.done += n

    task = Counted()
    model.score(TEXTS, progress=task)
    assert task.done == len(TEXTS)


@pytest.mark.numeric
def test_a_saved_model_reads_and_pools_as_before_and_says_so(encoder_folder, tmp_path):
    model = start(encoder_folder, window_overlap=3, window_pooling="max")
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model", device="cpu")
    assert (loaded.card.long_texts, loaded.card.window_overlap, loaded.card.window_pooling) == ("windows", 3, "max")
    assert loaded.encoder.overlap == 3
    assert np.array_equal(loaded.logits(TEXTS), model.logits(TEXTS))


@pytest.mark.parametrize(("before", "now"), [("head", "truncate"), ("head-tail", "head-tail")])
def test_a_model_saved_before_there_were_windows_is_loaded(encoder_folder, tmp_path, before, now):
    model = start(encoder_folder, long_texts=now)
    model.save(tmp_path / "model")
    path = tmp_path / "model" / CARD_FILE
    card = json.loads(path.read_text())
    assert card.pop("long_texts") == now
    for name in ("window_overlap", "window_pooling"):
        assert card.pop(name) is None
    path.write_text(json.dumps(card | {"truncation": before}))
    loaded = load_model(tmp_path / "model", device="cpu")
    assert loaded.card.long_texts == loaded.encoder.long_texts == now
    assert np.array_equal(loaded.logits(TEXTS), model.logits(TEXTS))


def test_windows_are_kept_with_the_token_ids(model, tmp_path, monkeypatch):
    cache = TokenCache(tmp_path)
    first = cache.encode(model.encoder, TEXTS)
    narrow = TextEncoder(model.encoder.tokenizer, max_length=MAX_LENGTH, long_texts="windows", window_overlap=0)
    assert len(cache.encode(narrow, TEXTS).lengths) < len(first.lengths)
    monkeypatch.setattr(TextEncoder, "encode", None)
    second = cache.encode(model.encoder, TEXTS)
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("ids", "offsets", "starts"))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(2, 16)), min_size=1, max_size=40),
    st.sampled_from([16, 64, 512]),
)
def test_a_step_is_cut_by_texts_and_only_a_text_over_the_budget_is_cut_itself(texts, budget):
    counts = np.array([count for count, _ in texts])
    windows = Windows(np.concatenate([[0], np.cumsum(counts)]))
    lengths = np.repeat([length for _, length in texts], counts)
    passes = cut_step(np.arange(len(texts)), windows, lengths, token_budget=budget)
    assert sorted(text for one in passes for text in one.texts) == list(range(len(texts)))
    for one in passes:
        assert np.concatenate([b.rows for b in one.batches]).tolist() == windows.rows(one.texts).tolist()
        assert all(b.shape == (len(b.rows), lengths[b.rows].max()) for b in one.batches)
        assert all(b.shape[0] == 1 or b.shape[0] * b.shape[1] <= budget for b in one.batches)
        if len(one.batches) > 1:
            assert len(one.texts) == 1
            assert counts[one.texts[0]] * lengths[windows.starts[one.texts[0]]] > budget


def test_the_words_of_all_windows_are_weighed(encoder_folder, model):
    text = TEXTS[-1]
    found = explained(model, text)
    assert found.not_seen is None
    assert [word.text for word in found.words] == text.split()
    assert all(text[word.start : word.end] == word.text for word in found.words)
    logits = model.logits([text])[0].astype(float)
    sign = 1 if found.label == LABELS[0] else -1
    assert found.margin == pytest.approx(sign * (logits[0] - logits[1]), abs=1e-5)
    assert [f.label for f in explain_all(model, TEXTS)] == model.predict(TEXTS)
    assert check_against_occlusion(model, TEXTS[-3:]) is not None


def test_what_words_contribute_sums_to_the_margin_over_empty_windows(model):
    text = TEXTS[-1]
    found = explained(model, text, "economic")
    empty = []
    for row in model.encoder.encode([text]).rows_of(0):
        ids = torch.tensor([row.tolist()])
        ids[0, 1:-1] = model.encoder.tokenizer.pad_token_id
        with torch.inference_mode():
            logits = model.network.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        empty.append(float(logits[0] - logits[1]))
    assert found.total == pytest.approx(found.margin - np.mean(empty), rel=0.02, abs=1e-4)


def test_where_the_maximum_pools_other_windows_do_not_count(encoder_folder):
    model = start(encoder_folder, window_pooling="max", window_overlap=0)
    text = TEXTS[-1]
    encoded = model.encoder.encode([text])
    rows = model.score_encoded(Encoded(encoded.ids, encoded.offsets, encoded.lengths)).logits
    winners = set(rows.argmax(axis=0).tolist())
    assert len(winners) < len(rows)
    word_of = np.split(read_words(model.encoder, [text], encoded)[0].word_of, encoded.offsets[1:-1])
    read = {word for row in winners for word in word_of[row]}
    for position, word in enumerate(explained(model, text).words):
        assert (word.weight != 0) == (position in read)


def test_the_command_shows_the_windows(encoder_folder, capsys):
    words = ["tokens", str(encoder_folder), " ".join(["tax"] * 20), "--max-length", "12", "--long-texts", "windows"]
    with pytest.raises(SystemExit):
        main([*words, "--window-overlap", "2", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["cut"] == []
    assert (shown["overlap"], max(shown["windows"])) == (2, 3)
    assert len(shown["windows"]) == len(shown["tokens"]) == len(shown["ids"]) == len(shown["attention_mask"])
    with pytest.raises(SystemExit):
        main(words)
    table = capsys.readouterr().out
    assert "window" in table
    assert "All tokens are read, in 3 windows of at most 12" in table
    with pytest.raises(SystemExit) as left:
        main([*words[:3], "--window-overlap", "2"])
    assert left.value.code == 2
    assert "Add --long-texts windows" in capsys.readouterr().err
